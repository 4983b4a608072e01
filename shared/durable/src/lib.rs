//! Files that must last: written whole or not at all, and on the disk when a call returns.
//!
//! Everything that changes such files goes through a [`Disk`], call by call. A test gives the disk a [`Watch`], which can
//! refuse a call as a full or broken disk does, stop the work before it, and work out what a loss of power would leave
//! (the module `faults`, with the feature of that name).

mod disk;
#[cfg(feature = "faults")]
pub mod faults;
mod file;
mod log;

pub use disk::{Call, Disk, Watch};
pub use log::Log;
