//! A carrier that Cutover does not have, in this file alone: two weighted records of a DNS zone. It shows what a carrier has
//! to be (one implementation of the trait, and one name), and that all else is there already: steps, alarms, stops, the way
//! back, and what happens when its service does not answer, answers late, or answers twice.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use control::carriers::{Acting, Carrier, Carriers};
use control::ports::{BalancerError, Clock, Wanted as _};
use control::rows::{self, DeploymentRow};
use control::start::Request;
use control::{Control, Error};
use engine::deployment::{CarrierTraits, Deployment, Shift, Side, Status};
use engine::{DeploymentId, GroupId, Pin, Revision};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sim::TableFaults;
use sim::scripted::Scripted;
use wire::codedeploy::{CreateDeploymentGroup, StopDeployment};

const KIND: &str = "records";

/// The zone, as its service has it.
#[derive(Default)]
struct Zone {
    /// How much of the traffic the second record has.
    percent: u8,
    /// What was asked for and comes about later: when, and how much.
    late: Vec<(u64, u8)>,
    /// Requests of ten that come to nothing or are not answered.
    trouble: u64,
    is_refusing: bool,
    raised_after_halt: Option<String>,
}

/// The zone, and chance.
#[derive(Default)]
struct Service {
    zone: Mutex<Zone>,
    chance: AtomicU64,
}

impl Service {
    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().unwrap()
    }

    fn roll(&self, of: u64) -> u64 {
        let was = self.chance.load(Ordering::SeqCst);
        let is =
            was.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.chance.store(is, Ordering::SeqCst);
        (is >> 33) % of
    }

    /// What is late comes about, as far as it is due.
    fn settle(&self, now: u64) {
        let mut zone = self.zone();
        let (due, late): (Vec<_>, Vec<_>) = zone.late.drain(..).partition(|(at, _)| *at <= now);
        zone.late = late;
        if let Some((_, percent)) = due.last() {
            zone.percent = *percent;
        }
    }
}

/// A scripted world with the zone in it.
struct World {
    scripted: Scripted,
    service: Arc<Service>,
}

impl World {
    /// All roles, with a fifth kind of carrier, and a zone that errs by this seed.
    fn new(seed: u64) -> Self {
        let mut scripted = Scripted::new();
        let service = Arc::new(Service { chance: AtomicU64::new(seed), ..Service::default() });
        let (read, clock) = (Arc::clone(&service), scripted.control.base.clock.clone());
        scripted.control.carriers = Carriers::default().and(
            KIND,
            Arc::new(move |carrier| {
                let (service, clock) = (Arc::clone(&read), clock.clone());
                Ok(Arc::new(Records { stored: carrier.settings()?, service, clock }))
            }),
        );
        Self { scripted, service }
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.service.zone()
    }

    fn pass_ms(&self, ms: u64) {
        self.scripted.pass_ms(ms);
        self.service.settle(self.scripted.now_ms());
    }
}

/// What is stored of the carrier, and its service.
struct Records {
    stored: Stored,
    service: Arc<Service>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    name: String,
    is_back: bool,
}

fn shift(stored: &Stored) -> Shift {
    let traits = CarrierTraits { steps: true, second_is_new: true, ..CarrierTraits::default() };
    Shift::of(engine::deployment::Carrier::new(KIND, stored).unwrap(), traits)
}

fn unavailable(name: &str) -> Error {
    let source = "the zone did not answer".into();
    BalancerError::Unavailable { name: name.to_owned(), source }.into()
}

#[async_trait]
impl Carrier for Records {
    fn way_back(&self, _: &Deployment) -> Result<Option<Shift>, serde_json::Error> {
        let stored = Stored { is_back: !self.stored.is_back, ..self.stored.clone() };
        Ok(Some(Shift { back_to: Some(1), ..shift(&stored) }))
    }

    async fn second_side(&self, acting: &Acting<'_>) -> Result<u8, Error> {
        Ok(self.share(acting).await?.unwrap_or_default())
    }

