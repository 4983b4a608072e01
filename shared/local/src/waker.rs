//! Home's waker: one loop that advances each deployment when something happened to it or its time has come, never the
//! same one twice at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use control::Control;
use control::deployment_stepper::Advanced;
use control::ports::Waker;
use engine::deployment::Fact;
use engine::{DeploymentId, Timestamp};
use thiserror::Error;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{Id, JoinError, JoinSet};
use tracing::warn;

use crate::machine::HomeClock;

/// How often active deployments are read again in case a wake was lost, in milliseconds.
const SWEEP_MS: u64 = 60_000;

/// How long after a failed step it is tried again, in milliseconds.
const RETRY_MS: u64 = 200;

/// The same after one whose task died, which the next one may do as well.
const REVIVE_MS: u64 = 1_000;

/// Wakes by sending to the loop.
pub(crate) struct HomeWaker(UnboundedSender<Wake>);

enum Wake {
    Now(DeploymentId, Vec<Fact>),
    At(DeploymentId, Timestamp),
}

/// The wakes that the loop has to hear.
pub(crate) struct Wakes(UnboundedReceiver<Wake>);

/// A waker, and the wakes that it sends.
pub(crate) fn waker() -> (HomeWaker, Wakes) {
    let (sender, receiver) = unbounded_channel();
    (HomeWaker(sender), Wakes(receiver))
}

#[async_trait]
impl Waker for HomeWaker {
    fn wake(&self, deployment: &DeploymentId, facts: Vec<Fact>) {
        // The loop ends only with the home, and then nobody has to be woken any more.
        drop(self.0.send(Wake::Now(deployment.clone(), facts)));
    }

    async fn wake_at(&self, deployment: &DeploymentId, at: Timestamp) {
        drop(self.0.send(Wake::At(deployment.clone(), at)));
    }
}

/// What the loop knows of one deployment.
#[derive(Default)]
struct Worker {
    is_running: bool,
    is_woken: bool,
    facts: Vec<Fact>,
    wake_at: Option<Timestamp>,
}

impl Worker {
    /// Arms a wake. One that is armed already and comes sooner stays: whoever armed it may know better, and waking too
    /// often does no harm.
    fn arm(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
    }
}

/// The steps that run, with the deployment and the facts of each.
#[derive(Default)]
struct Steps {
    running: JoinSet<Result<Advanced, control::Error>>,
    of: BTreeMap<Id, (DeploymentId, Vec<Fact>)>,
}

type Step = (DeploymentId, Vec<Fact>, Result<Advanced, StepError>);

