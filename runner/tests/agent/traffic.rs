//! Hosts behind a balancer: they wait for it, and go on as soon as it is done.

use engine::lifecycle::Event;
use wire::host::{EventStatus, HostStatus};

use crate::home::{Agent, Deployment, Home, diagnostics, event};

const NOTE: &str = "#!/bin/sh\necho \"$LIFECYCLE_EVENT $DEPLOYMENT_ID\" >> \"$HOST_ROOT/ran\"\n";

/// A deployment whose hooks note that they ran.
fn balanced(number: u8) -> Deployment {
    let scripted = Event::ALL.into_iter().filter(|event| event.has_hooks());
    let hooks: String =
        scripted.map(|event| format!("  {event}: [{{location: note.sh}}]\n")).collect();
    let mut deployment = Deployment::new(number, &hooks, &[("note.sh", 0o755, NOTE)]).in_group(1);
    deployment.specification.events = Event::ALL.to_vec();
    deployment
}

#[tokio::test]
async fn a_host_runs_all_thirteen_events_and_waits_for_the_balancer_in_two_of_them() {
    let home = Home::new();
    let _server = home.open().await;
    let agent = Agent::start(home.config());
    let first = home.offer(balanced(1));
    home.result(&first).await;
    let second = home.offer(balanced(2));
    let report = home.result(&second).await;
    assert_eq!(report.status, HostStatus::Succeeded, "{report:#?}");
    assert!(report.events.iter().all(|it| it.status == EventStatus::Succeeded), "{report:#?}");
    // The first had nothing to stop; the second runs what takes leave of it from the first one's bundle.
    let text = std::fs::read_to_string(home.root().join("ran")).unwrap();
    let ran: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    let of_first: Vec<&str> = Event::ALL
        .into_iter()
        .filter(|event| event.has_hooks() && !event.uses_last_successful())
        .map(Event::name)
        .collect();
    let of_second = Event::ALL.into_iter().filter(|event| event.has_hooks()).map(Event::name);
    assert_eq!(ran, of_first.into_iter().chain(of_second).collect::<Vec<_>>());
    assert_eq!(home.world().commands[&second].looks, 6, "three looks for each of two events");
    agent.stop().await;
}

#[tokio::test]
async fn a_balancer_that_refuses_fails_the_event_with_its_reason_and_skips_the_rest() {
    let home = Home::new();
    let _server = home.open().await;
    let agent = Agent::start(home.config());
    let id = home.offer(balanced(1));
    home.command(&id, |command| command.balancer_refuses = Some("no such backend".to_owned()));
    let report = home.result(&id).await;
    assert_eq!(report.status, HostStatus::Failed);
    assert_eq!(event(&report, Event::BlockTraffic).status, EventStatus::Failed);
    assert_eq!(diagnostics(&report, Event::BlockTraffic).message, "no such backend");
    assert_eq!(event(&report, Event::Install).status, EventStatus::Skipped);
    agent.stop().await;
}

#[tokio::test]
async fn a_host_that_waits_for_the_balancer_when_its_deployment_stops_has_not_failed() {
    let home = Home::new();
    let _server = home.open().await;
    let agent = Agent::start(home.config());
    let id = home.offer(balanced(1));
    home.until("a look", |world| (world.commands[&id].looks > 0).then_some(())).await;
    home.command(&id, |command| {
        (command.withhold_after, command.looks) = (Some(Event::BeforeBlockTraffic), 0);
    });
    let report = home.result(&id).await;
    assert!(report.events.iter().all(|it| it.status != EventStatus::Failed), "{report:#?}");
    assert_eq!(event(&report, Event::BlockTraffic).status, EventStatus::Skipped);
    assert_eq!(
        diagnostics(&report, Event::BlockTraffic).message,
        "no longer waited for: the deployment was stopped"
    );
    agent.stop().await;
}

#[tokio::test]
async fn an_agent_that_is_restarted_while_it_waits_for_the_balancer_asks_again() {
    let home = Home::new();
    let _server = home.open().await;
    // The third look is the first that is done: until then the agent dies once.
    let agent = Agent::start(home.config());
    let id = home.offer(balanced(1));
    home.until("a look", |world| (world.commands[&id].looks > 0).then_some(())).await;
    agent.stop().await;
    let agent = Agent::start(home.config());
    let report = home.result(&id).await;
    assert_eq!(report.status, HostStatus::Succeeded, "{report:#?}");
    agent.stop().await;
}