    async fn share(&self, _: &Acting<'_>) -> Result<Option<u8>, Error> {
        let zone = self.service.zone();
        if zone.is_refusing {
            let (name, message) = (self.stored.name.clone(), "there is no such zone".to_owned());
            return Err(BalancerError::Refused { name, message }.into());
        }
        let percent = zone.percent;
        drop(zone);
        if self.service.roll(10) < self.service.zone().trouble {
            return Err(unavailable(&self.stored.name));
        }
        Ok(Some(if self.stored.is_back { 100 - percent } else { percent }))
    }

    async fn give(&self, acting: &Acting<'_>, percent: u8, _: &str) -> Result<(), Error> {
        if !acting.is_wanted().await {
            return Ok(());
        }
        let percent = if self.stored.is_back { 100 - percent } else { percent };
        let is_raise = percent > self.service.zone().percent && !self.stored.is_back;
        let deployment = acting.deployment();
        if is_raise && (deployment.alarm().is_some() || deployment.stop_requested()) {
            let said = format!("{} raises to {percent} after its halt", deployment.id());
            self.service.zone().raised_after_halt = Some(said);
        }
        let (trouble, chance) = (self.service.zone().trouble, self.service.roll(10));
        let at = self.clock.now().0 + self.service.roll(12_000);
        let mut zone = self.service.zone();
        if chance >= trouble {
            zone.percent = percent;
            return Ok(());
        }
        if chance % 2 == 0 {
            // It was taken, and neither answered nor done yet.
            zone.late.push((at, percent));
        }
        Err(unavailable(&self.stored.name))
    }

    async fn retire(&self, _: &Acting<'_>, _: Side) -> Result<bool, Error> {
        Ok(false)
    }
}

fn read<T: DeserializeOwned>(request: Value) -> T {
    serde_json::from_value(request).unwrap()
}

/// An application with a group that is watched and rolled back, and its id.
async fn group(control: &Control) -> GroupId {
    let api = control.operator_api();
    api.create_application(&read(json!({ "applicationName": "shop" }))).await.unwrap();
    let ladder = json!({ "deploymentConfigName": "by-steps", "steps": "10%@30s,50%@30s,100%" });
    api.create_ladder(&read(ladder)).await.unwrap();
    let events =
        ["FAILURE", "STOP_ON_ALARM", "STOP_ON_REQUEST"].map(|on| format!("DEPLOYMENT_{on}"));
    let group: CreateDeploymentGroup = read(json!({
        "applicationName": "shop",
        "deploymentGroupName": "zone",
        "serviceRoleArn": "arn:aws:iam::123456789012:role/deployer",
        "deploymentConfigName": "by-steps",
        "alarmConfiguration": { "enabled": true, "alarms": [{ "name": "errors" }] },
        "autoRollbackConfiguration": { "enabled": true, "events": events },
    }));
    let made = api.create_deployment_group(&group).await.unwrap();
    made.deployment_group_id.unwrap().parse().unwrap()
}

async fn stored_of(control: &Control, id: &DeploymentId) -> Deployment {
    let key = DeploymentRow::key_of(id);
    let stored = rows::load::<DeploymentRow>(&*control.base.table, &key).await.unwrap().unwrap();
    stored.row.deployment
}

/// What happens to a deployment, and when, in seconds after it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happens {
    Nothing,
    Alarm(u64),
    Stop(u64),
    Refusal(u64),
}

/// Begins a deployment that moves the traffic of the zone.
async fn begin(control: &Control) -> DeploymentId {
    let group = group(control).await;
    let stored = Stored { name: "shop.example".to_owned(), is_back: false };
    let request = Request {
        shift: Some(shift(&stored)),
        ..Request::new(
            Revision::of_content("v2".to_owned()),
            Some(Pin::of_bytes("2".repeat(64), 2)),
        )
    };
    control.base.start(&group, &request).await.unwrap()
}

