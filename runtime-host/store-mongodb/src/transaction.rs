//! Transactions, where the server has them.

use mongodb::ClientSession;

use crate::{
    call::Failure,
    server::{MongoStore, durable},
};

impl MongoStore {
    /// Begins one.
    pub(crate) async fn begin(&self) -> Result<ClientSession, Failure> {
        self.once("begin", || async {
            let mut session = self.client.start_session().await?;
            session.start_transaction().write_concern(durable()).await?;
            Ok(session)
        })
        .await
    }

    /// Commits it. A commit may be repeated until it is known to have been done.
    pub(crate) async fn commit(&self, session: &mut ClientSession) -> Result<(), Failure> {
        match self.once("commit", || async { session.commit_transaction().await }).await {
            Err(Failure::Down(_)) => self.once("commit", || async { session.commit_transaction().await }).await,
            done => done,
        }
    }

    /// Undoes it. Should that fail, the server does when its time is up.
    pub(crate) async fn abort(&self, session: &mut ClientSession) {
        if let Err(failure) = self.once("abort", || async { session.abort_transaction().await }).await {
            tracing::debug!(?failure, "a transaction is left to the server to abort");
        }
    }
}
