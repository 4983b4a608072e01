//! A seeded world on a virtual clock, in which the same `control` runs as at home and in the cloud.
//!
//! Chance decides who goes on at each request to a port, what is lost, doubled or late, and who dies; the invariants are
//! checked after each step. It deliberately knows nothing of how the table, the bucket and the hosts really work: those
//! have tests of their own.
//!
//! A test that says itself what happens has a world with the same ports: [`scripted`].

mod aliases;
mod bundles;
mod calm;
mod capacity;
mod carried;
mod checks;
mod clock;
mod cloud;
mod contents;
mod copies;
mod core;
mod dispatch_checks;
mod exchange;
mod faults;
mod fleet;
mod function_checks;
mod functions;
mod gate_checks;
mod gates;
mod hook_functions;
mod member_checks;
mod members;
mod memory;
mod outcome;
mod ports;
mod quota;
mod random;
mod rollback_checks;
mod rule;
mod runner;
mod script;
pub mod scripted;
mod service_checks;
mod services;
mod shift;
mod stops;
mod story;
mod streams;
mod task_sets;
mod traffic;
mod units;
mod versions;
mod wakes;
mod world;
mod zones;

pub use memory::{Asked, Kind, MemoryTable, TableFaults};
pub use outcome::{Line, Outcome, Sum};
pub use script::Moment;
pub use story::START_RAMP;
pub use task_sets::NewTasks;
pub use units::{Hottest, Second, Units};
pub use versions::Part;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use quota::Quota;
use random::Random;
use story::Story;
use versions::Versions;
use world::World;

/// Simulates the world of `seed`. Where an invariant does not hold, the outcome has the transcript.
pub fn run(seed: u64) -> Outcome {
    let outcome = World::new(seed, false).run(seed);
    if outcome.violation.is_some() { replay(seed) } else { outcome }
}

/// Simulates the world of `seed` again, step by step the same, with a transcript.
pub fn replay(seed: u64) -> Outcome {
    World::new(seed, true).run(seed)
}

/// Simulates the world of `seed` twice, if its machine's clock jumps: as it does, and as if it did not.
pub fn with_and_without_jumps(seed: u64) -> Option<[Outcome; 2]> {
    let (mut story, random) = Story::of_seed(seed);
    story.clock.as_ref()?;
    let jumping = World::of(&story, random.clone(), false).run(seed);
    story.clock = None;
    Some([jumping, World::of(&story, random, false).run(seed)])
}

/// Simulates the worlds of all `seeds` on all cores.
pub fn run_many(seeds: Range<u64>) -> Sum {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut sum = Sum::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return sum;
            }
            let outcome = run(seed);
            sum.deployments += outcome.deployments;
            sum.events += outcome.events;
            sum.count(&outcome);
            if outcome.violation.is_some() {
                sum.broken.push(outcome);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut all = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..cores).map(|_| scope.spawn(work)).collect();
        let mut all = work();
        for thread in threads {
            match thread.join() {
                Ok(sum) => {
                    all.deployments += sum.deployments;
                    all.events += sum.events;
                    all.add(sum.tally);
                    all.broken.extend(sum.broken);
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    all.broken.sort_by_key(|outcome| outcome.seed);
    all
}

/// What one deployment to a large fleet came to; see [`scale`].
#[derive(Debug)]
pub struct Scale {
    /// What it cost the table.
    pub units: Units,
    /// How long it took from its creation to its end on the virtual clock, in milliseconds.
    pub lasted_ms: u64,
    /// How many calls of Run Command were refused for their rate.
    pub throttled: u64,
}

/// One deployment of `config` to `hosts` hosts that all do well, where Run Command takes so many calls a second, or all.
///
/// # Errors
/// What came of the simulation, if it was not one deployment that succeeded: its figures say nothing then.
pub fn scale(
    config: &str,
    hosts: u32,
    commands_per_second: Option<u32>,
) -> Result<Scale, Box<Outcome>> {
    let story = Story::scale(config, usize::try_from(hosts).unwrap_or(0));
    let world = World::counting(&story, Random::new(1));
    let shared = world.shared();
    shared.core().cloud.sends = commands_per_second.map(Quota::of);
    let outcome = world.run(1);
    if outcome.violation.is_some() || outcome.deployments != 1 || outcome.succeeded != 1 {
        return Err(Box::new(outcome));
    }
    let core = shared.core();
    let (lasted_ms, throttled) =
        (core.checks.lasted_ms(), core.cloud.sends.as_ref().map_or(0, |quota| quota.refused));
    drop(core);
    Ok(Scale { units: shared.counted().unwrap_or_default(), lasted_ms, throttled })
}

/// Simulates one deployment to `hosts` hosts that somebody stops when some of them are at work.
pub fn stopped(hosts: u32) -> Outcome {
    let story = Story::stopped(usize::try_from(hosts).unwrap_or(0));
    World::of(&story, Random::new(1), false).run(1)
}

/// Simulates one deployment that is begun while `part` of all servers is of the version before, and ended when none is.
pub fn upgraded(part: Part) -> Outcome {
    let mut story = Story::at_once(20);
    story.versions = Some(Versions::replaced_after(part, UPGRADED_MS));
    World::of(&story, Random::new(1), false).run(1)
}

/// When the last server of the version before is replaced in that, in milliseconds.
pub const UPGRADED_MS: u64 = 30_000;

/// How many items one deployment of `config` writes for each of `hosts` hosts that all do well, with hooks that take
/// less than a second together.
///
/// # Errors
/// What came of the simulation, if it was not one deployment that succeeded: its writes say nothing then.
pub fn writes_per_host(config: &str, hosts: u32) -> Result<f64, Box<Outcome>> {
    let story = Story::calm(config, usize::try_from(hosts).unwrap_or(0));
    let outcome = World::of(&story, Random::new(1), false).run(1);
    if outcome.violation.is_some() || outcome.deployments != 1 || outcome.succeeded != 1 {
        return Err(Box::new(outcome));
    }
    let writes: u64 = outcome.writes.values().sum();
    Ok(f64::from(u32::try_from(writes).unwrap_or(u32::MAX)) / f64::from(hosts))
}
