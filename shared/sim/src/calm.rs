//! Worlds in which nothing fails: for what is measured, and for what is told of one deployment.

use crate::core::Act;
use crate::faults::Faults;
use crate::fleet::CloudStory;
use crate::story::{Pace, START_RAMP, Story};

/// How many shards the stream of a table has that takes large fleets: one for each of its partitions.
const STREAM_SHARDS: usize = 16;

impl Story {
    /// One deployment with `config` to `hosts` hosts that all do well.
    pub(crate) fn calm(config: &str, hosts: usize) -> Self {
        Self {
            faults: Faults::default(),
            pace: Pace::Fast,
            hosts,
            groups: 1,
            acts: vec![(10_000, Act::DeployWith { group: 0, config: config.to_owned() })],
            lasts_ms: 10_000,
            total_ms: 8 * 3_600_000,
            has_queues: false,
            hosts_of_shard: 256,
            start_ramp: START_RAMP,
            cloud: None,
            traffic: None,
            zones: None,
            outages: Vec::new(),
            functions: None,
            services: None,
            clock: None,
            versions: None,
            streams: 0,
            row_units: None,
        }
    }

    /// The same to all of them at once, with slow hooks.
    pub(crate) fn at_once(hosts: usize) -> Self {
        Self { pace: Pace::Slow, ..Self::calm("CodeDeployDefault.AllAtOnce", hosts) }
    }

    /// The same to all of them, which are instances, by functions.
    pub(crate) fn scale(config: &str, hosts: usize) -> Self {
        let (streams, row_units) = (STREAM_SHARDS, Some(control::ROW_UNITS));
        let cloud = Some(CloudStory::calm(hosts));
        Self { has_queues: true, streams, row_units, cloud, ..Self::calm(config, hosts) }
    }

    /// The same, and somebody stops it while they run.
    pub(crate) fn stopped(hosts: usize) -> Self {
        let mut story = Self::at_once(hosts);
        story.acts.push((13_000, Act::Stop { group: 0, roll_back: None }));
        story
    }
}
