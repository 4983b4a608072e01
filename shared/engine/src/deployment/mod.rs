//! The deployment: a state that facts change and a plan is made from.
//!
//! [`Deployment::apply`] is the only code that changes it, [`Deployment::plan`] the only code that decides. Both are
//! pure. Whatever is decided is folded into the state as [`Fact::Decided`] and stored before it is done, so that a
//! crash between any two steps loses nothing; requests may be performed twice.
//!
//! `state` has what is stored. Above it stand the files of one topic each, such as `climb`, `sending`, `shift` and `verdict`,
//! and above these `apply` and `plan`.

mod apply;
mod carrier;
mod climb;
mod fact;
mod failure;
mod gate;
mod hosts;
mod known;
mod moves;
mod order;
mod ordinals;
mod pause;
mod plan;
mod request;
mod sending;
mod shift;
mod stages;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod traits;
mod verdict;
mod watch;
mod zones;

pub use carrier::{Carrier, CarrierTraits, ScalingCopy, Shift, Side, Stage, TaskSet};
pub use fact::{Fact, HostSeen, Sighting};
pub use failure::{Failure, FailureCode};
pub use gate::{Fired, Gate};
pub use hosts::{Host, HostState, Hosts};
pub use known::NOT_WAITED_FOR;
pub use order::{AutoRollback, Creator, Fallback, Order, Traffic, Watch};
pub use ordinals::{Ordinals, OrdinalsError};
pub use request::{Ending, Plan, Request};
pub use sending::DENIED_MS;
pub use stages::{COPY_MS, HOOK_MS, TASKS_MS};
pub use state::{
    Alarm, BATCH_HOSTS_MAX, Climb, Deployment, Ended, Refusal, SCHEMA, Steering, either_roll_back,
};
pub use status::Status;
pub use traits::{Performer, Traits};
