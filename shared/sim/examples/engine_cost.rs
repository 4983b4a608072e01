//! `cargo run --release -p sim --example engine_cost`: what the engine costs for 10,000 hosts, each strategy.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "it is a command line tool")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use engine::appspec::FileExistsBehavior;
use engine::deployment::{
    AutoRollback, Creator, Deployment, Fact, HostSeen, Order, Request, Sighting, Status,
};
use engine::health::{Minimum, Rule};
use engine::ladder::Ladder;
use engine::{BundleType, DeploymentId, GroupId, Pin, Revision, Timestamp};

const HOSTS: u32 = 10_000;

/// Which hosts are let be until their commands are sent a second time.
type Late = fn(u32) -> bool;

fn main() {
    let strategies: [(&str, Minimum, Late); 5] = [
        ("OneAtATime", Minimum::OneAtATime, |_| false),
        ("HalfAtATime", Minimum::FleetPercent(50), |_| false),
        ("AllAtOnce", Minimum::FleetPercent(0), |_| false),
        ("AllAtOnce, every 2nd late", Minimum::FleetPercent(0), |host| host % 2 == 1),
        ("HOST_COUNT 9900", Minimum::HostCount(9_900), |_| false),
    ];
    println!(
        "{:<28} {:>8} {:>10} {:>10} {:>10} {:>9}",
        "", "facts", "µs a fact", "µs encode", "µs decode", "row bytes"
    );
    for (name, minimum, is_late) in strategies {
        let Cost { facts, spent, encode, decode, bytes } = cost(minimum, is_late);
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        println!(
            "{name:<28} {facts:>8} {:>10.2} {:>10.1} {:>10.1} {bytes:>9}",
            micros(spent) / f64::from(facts),
            micros(encode),
            micros(decode),
        );
    }
}

#[derive(Default)]
struct Cost {
    facts: u32,
    spent: Duration,
    /// The largest row's.
    encode: Duration,
    decode: Duration,
    bytes: usize,
}

impl Cost {
    /// Applies a fact, plans, and folds the plan in, as the driver does.
    fn step(&mut self, deployment: &mut Deployment, fact: Fact, now: Timestamp) -> Vec<Request> {
        let began = Instant::now();
        black_box(deployment.apply(fact));
        let plan = deployment.plan(now);
        let requests = plan.requests.clone();
        deployment.apply(Fact::Decided { at: now, plan });
        for request in &requests {
            if let Request::Dispatch { batch, .. } = request {
                deployment.apply(Fact::BatchAccepted { batch: *batch, at: now });
            }
        }
        self.spent += began.elapsed();
        self.facts += 1;
        requests
    }

    fn row(&mut self, deployment: &Deployment) {
        let began = Instant::now();
        let row = serde_json::to_string(deployment).expect("a deployment can be written");
        let encode = began.elapsed();
        if row.len() > self.bytes {
            let began = Instant::now();
            let read: Deployment = serde_json::from_str(&row).expect("and read");
            let decode = began.elapsed();
            assert_eq!(read, *deployment);
            (self.bytes, self.encode, self.decode) = (row.len(), encode, decode);
        }
    }
}

/// One deployment from its first fact to its last, all hosts well.
fn cost(minimum: Minimum, is_late: Late) -> Cost {
    let mut cost = Cost::default();
    let mut now = Timestamp(1_000);
    let mut deployment = Deployment::new(order(minimum), Some(pin()));
    let seal = Fact::RosterSealed { total: HOSTS, unhealthy: 0, out: 0 };
    let mut requests = cost.step(&mut deployment, seal, now);
    while !requests.iter().any(|request| matches!(request, Request::End(_))) {
        cost.row(&deployment);
        let mut next = Vec::new();
        let mut late: BTreeMap<u32, Vec<HostSeen>> = BTreeMap::new();
        for request in requests {
            let Request::Dispatch { attempt, hosts, batch } = request else { continue };
            // Hosts answer in an order that is not theirs.
            let mut hosts: Vec<u32> = hosts.iter().collect();
            hosts.sort_by_key(|host| (host.wrapping_mul(2_654_435_761), *host));
            for ordinal in hosts {
                if attempt == 1 && is_late(ordinal) {
                    let seen = HostSeen { ordinal, sighting: Sighting::Unclaimed };
                    late.entry(batch).or_default().push(seen);
                    continue;
                }
                now = now.plus_ms(1);
                let seen = HostSeen { ordinal, sighting: Sighting::Succeeded };
                next.extend(cost.step(&mut deployment, Fact::HostsSeen(vec![seen]), now));
                if cost.facts.is_multiple_of(50) {
                    cost.row(&deployment);
                }
            }
        }
        if !late.is_empty() {
            now = now.plus_ms(30_000);
            // The look at them is decided.
            next.extend(cost.step(&mut deployment, Fact::HostsGone(Vec::new()), now));
            for (batch, seen) in late {
                let checked = Fact::BatchChecked { batch, seen };
                next.extend(cost.step(&mut deployment, checked, now));
                cost.row(&deployment);
            }
        }
        requests = next;
    }
    deployment.apply(Fact::Ended { at: now, rolled_back_by: None });
    assert_eq!(deployment.status(), Status::Succeeded);
    cost.row(&deployment);
    cost
}

fn pin() -> Pin {
    Pin::of_bytes("ab".repeat(32), 3)
}

fn order(minimum: Minimum) -> Order {
    Order {
        id: DeploymentId::from_random([7; 9]),
        application: "shop".to_owned(),
        group: "web".to_owned(),
        group_id: GroupId::from_random([7; 16]),
        generation: 5,
        creator: Creator::User,
        created_at: Timestamp(1_000),
        revision: Revision {
            bucket: "revisions".to_owned(),
            key: "new.zip".to_owned(),
            bundle_type: BundleType::Zip,
            version: None,
            e_tag: None,
            content: None,
        },
        fallback: None,
        rolls_back: None,
        description: None,
        config: "measured".to_owned(),
        rule: Rule { minimum, predefined: true },
        ignore_application_stop_failures: false,
        file_exists_behavior: FileExistsBehavior::Disallow,
        auto_rollback: AutoRollback::default(),
        silence_ms: 60_000,
        total_ms: 8 * 3_600_000,
        rerun_interrupted: false,
        ladder: Ladder::default(),
        zonal: None,
        traffic: None,
        watch: None,
        shift: None,
        start_ramp: None,
    }
}
