//! What of AWS a cloud installation uses beyond the table and the bucket. Nothing that runs at home compiles this.

mod hosts;
pub mod script;

pub use hosts::{DescribeError, Ec2Host, HostState, describe_hosts};
