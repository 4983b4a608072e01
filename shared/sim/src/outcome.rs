//! What came of a simulation, and its transcript.

use std::collections::BTreeMap;
use std::fmt;

use crate::memory::Kind;

/// One line of a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Milliseconds since the simulation began.
    pub at_ms: u64,
    /// Who.
    pub actor: String,
    /// Did what.
    pub what: String,
}

/// What came of a simulation. Its `Display` is the transcript, where there is one, and a last line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The seed, which replays it.
    pub seed: u64,
    /// The first invariant that did not hold.
    pub violation: Option<String>,
    /// What happened. Empty unless it was recorded, or went wrong.
    pub lines: Vec<Line>,
    /// How many deployments ended, rollbacks included.
    pub deployments: u64,
    /// How many of them succeeded.
    pub succeeded: u64,
    /// How many deployments of each kind ended how.
    pub tally: BTreeMap<String, u64>,
    /// How many items were written, by kind.
    pub writes: BTreeMap<Kind, u64>,
    /// How many events happened.
    pub events: u64,
    /// How much virtual time passed, in milliseconds.
    pub virtual_ms: u64,
}

impl Outcome {
    /// The last line of the transcript: what came of it.
    pub fn last_line(&self) -> String {
        let Self { seed, deployments, events, virtual_ms, .. } = self;
        let seconds = virtual_ms / 1000;
        let end = match &self.violation {
            None => "every invariant held".to_owned(),
            Some(violation) => format!("BROKEN: {violation}"),
        };
        format!(
            "seed {seed}: {deployments} deployments, {events} events, {seconds} virtual seconds: {end}"
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { at_ms, actor, what } in &self.lines {
            writeln!(f, "{:>8}.{:03} {actor:<16} {what}", at_ms / 1000, at_ms % 1000)?;
        }
        f.write_str(&self.last_line())
    }
}

/// What came of many simulations.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Sum {
    /// Those in which an invariant did not hold, by seed, with their transcripts.
    pub broken: Vec<Outcome>,
    /// How many deployments ended in all.
    pub deployments: u64,
    /// How many events happened in all.
    pub events: u64,
    /// How many deployments of each kind ended how, and in how many worlds there was one of that kind.
    pub tally: BTreeMap<String, (u64, u64)>,
}

impl Sum {
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        self.add(outcome.tally.iter().map(|(what, count)| (what.clone(), (*count, 1))).collect());
    }

    pub(crate) fn add(&mut self, tally: BTreeMap<String, (u64, u64)>) {
        for (what, (deployments, worlds)) in tally {
            let sum = self.tally.entry(what).or_default();
            *sum = (sum.0 + deployments, sum.1 + worlds);
        }
    }
}
