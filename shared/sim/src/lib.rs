//! A seeded world on a virtual clock, in which the same `control` runs as at home and in the cloud.

mod memory;
mod random;

pub use memory::{Kind, MemoryTable, TableFaults};
