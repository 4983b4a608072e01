//! Users of the shop of the demo and the benchmarks: requests at a steady rate, whatever becomes of them, and what became
//! of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::client::http_client;
use crate::commands::shop::VERSION_HEADER;

/// How often a user comes.
const EVERY: Duration = Duration::from_millis(3);
/// How long a user waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What became of the requests.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counts {
    /// All requests that were made.
    pub(crate) requests: u64,
    /// Those without an answer, or with an error that no version of the application made.
    pub(crate) failed_by_us: u64,
    /// The last of these, in words.
    pub(crate) last_failure: Option<String>,
    /// By version.
    pub(crate) versions: BTreeMap<String, Version>,
}

/// What a version answered.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Version {
    /// Its answers.
    pub(crate) answers: u64,
    /// Those that were errors.
    pub(crate) errors: u64,
    first_error: Option<Instant>,
    last_answer: Option<Instant>,
}

impl Version {
    /// From its first error to its last answer: how long users were exposed to it.
    pub(crate) fn seconds_exposed(&self) -> Option<f64> {
        let (first, last) = self.first_error.zip(self.last_answer)?;
        Some(last.saturating_duration_since(first).as_secs_f64())
    }
}

/// Users that come until they are told not to.
pub(crate) struct Load {
    counts: Arc<Mutex<Counts>>,
    task: JoinHandle<()>,
}

impl Load {
    /// Users of `url` begin to come.
    pub(crate) fn begin(url: &str) -> anyhow::Result<Self> {
        let client = http_client(url, false)
            .map_err(|error| anyhow::anyhow!("the users have no HTTP client: {error}"))?;
        let counts = Arc::new(Mutex::new(Counts::default()));
        let (url, shared) = (url.to_owned(), Arc::clone(&counts));
        let task = tokio::spawn(async move {
            let mut users = tokio::task::JoinSet::new();
            let mut next = tokio::time::interval(EVERY);
            next.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                next.tick().await;
                users.spawn(visit(client.clone(), url.clone(), Arc::clone(&shared)));
                while users.try_join_next().is_some() {}
            }
        });
        Ok(Self { counts, task })
    }

    /// What became of the requests so far.
    pub(crate) fn counts(&self) -> Counts {
        lock(&self.counts).clone()
    }

    /// Nobody comes any more. Who has come is answered, or not.
    pub(crate) async fn end(self) -> Counts {
        tokio::time::sleep(EVERY).await;
        self.task.abort();
        lock(&self.counts).clone()
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn visit(client: reqwest::Client, url: String, counts: Arc<Mutex<Counts>>) {
    let answer = client.get(&url).timeout(PATIENCE).send().await;
    let mut counts = lock(&counts);
    counts.requests += 1;
    let response = match answer {
        Ok(response) => response,
        Err(error) => {
            counts.failed_by_us += 1;
            counts.last_failure = Some(error.to_string());
            return;
        }
    };
    let version = response.headers().get(VERSION_HEADER).and_then(|value| value.to_str().ok());
    let Some(version) = version else {
        counts.failed_by_us += 1;
        counts.last_failure = Some(format!("{} without a version", response.status()));
        return;
    };
    let now = Instant::now();
    let version = counts.versions.entry(version.to_owned()).or_default();
    version.answers += 1;
    version.last_answer = Some(now);
    if response.status().is_server_error() {
        version.errors += 1;
        version.first_error.get_or_insert(now);
    }
}
