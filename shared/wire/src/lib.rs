//! The shapes on every boundary: CodeDeploy's JSON, Cutover's own operations, the host protocol. Data only; what is
//! received is checked where it is used.

#[macro_use]
mod shape;

pub mod codedeploy;
pub mod cutover;
pub mod host;
pub mod log;
