//! What follows the logs, from its start to its end.

use std::{sync::Arc, time::Duration};

use funnelweb_stream::Streams;
use funnelweb_stream_kafka::Readers;
use tokio::{sync::watch, task::JoinSet};

/// How long the end is waited for. A step that is cut off is made again.
const STOP: Duration = Duration::from_secs(15);

/// What is to follow the logs.
pub struct Follower {
    streams: Arc<Streams>,
    readers: Option<Readers>,
}

/// The logs are followed. Dropped, they are not.
pub struct Following {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Follower {
    /// Operators, and what takes their partitions if logs have some.
    #[must_use]
    pub fn new(streams: Arc<Streams>, readers: Option<Readers>) -> Self {
        Self { streams, readers }
    }

    /// Follows them in the background.
    #[must_use]
    pub fn spawn(self) -> Following {
        let Self { streams, readers } = self;
        let ((stop, mut stopped), mut tasks) = (watch::channel(false), JoinSet::new());
        if let Some(readers) = readers {
            tasks.spawn(readers.follow(stopped.clone()));
        }
        tasks.spawn(async move {
            tokio::select! {
                () = streams.follow() => {}
                _ = stopped.wait_for(|stop| *stop) => {}
            }
        });
        Following { tasks, stop }
    }
}

impl Following {
    /// Ends it, and lets others have at once what is shared with them.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP, ended).await.is_err() {
            tracing::warn!("operators did not end in time: what they were at is made again");
        }
    }
}
