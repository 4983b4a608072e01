//! What the agent is told when it starts. It reads nothing from its environment.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::root::HostRoot;

/// How an agent works, and where.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// The directory of the agent's own state: `connection.json`, and a directory for each deployment group. It must
    /// exist; users that hooks run as must be able to pass through it.
    pub state: PathBuf,
    /// Where the destinations of an AppSpec lie.
    pub root: HostRoot,
    /// Variables that every hook gets besides CodeDeploy's own, such as `HOST_ADDRESS`; they beat the agent's defaults,
    /// `PATH` too, but not CodeDeploy's variables.
    pub hook_env: BTreeMap<String, String>,
    /// Whether what is installed is forced to the disk, so that an install is all or nothing also when the power goes.
    /// Without, installs of many files are faster. Default: true.
    pub sync: bool,
    /// Times and sizes.
    pub limits: Limits,
}

impl AgentConfig {
    /// An agent with the default limits and no variables of its own.
    pub fn new(state: PathBuf, root: HostRoot) -> Self {
        Self { state, root, hook_env: BTreeMap::new(), sync: true, limits: Limits::default() }
    }
}

/// A day.
pub const DAY_MS: u64 = 24 * 3600 * 1000;

/// Times and sizes of an agent, with defaults that fit a real host.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How much of an event's output is kept in its log file; what comes after is dropped. Default: 64 MiB.
    pub log_bytes: u64,
    /// How long a hook may go on after the agent was told to end, before it gets SIGTERM. Default: 2500.
    pub grace_ms: u64,
    /// How long the agent looks for its home, with no hook running, before it ends itself. Also how long a command that
    /// was pushed and claimed goes on without a word from the API. Default: 600 000.
    pub orphaned_after_ms: u64,
    /// How long a command that was pushed tries to be claimed. Default: 120 000.
    pub claim_within_ms: u64,
    /// How long one poll may be held by the server. Default: 50 000.
    pub poll_wait_ms: u64,
    /// The least time between two reports of a command, unless the later one is its last. Default: 1000.
    pub report_interval_ms: u64,
    /// How long a process group that got SIGTERM is given until SIGKILL. Default: 5000.
    pub kill_after_ms: u64,
    /// How long the output of a script that has ended is still read, where something holds it open. Default: 2000.
    pub open_output_ms: u64,
    /// How many earlier deployments of a group are kept besides the last successful and the current one. Default: 3.
    pub kept_deployments: usize,
    /// How long the output of hooks is kept after it was written, in the directories of deployments that are kept.
    /// Default: 90 days.
    pub kept_logs_ms: u64,
    /// How long what is kept of a group is still kept after the host has heard that the group was deleted. Default: 30 days.
    pub kept_groups_ms: u64,
    /// How often the API is asked which groups were deleted. Default: a day.
    pub ask_groups_every_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            log_bytes: 64 << 20,
            grace_ms: 2_500,
            orphaned_after_ms: 600_000,
            claim_within_ms: 120_000,
            poll_wait_ms: 50_000,
            report_interval_ms: 1_000,
            kill_after_ms: 5_000,
            open_output_ms: 2_000,
            kept_deployments: 3,
            kept_logs_ms: 90 * DAY_MS,
            kept_groups_ms: 30 * DAY_MS,
            ask_groups_every_ms: DAY_MS,
        }
    }
}
