//! Home's bell: one loop that advances each deployment when something happened to it or its time has come, never the
//! same one twice at once.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use control::Control;
use control::driver::Advanced;
use control::ports::Bell;
use engine::deployment::Fact;
use engine::{DeploymentId, Timestamp};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tracing::warn;

/// How often active deployments are read again in case a ring was lost, in milliseconds.
const SWEEP_MS: u64 = 60_000;

/// How long after a failed step it is tried again, in milliseconds.
const RETRY_MS: u64 = 200;

/// Rings by sending to the loop.
pub(crate) struct HomeBell(UnboundedSender<Ring>);

enum Ring {
    Now(DeploymentId, Vec<Fact>),
    At(DeploymentId, Timestamp),
}

/// The rings that the loop has to hear.
pub(crate) struct Rings(UnboundedReceiver<Ring>);

/// A bell and what it rings.
pub(crate) fn bell() -> (HomeBell, Rings) {
    let (sender, receiver) = unbounded_channel();
    (HomeBell(sender), Rings(receiver))
}

#[async_trait]
impl Bell for HomeBell {
    fn ring(&self, deployment: &DeploymentId, facts: Vec<Fact>) {
        // The loop ends only with the home, and then nobody has to be woken any more.
        drop(self.0.send(Ring::Now(deployment.clone(), facts)));
    }

    async fn ring_at(&self, deployment: &DeploymentId, at: Timestamp) {
        drop(self.0.send(Ring::At(deployment.clone(), at)));
    }
}

/// What the loop knows of one deployment.
#[derive(Default)]
struct Worker {
    is_running: bool,
    is_rung: bool,
    facts: Vec<Fact>,
    wake_at: Option<Timestamp>,
}

type Step = (DeploymentId, Vec<Fact>, Result<Advanced, control::Error>);

/// Advances deployments until it is dropped. Begins with a sweep, which finds what an earlier home left.
pub(crate) async fn work(control: Control, mut rings: Rings) {
    let mut workers: BTreeMap<DeploymentId, Worker> = BTreeMap::new();
    let mut steps: JoinSet<Step> = JoinSet::new();
    let mut sweeps: JoinSet<()> = JoinSet::new();
    let mut sweep = tokio::time::interval(Duration::from_millis(SWEEP_MS));
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let now = control.clock.now();
        let next = workers.values().filter(|w| !w.is_running).filter_map(|w| w.wake_at).min();
        let sleep = next.map(|at| Duration::from_millis(at.since_ms(now)));
        tokio::select! {
            ring = rings.0.recv() => match ring {
                None => return,
                Some(Ring::Now(id, facts)) => {
                    let worker = workers.entry(id).or_default();
                    worker.is_rung = true;
                    worker.facts.extend(facts);
                }
                Some(Ring::At(id, at)) => workers.entry(id).or_default().wake_at = Some(at),
            },
            Some(step) = steps.join_next() => match step {
                Ok(step) => finish(&mut workers, step, control.clock.now()),
                Err(error) => warn!(%error, "a step of a deployment died; the next sweep takes it up"),
            },
            () = sleep_for(sleep) => {}
            _ = sweep.tick() => {
                // One at a time; a slow one must not hold up what is rung.
                if sweeps.is_empty() {
                    sweeps.spawn(sweep_once(control.clone()));
                }
            }
            Some(_) = sweeps.join_next() => {}
        }
        start(&mut workers, &mut steps, &control);
    }
}

async fn sweep_once(control: Control) {
    if let Err(error) = control.sweep().await {
        warn!(error = &error as &dyn std::error::Error, "cannot sweep; will try again");
    }
}

async fn sleep_for(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Starts a step for each deployment that was rung or whose time has come.
fn start(
    workers: &mut BTreeMap<DeploymentId, Worker>,
    steps: &mut JoinSet<Step>,
    control: &Control,
) {
    let now = control.clock.now();
    for (id, worker) in workers.iter_mut() {
        let is_due = worker.is_rung || worker.wake_at.is_some_and(|at| at <= now);
        if worker.is_running || !is_due {
            continue;
        }
        worker.is_running = true;
        worker.is_rung = false;
        worker.wake_at = None;
        let (id, facts, control) = (id.clone(), std::mem::take(&mut worker.facts), control.clone());
        steps.spawn(async move {
            let advanced = control.advance(&id, facts.clone()).await;
            (id, facts, advanced)
        });
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
        Ok(Advanced { wake_at: None }) if !worker.is_rung => {
            workers.remove(&id);
        }
        Ok(Advanced { wake_at }) => worker.wake_at = wake_at,
        Err(error) => {
            warn!(deployment = %id, error = &error as &dyn std::error::Error, "cannot advance; will try again");
            worker.facts.splice(0..0, facts);
            worker.wake_at = Some(now.plus_ms(RETRY_MS));
        }
    }
}
