//! The adapters of control's ports `Table` and `Bundles`, on DynamoDB and S3 through the AWS SDK.
//!
//! They are the only persistence: in the cloud they talk to AWS, at home to the embedded table and buckets. What the records
//! mean, and when a bundle is pinned, is decided by the use cases. Clients for the cloud are handed in.

mod bundles;
mod client;
mod fault;
mod item;
pub mod limits;
mod schema;
mod scope;
mod table;
mod token;

pub use bundles::{S3Bundles, runner_key};
pub use client::{Clients, Endpoints, InProcess, Keys, home_clients};
pub use item::{Item, ItemError, attribute, item_of, record_of};
pub use schema::{CreateError, create_table, index_name};
pub use scope::{Scope, ScopeError};
pub use table::DynamoTable;
