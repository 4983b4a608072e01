//! SIGKILL at random moments: of `up`, whose hosts go on, and of hosts.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::archive::Bundle;
use crate::support::gate::Gate;
use crate::support::home::Home;
use crate::support::{process, wait_for};

const ROUNDS: u32 = if cfg!(feature = "long") { 100 } else { 10 };

/// Some time below `limit_ms`; random, because the moment of a kill is what is tested.
fn some_time(limit_ms: u64) -> Duration {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    Duration::from_millis(u64::from_le_bytes(bytes) % limit_ms)
}

fn counted(lines: Vec<String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line).or_insert(0) += 1;
    }
    counts
}

#[test]
fn hosts_outlive_a_killed_up_and_finish_with_the_next_one_each_hook_started_once() {
    let mut home = Home::started(3);
    home.make_group("CodeDeployDefault.HalfAtATime");
    home.subscribe();
    let hosts = |home: &Home| (1..=3).map(|number| home.host(number)).collect::<Vec<_>>();
    let before = hosts(&home);
    let gate = Gate::closed();
    let hook = |event: &str| {
        format!(
            "echo \"$DEPLOYMENT_ID $HOST_ADDRESS {event}\" >>{}; sleep 0.1",
            gate.file("came").display()
        )
    };
    for round in 0..ROUNDS {
        let bundle = Bundle::new(&format!("round {round}"))
            .hook("BeforeInstall", &hook("BeforeInstall"))
            .hook("ApplicationStart", &hook("ApplicationStart"))
            .hook("ValidateService", &hook("ValidateService"));
        let key = format!("shop/{round}.zip");
        home.client().put(&key, &bundle.zip());
        let moment = some_time(1000);
        std::thread::sleep(moment);
        home.kill();
        std::thread::sleep(some_time(400));
        home.start();
        let id = wait_for("the upload to start its deployment", || {
            home.upload_of(&key)["deploymentId"].as_str().map(str::to_owned)
        });
        let info = home.ended(&id);
        assert_eq!(info["status"], "Succeeded", "killed after {moment:?}: {info:#}");
        let counts =
            counted(gate.came().into_iter().filter(|line| line.starts_with(&id)).collect());
        assert_eq!(counts.len(), 9, "killed after {moment:?}: {counts:?}");
        assert!(counts.values().all(|&count| count == 1), "killed after {moment:?}: {counts:?}");
        for host in 1..=3 {
            assert_eq!(home.text(host, "srv/shop/page.txt"), format!("round {round}"));
        }
    }
    assert_eq!(hosts(&home), before, "the hosts are the same processes");
}

#[test]
fn a_killed_host_never_runs_a_hook_twice_and_reports_the_interrupted_one() {
    let mut home = Home::started(2);
    home.make_group("CodeDeployDefault.AllAtOnce");
    home.subscribe();
    let gate = Gate::closed();
    // The second hook of the host that is killed lasts longer than the host is away, so that it is found running.
    let hook = |event: &str, sleep: &str| {
        let place = gate.file("came").display().to_string();
        format!(
            "echo \"$DEPLOYMENT_ID $HOST_ADDRESS {event}\" >>{place}; \
             case $HOST_ADDRESS in *.1) sleep {sleep};; esac; \
             echo \"$DEPLOYMENT_ID $HOST_ADDRESS {event} ended\" >>{place}"
        )
    };
    let mut interrupted = 0;
    for round in 0..ROUNDS {
        let bundle = Bundle::new(&format!("round {round}"))
            .hook("BeforeInstall", &hook("BeforeInstall", "0.1"))
            .hook("AfterInstall", &hook("AfterInstall", "4"));
        let id = home.deploy(&format!("shop/{round}.zip"), &bundle.zip());
        let moment = some_time(900);
        std::thread::sleep(moment);
        let host = home.host(1).unwrap();
        process::signal(host, Signal::KILL);
        wait_for("the host to die", || (!process::is_alive(host)).then_some(()));
        home.kill();
        home.start();
        let info = home.ended(&id);
        let seen = || {
            format!(
                "killed after {moment:?}: {:?}, {info:#}, {:#}",
                gate.came(),
                home.target(&id, 1)
            )
        };
        let lines: Vec<_> = gate.came().into_iter().filter(|line| line.starts_with(&id)).collect();
        let counts = counted(lines);
        assert!(counts.values().all(|&count| count == 1), "{}", seen());
        for event in ["BeforeInstall", "AfterInstall"] {
            let of = |end: &str| {
                counts.keys().filter(|line| line.ends_with(&format!(".1 {event}{end}"))).count()
            };
            if of("") > of(" ended") {
                let known = home.event(&id, 1, event);
                let message = known["diagnostics"]["message"].as_str().unwrap_or_default();
                assert!(message.contains("interrupted"), "{}", seen());
                interrupted += 1;
            }
        }
        assert_eq!(home.target(&id, 2)["status"], "Succeeded", "{}", seen());
        // A rollback may follow.
        wait_for("everything to end", || {
            home.status()["activeDeploymentId"].is_null().then_some(())
        });
    }
    assert!(interrupted > 0, "no hook was interrupted in {ROUNDS} rounds: nothing was tested");
}
