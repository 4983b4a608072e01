//! The table's stream, where functions are woken by it: each of its shards has the changes of some partitions, and a reader
//! of its own, which takes a hundred of them at most and no more before it is through with these.

use std::collections::{BTreeMap, VecDeque};

use control::deployment_stepper::wake_of;
use control::table::{Record, Write};
use engine::DeploymentId;
use engine::deployment::Fact;

use crate::core::{Core, Event};
use crate::world::World;

/// Most records that a reader takes at once, as `template.yaml` has it.
const BATCH: usize = 100;

/// How often a reader looks for records that has found none, in milliseconds.
const LOOK_MS: u64 = 250;

/// The shards of a stream.
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
}

impl Core {
    /// Whether a stream wakes deployments.
    pub(crate) fn has_streams(&self) -> bool {
        !self.streams.0.is_empty()
    }

    /// What was written comes into the stream, as far as it wakes deployments.
    pub(crate) fn stream(&mut self, writes: &[Write]) {
        let shards = self.streams.0.len();
        if shards == 0 {
            return;
        }
        for write in writes {
            let Write::Put(record, _) = write else { continue };
            if !record.rings {
                continue;
            }
            let number = shard_of(&record.key.partition, shards);
            let Some(shard) = self.streams.0.get_mut(number) else { continue };
            shard.waiting.push_back(record.clone());
            if !std::mem::replace(&mut shard.is_read, true) {
                let ms = self.random.between(0, LOOK_MS);
                self.push(ms, Event::Stream(number));
            }
        }
    }

    /// What the next records of a shard tell, by deployment. Nothing, if there are none: then its reader rests.
    fn next_of_stream(&mut self, shard: usize) -> Option<BTreeMap<DeploymentId, Vec<Fact>>> {
        let shard = self.streams.0.get_mut(shard)?;
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

/// The shard of a partition.
fn shard_of(partition: &str, shards: usize) -> usize {
    let hash = partition.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from(hash >> 32).unwrap_or(0) % shards
}

impl World {
    /// The reader of a shard takes what there is.
    pub(crate) fn read_stream(&mut self, shard: usize) {
        let Some(told) = self.shared.core().next_of_stream(shard) else { return };
        let again = Event::Stream(shard);
        self.spawn(
            format!("shard {shard}"),
            true,
            Some((0, again)),
            move |control, shared| async move {
                for (id, facts) in told {
                    drop(control.deployment_stepper().advance(&id, facts).await);
                }
                shared.core().push(0, Event::Stream(shard));
            },
        );
    }
}