/// Runs a deployment to its end in a world of this seed, and returns it with what the zone gives the second record.
async fn run(seed: u64, happens: Happens, trouble: u64) -> (Deployment, u8) {
    let world = World::new(seed);
    let (control, table) = (&world.scripted.control, world.scripted.table());
    let id = begin(control).await;
    world.zone().trouble = trouble;
    let faults = TableFaults { unavailable: 100, answer_lost: 100, conflict: 200 };
    table.inject(if trouble > 0 { faults } else { TableFaults::default() }, seed);
    for second in 0..1_200 {
        match happens {
            Happens::Alarm(at) => world.scripted.fire_alarms(second >= at),
            Happens::Refusal(at) => world.zone().is_refusing = second >= at && second < at + 60,
            Happens::Stop(at) if second >= at => {
                let stop = StopDeployment {
                    deployment_id: Some(id.to_string()),
                    ..StopDeployment::default()
                };
                drop(control.operator_api().stop_deployment(&stop).await);
            }
            Happens::Stop(_) | Happens::Nothing => {}
        }
        // What goes wrong is tried again by the next look, as a schedule does.
        drop(control.deployment_stepper().refresh(&id).await);
        assert_eq!(world.zone().raised_after_halt, None);
        world.pass_ms(1_000);
    }
    table.inject(TableFaults::default(), seed);
    assert_eq!(world.scripted.violation(), None);
    let ended = stored_of(control, &id).await;
    world.pass_ms(10_000);
    let percent = world.zone().percent;
    (ended, percent)
}

fn at_work<T>(work: impl Future<Output = T>) -> T {
    futures::executor::block_on(work)
}

#[test]
fn it_climbs_its_steps_and_has_all_of_the_traffic_in_the_end() {
    let (ended, percent) = at_work(run(1, Happens::Nothing, 0));
    assert_eq!((ended.status(), percent), (Status::Succeeded, 100));
    assert!(ended.latest().since_ms(ended.order().created_at) >= 60_000, "it waited at each step");
}

#[test]
fn an_alarm_or_a_stop_takes_its_traffic_back() {
    for happens in [Happens::Alarm(40), Happens::Stop(40)] {
        let (ended, percent) = at_work(run(2, happens, 0));
        assert_eq!((ended.status(), percent), (Status::Stopped, 0), "{happens:?}");
    }
}

#[test]
fn a_refusal_fails_it_and_its_traffic_goes_back_as_soon_as_that_can_be_asked_for() {
    let (ended, percent) = at_work(run(3, Happens::Refusal(40), 0));
    assert_eq!((ended.status(), percent), (Status::Failed, 0));
    let why = ended.ended().and_then(|ended| ended.ending.failure.clone()).unwrap();
    assert!(why.message.contains("there is no such zone"), "{why:?}");
}

#[test]
fn whatever_its_service_does_the_traffic_is_where_the_deployment_says_that_it_is() {
    for seed in 0..150 {
        let at = seed % 90;
        let happens = match seed % 3 {
            0 => Happens::Nothing,
            1 => Happens::Alarm(at),
            _ => Happens::Stop(at),
        };
        let (ended, percent) = at_work(run(seed, happens, 1 + seed % 5));
        let status = ended.status();
        let expected = if status == Status::Succeeded { 100 } else { 0 };
        assert!(ended.ended().is_some(), "seed {seed}: {happens:?} has no end, {status:?}");
        assert_eq!(percent, expected, "seed {seed}: {happens:?} ended as {status:?}");
        assert!(happens != Happens::Nothing || status == Status::Succeeded, "seed {seed}");
    }
}

#[test]
fn a_version_that_does_not_know_it_says_so_and_changes_nothing() {
    let world = World::new(0);
    let known = &world.scripted.control;
    let id = at_work(begin(known));
    let unknown = Control { carriers: Carriers::default(), ..known.clone() };
    for _ in 0..5 {
        at_work(unknown.deployment_stepper().refresh(&id)).unwrap();
        world.pass_ms(10_000);
    }
    let waits = at_work(stored_of(known, &id));
    assert_eq!((waits.ended(), world.zone().percent), (None, 0));
    for _ in 0..300 {
        at_work(known.deployment_stepper().refresh(&id)).unwrap();
        world.pass_ms(1_000);
    }
    let ended = at_work(stored_of(known, &id));
    assert_eq!((ended.status(), world.zone().percent), (Status::Succeeded, 100));
}
