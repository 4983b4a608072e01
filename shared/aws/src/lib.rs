//! What of AWS a cloud installation uses beyond the table and the bucket. Nothing that runs at home compiles this.
//!
//! Each adapter is one of control's ports on one service. None decides anything about a deployment. The IAM action of
//! each call is in the table of `functions/src/permissions.rs`.

mod alarms;
mod balancers;
mod commands;
mod error;
mod forwarding;
mod functions;
mod instances;
mod queues;
mod scaling;
mod scaling_copy;
pub mod script;
mod services;

pub use alarms::CloudWatchAlarms;
pub use balancers::TargetGroups;
pub use commands::{Document, RunCommand, Runner};
pub use functions::LambdaFunctions;
pub use instances::Ec2Fleet;
pub use queues::{QueueWaker, QueuedMessages, Queues, Redelivery, WakeMessage};
pub use scaling::AutoScaling;
pub use services::EcsServices;
