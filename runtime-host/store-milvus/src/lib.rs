//! Milvus as the store of vectors, for what outgrows one machine: [`MilvusVectors`] is
//! the capability `vectors` over gRPC.
//!
//! A space is a collection of its own, whose name has tenant and
//! scenario in it, so that no filter stands between tenants: a database of Milvus has up
//! to 65,536 collections. The collection's description says whose it is. Its index is
//! the server's `AUTOINDEX`, so what a query finds is approximate there.
//!
//! A process reads what it has written; of what others have written, some seconds later.
//! Every call has a deadline, is tried again within it, and fails at once while the
//! server is down.
//!
//! ```no_run
//! # async fn connect() -> Result<(), funnelweb_tenant_store::Error> {
//! use funnelweb_store_milvus::{MilvusSettings, MilvusVectors};
//!
//! let vectors = MilvusVectors::connect(MilvusSettings::of("http://milvus.internal:19530")).await?;
//! # Ok(()) }
//! ```

mod call;
mod collections;
mod fields;
mod names;
mod proto;
mod settings;
mod store;

pub use collections::MilvusVectors;
pub use settings::MilvusSettings;
