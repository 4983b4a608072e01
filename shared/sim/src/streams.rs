//! The table's stream, where functions are woken by it: each of its shards has the changes of some partitions, and a reader
//! of its own, which takes a hundred of them at most and no more before it is through with these.

use std::collections::{BTreeMap, VecDeque};

use control::deployment_stepper::wake_of;
use control::table::Record;
use engine::DeploymentId;
use engine::deployment::Fact;

/// Most records that a reader takes at once, as `template.yaml` has it.
const BATCH: usize = 100;

/// How often a reader looks for records that has found none, in milliseconds.
pub(crate) const POLL_MS: u64 = 250;

/// The shards of a stream. Without any, there is none.
#[derive(Debug, Default)]
pub(crate) struct Streams(Vec<Shard>);

#[derive(Debug, Default)]
struct Shard {
    waiting: VecDeque<Record>,
    /// Whether its reader is about to come, or at work.
    is_read: bool,
}

impl Streams {
    /// A stream of so many shards.
    pub(crate) fn of(shards: usize) -> Self {
        Self((0..shards).map(|_| Shard::default()).collect())
    }

    /// Whether there is a stream, which wakes deployments.
    pub(crate) fn are_there(&self) -> bool {
        !self.0.is_empty()
    }

    /// A record that was written comes into the stream, if it wakes a deployment. Returns the shard whose reader has rested.
    pub(crate) fn put(&mut self, record: &Record) -> Option<usize> {
        let number = shard_of(&record.key.partition, self.0.len())?;
        let shard = self.0.get_mut(number).filter(|_| record.wakes)?;
        shard.waiting.push_back(record.clone());
        let was_read = std::mem::replace(&mut shard.is_read, true);
        (!was_read).then_some(number)
    }

    /// What the next records of a shard tell, by deployment. Nothing, if there are none: then its reader rests.
    pub(crate) fn next(&mut self, shard: usize) -> Option<BTreeMap<DeploymentId, Vec<Fact>>> {
        let shard = self.0.get_mut(shard)?;
        let count = shard.waiting.len().min(BATCH);
        shard.is_read = count > 0;
        if count == 0 {
            return None;
        }
        let mut told: BTreeMap<DeploymentId, Vec<Fact>> = BTreeMap::new();
        for (id, facts) in shard.waiting.drain(..count).filter_map(|record| wake_of(&record)) {
            told.entry(id).or_default().extend(facts);
        }
        Some(told)
    }
}

/// The shard of a partition, of so many.
fn shard_of(partition: &str, shards: usize) -> Option<usize> {
    let hash = partition.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from(hash >> 32).ok()?.checked_rem(shards)
}