/// Why a step came to nothing.
#[derive(Debug, Error)]
enum StepError {
    #[error(transparent)]
    Control(#[from] control::Error),
    #[error("its task died")]
    Died(#[from] JoinError),
}

impl Steps {
    fn spawn(
        &mut self,
        id: DeploymentId,
        facts: Vec<Fact>,
        step: impl Future<Output = Result<Advanced, control::Error>> + Send + 'static,
    ) {
        let task = self.running.spawn(step);
        self.of.insert(task.id(), (id, facts));
    }

    /// The next one that has ended, also where its task panicked.
    async fn next(&mut self) -> Option<Step> {
        let ended = self.running.join_next_with_id().await?;
        let (task, outcome) = match ended {
            Ok((task, outcome)) => (task, outcome.map_err(StepError::from)),
            Err(error) => (error.id(), Err(StepError::from(error))),
        };
        let (id, facts) = self.of.remove(&task)?;
        Some((id, facts, outcome))
    }
}

/// How often the home's clock takes over the machine's time while no deployment is under way, in milliseconds.
const SETTLE_MS: u64 = 5_000;

/// Advances deployments until it is dropped. Begins with a sweep, which finds what an earlier home left.
pub(crate) async fn work(control: Control, clock: Arc<HomeClock>, mut wakes: Wakes) {
    let mut workers: BTreeMap<DeploymentId, Worker> = BTreeMap::new();
    let mut steps = Steps::default();
    let mut sweeps: JoinSet<Option<usize>> = JoinSet::new();
    let mut sweep = tokio::time::interval(Duration::from_millis(SWEEP_MS));
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut settle = tokio::time::interval(Duration::from_millis(SETTLE_MS));
    settle.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // How many deployments were under way at the last sweep; before the first one nobody knows.
    let mut swept = None;
    loop {
        let now = control.base.clock.now();
        let next = workers.values().filter(|w| !w.is_running).filter_map(|w| w.wake_at).min();
        let sleep = next.map(|at| Duration::from_millis(at.since_ms(now)));
        tokio::select! {
            wake = wakes.0.recv() => match wake {
                None => return,
                Some(Wake::Now(id, facts)) => {
                    let worker = workers.entry(id).or_default();
                    worker.is_woken = true;
                    worker.facts.extend(facts);
                }
                Some(Wake::At(id, at)) => workers.entry(id).or_default().arm(at),
            },
            Some(step) = steps.next() => finish(&mut workers, step, control.base.clock.now()),
            () = sleep_for(sleep) => {}
            _ = sweep.tick() => {
                // One at a time; a slow one must not hold up what is rung.
                if sweeps.is_empty() {
                    sweeps.spawn(sweep_once(control.clone()));
                }
            }
            Some(ended) = sweeps.join_next() => swept = ended.ok().flatten().or(swept),
            _ = settle.tick() => if swept == Some(0) && workers.is_empty() {
                clock.settle();
            },
        }
        start(&mut workers, &mut steps, &control);
    }
}

/// Sweeps, and says how many deployments are under way.
async fn sweep_once(control: Control) -> Option<usize> {
    let swept = control.traffic_evaluator().sweep().await;
    swept
        .inspect_err(|error| {
            warn!(error = error as &dyn std::error::Error, "cannot sweep; will try again");
        })
        .ok()
}

async fn sleep_for(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Starts a step for each deployment that was rung or whose time has come.
fn start(workers: &mut BTreeMap<DeploymentId, Worker>, steps: &mut Steps, control: &Control) {
    let now = control.base.clock.now();
    for (id, worker) in workers.iter_mut() {
        let is_due = worker.is_woken || worker.wake_at.is_some_and(|at| at <= now);
        if worker.is_running || !is_due {
            continue;
        }
        worker.is_running = true;
        worker.is_woken = false;
        worker.wake_at = None;
        let facts = std::mem::take(&mut worker.facts);
        let step = {
            let (control, id, facts) = (control.clone(), id.clone(), facts.clone());
            async move { control.deployment_stepper().advance(&id, facts).await }
        };
        steps.spawn(id.clone(), facts, step);
    }
}

/// Takes note of a step. One that failed is tried again with its facts.
fn finish(
    workers: &mut BTreeMap<DeploymentId, Worker>,
    (id, facts, outcome): Step,
    now: Timestamp,
) {
    let worker = workers.entry(id.clone()).or_default();
    worker.is_running = false;
    match outcome {
        Ok(Advanced { wake_at: None }) if !worker.is_woken => {
            workers.remove(&id);
        }
        Ok(Advanced { wake_at: None }) => worker.wake_at = None,
        Ok(Advanced { wake_at: Some(at) }) => worker.arm(at),
        Err(error) => {
            warn!(deployment = %id, error = &error as &dyn std::error::Error, "cannot advance; will try again");
            worker.facts.splice(0..0, facts);
            worker.arm(now.plus_ms(match error {
                StepError::Control(_) => RETRY_MS,
                StepError::Died(_) => REVIVE_MS,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_step_that_panics_frees_its_deployment_and_is_taken_again_with_what_it_was_told() {
        let id: DeploymentId = "d-AAAAAAAAA".parse().unwrap();
        let facts = vec![Fact::HostsGone(vec![7])];
        let running = Worker { is_running: true, ..Worker::default() };
        let mut workers = BTreeMap::from([(id.clone(), running)]);
        let mut steps = Steps::default();
        steps.spawn(id.clone(), facts.clone(), async { panic!("a fault of ours") });
        let step = steps.next().await.unwrap();
        assert!(matches!(step.2, Err(StepError::Died(_))));
        finish(&mut workers, step, Timestamp(5_000));
        let worker = &workers[&id];
        assert!(!worker.is_running);
        assert_eq!((&worker.facts, worker.wake_at), (&facts, Some(Timestamp(5_000 + REVIVE_MS))));
        // Twice, and then it goes on.
        steps.spawn(id.clone(), facts, async { panic!("a fault of ours") });
        assert!(matches!(steps.next().await.unwrap().2, Err(StepError::Died(_))));
        let wake_at = Some(Timestamp(9_000));
        steps.spawn(id.clone(), Vec::new(), async move { Ok(Advanced { wake_at }) });
        finish(&mut workers, steps.next().await.unwrap(), Timestamp(6_000));
        assert_eq!(
            workers[&id].wake_at,
            Some(Timestamp(5_000 + REVIVE_MS)),
            "the sooner one stays"
        );
        assert!(steps.of.is_empty());
    }
}
