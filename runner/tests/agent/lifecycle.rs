//! A command from its offer to its end, with everything that may come in between.

use std::time::Duration;

use axum::http::StatusCode;
use engine::lifecycle::Event;
use runner::Ended;
use wire::host::{EventStatus, HostStatus, Refusal, RefusalCode};

use crate::home::{Agent, Deployment, Home, STOPPED, diagnostics, event, kept};

/// Each hook adds a line to `ran` in the host's root.
const HOOKS: &str = "  ApplicationStop: [{location: note.sh}]\n  BeforeInstall: [{location: note.sh}]\n  \
                     AfterInstall: [{location: note.sh}]\n  ApplicationStart: [{location: note.sh}]\n  \
                     ValidateService: [{location: note.sh}]\n";
const NOTE: &str =
    "#!/bin/sh\necho \"$LIFECYCLE_EVENT $DEPLOYMENT_ID VERSION\" >> \"$HOST_ROOT/ran\"\n";

fn noting(number: u8, version: &str) -> Deployment {
    Deployment::new(number, HOOKS, &[("note.sh", 0o755, &NOTE.replace("VERSION", version))])
        .in_group(1)
}

fn ran(home: &Home) -> Vec<String> {
    let text = std::fs::read_to_string(home.root().join("ran")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A script that tells when it has begun, and waits to be let go.
const WAITING: &str = "#!/bin/sh\necho >> \"$HOST_ROOT/began\"\nwhile ! test -e \"$HOST_ROOT/go\"; do sleep 0.02; done\n";

#[tokio::test]
async fn events_run_in_order_and_the_stop_hook_is_that_of_the_last_successful_revision() {
    let home = Home::new();
    let _server = home.open().await;
    let agent = Agent::start(home.config());
    let (first, second, third) = (noting(1, "one"), noting(2, "two"), noting(3, "one"));
    for deployment in [&first, &second, &third] {
        let id = home.offer(deployment.clone());
        let report = home.result(&id).await;
        assert_eq!(report.status, HostStatus::Succeeded, "{report:#?}");
        assert!(
            report
                .events
                .iter()
                .all(|it| it.status == EventStatus::Succeeded && it.ended_at >= it.started_at)
        );
    }
    let ids: Vec<_> =
        [&first, &second, &third].map(|it| it.specification.deployment_id.to_string()).into();
    let own = |at: usize, version: &str| {
        ["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"]
            .map(|name| format!("{name} {} {version}", ids[at]))
    };
    let mut expected = own(0, "one").to_vec();
    expected.push(format!("ApplicationStop {} one", ids[1]));
    expected.extend(own(1, "two"));
    expected.push(format!("ApplicationStop {} two", ids[2]));
    expected.extend(own(2, "one"));
    assert_eq!(ran(&home), expected);
    // The third has the bytes of the first, which lie unpacked on the host.
    assert_eq!(home.world().downloads, 2);
    agent.stop().await;
}

#[tokio::test]
async fn an_archive_that_a_hook_has_changed_is_not_used_again_and_a_broken_one_holds_nothing_up() {
    let home = Home::new();
    let _server = home.open().await;
    let agent = Agent::start(home.config());
    let first = noting(1, "one");
    home.result(&home.offer(first.clone())).await;
    let archive = kept(&home, &first.specification).join("archive");
    std::fs::write(archive.join("note.sh"), "exit 1").unwrap();
    std::fs::write(archive.join("appspec.yml"), "hooks: [").unwrap();
    let report = home.result(&home.offer(noting(2, "one"))).await;
    assert_eq!((report.status, home.world().downloads), (HostStatus::Succeeded, 2), "{report:#?}");
    assert!(
        diagnostics(&report, Event::ApplicationStop).message.contains("passed over"),
        "{report:#?}"
    );
    agent.stop().await;
}

#[tokio::test]
async fn only_a_deployment_that_passed_its_last_event_becomes_the_last_successful_one() {
    let home = Home::new();
    let _server = home.open().await;
    let agent = Agent::start(home.config());
    home.result(&home.offer(noting(1, "one"))).await;
    let hooks = "  ValidateService: [{location: a}]\n  ApplicationStop: [{location: a}]\n";
    let failing = Deployment::new(2, hooks, &[("a", 0o755, "#!/bin/sh\nexit 1\n")]).in_group(1);
    let report = home.result(&home.offer(failing)).await;
    assert_eq!(event(&report, Event::ValidateService).status, EventStatus::Failed);
    let report = home.result(&home.offer(noting(3, "three"))).await;
    assert_eq!(report.status, HostStatus::Succeeded, "{report:#?}");
    let stops: Vec<_> =
        ran(&home).into_iter().filter(|line| line.starts_with("ApplicationStop")).collect();
    assert_eq!(
        (stops.len(), stops.iter().all(|line| line.ends_with(" one"))),
        (2, true),
        "{stops:?}"
    );
    agent.stop().await;
}

#[tokio::test]
async fn a_failed_application_stop_ends_the_command_unless_it_is_to_be_ignored() {
    let home = Home::new();
    let _server = home.open().await;
    let agent = Agent::start(home.config());
    let hooks = "  ApplicationStop: [{location: a}]\n";
    let first = Deployment::new(1, hooks, &[("a", 0o755, "#!/bin/sh\nexit 1\n")]);
    home.result(&home.offer(first)).await;
    let report = home.result(&home.offer(noting(2, "two"))).await;
    assert_eq!((report.status, ran(&home).len()), (HostStatus::Failed, 0), "{report:#?}");
    let mut third = noting(3, "three");
    third.specification.ignore_application_stop_failures = true;
    let report = home.result(&home.offer(third)).await;
    assert_eq!(report.status, HostStatus::Succeeded, "{report:#?}");
    assert_eq!(event(&report, Event::ApplicationStop).status, EventStatus::Failed);
    agent.stop().await;
}

#[tokio::test]
async fn when_home_withholds_permission_the_rest_is_skipped_with_its_reason() {
    let home = Home::new();
    let _server = home.open().await;
    home.change(|world| world.lease_ms = 600);
    let agent = Agent::start(home.config());
    let hooks = "  BeforeInstall: [{location: wait.sh}]\n  AfterInstall: [{location: wait.sh}]\n";
    let id = home.offer(Deployment::new(1, hooks, &[("wait.sh", 0o755, WAITING)]));
    home.file("began").await;
    home.command(&id, |command| command.withhold_after = Some(Event::DownloadBundle));
    // A hook that runs is left to end.
    let seen = home.world().commands[&id].reports.len();
    home.until("two heartbeats", |world| {
        (world.commands[&id].reports.len() > seen + 1).then_some(())
    })
    .await;
    std::fs::write(home.root().join("go"), "").unwrap();
    let report = home.result(&id).await;
    assert_eq!(report.status, HostStatus::Failed);
    assert_eq!(event(&report, Event::BeforeInstall).status, EventStatus::Succeeded);
    let skipped = report.events.iter().skip(3);
    assert!(skipped.into_iter().all(|it| it.status == EventStatus::Skipped), "{report:#?}");
    assert!(report.events.iter().any(|it| {
        it.diagnostics.as_ref().is_some_and(|it| it.message.contains("the deployment was stopped"))
    }));
    agent.stop().await;
}

/// Two events, of which the first has two scripts; each waits to be let go.
const TWO: &str = "  BeforeInstall: [{location: wait.sh}, {location: next.sh}]\n  AfterInstall: [{location: next.sh}]\n";
const NEXT: &str = "#!/bin/sh\necho >> \"$HOST_ROOT/next\"\n";

fn two(number: u8) -> Deployment {
    Deployment::new(number, TWO, &[("wait.sh", 0o755, WAITING), ("next.sh", 0o755, NEXT)])
}

#[tokio::test]
async fn a_stop_is_heard_before_the_next_script_however_young_the_lease_is() {
    for hooks in
        [TWO, "  BeforeInstall: [{location: wait.sh}]\n  AfterInstall: [{location: next.sh}]\n"]
    {
        let home = Home::new();
        let _server = home.open().await;
        // As where a host may be silent for an hour: the next heartbeat is ten minutes away.
        home.change(|world| world.lease_ms = 1_800_000);
        let agent = Agent::start(home.config());
        let scripts = [("wait.sh", 0o755, WAITING), ("next.sh", 0o755, NEXT)];
        let id = home.offer(Deployment::new(1, hooks, &scripts));
        home.file("began").await;
        home.until("the beginning", |world| {
            let told = world.commands[&id].last()?;
            (event(told, Event::BeforeInstall).status == EventStatus::InProgress).then_some(())
        })
        .await;
        home.command(&id, |command| command.is_stopped = true);
        std::fs::write(home.root().join("go"), "").unwrap();
        let report = home.result(&id).await;
        assert_eq!(report.status, HostStatus::Failed);
        assert!(!home.root().join("next").exists(), "{report:#?}");
        let wanted = if hooks == TWO { Event::BeforeInstall } else { Event::AfterInstall };
        let refused = event(&report, wanted);
        assert_eq!(refused.status, EventStatus::Skipped, "{report:#?}");
        assert_eq!(refused.started_at.is_some(), hooks == TWO, "{report:#?}");
        let message = &diagnostics(&report, wanted).message;
        assert!(message.ends_with(STOPPED), "{message}");
        assert_eq!(message.starts_with("1 script has run"), hooks == TWO, "{message}");
        agent.stop().await;
    }
}

#[tokio::test]
async fn while_home_does_not_say_whether_a_script_may_start_the_lease_carries_it_on() {
    let home = Home::new();
    let server = home.open().await;
    let agent = Agent::start(home.config());
    let id = home.offer(two(1));
    home.file("began").await;
    // It takes the questions, and is silent.
    home.command(&id, |command| command.silent_ms = 600_000);
    std::fs::write(home.root().join("go"), "").unwrap();
    home.file("next").await;
    // It is gone.
    server.abort();
    let _gone = server.await;
    let journal = kept(&home, &two(1).specification).join("journal.jsonl");
    let finished = async {
        while !std::fs::read_to_string(&journal).unwrap().contains("\"finished\"") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), finished).await.unwrap();
    assert_eq!(std::fs::read_to_string(home.root().join("next")).unwrap(), "\n\n");
    let _server = home.open().await;
    assert_eq!(home.result(&id).await.status, HostStatus::Succeeded);
    agent.stop().await;
}

#[tokio::test]
async fn a_home_that_is_asked_too_much_is_asked_more_seldom_whether_a_script_may_start() {
    let home = Home::new();
    let _server = home.open().await;
    let agent = Agent::start(home.config());
    let id = home.dispatch(Deployment::of(1, "BeforeInstall", "", "#!/bin/sh\n"));
    home.command(&id, |command| {
        command.throttled = usize::MAX;
        command.is_offered = true;
    });
    let report = home.result(&id).await;
    // The permission carries it on after two seconds: at most after 0, 0.2, 0.6 and 1.4 of them it was asked.
    assert_eq!(report.status, HostStatus::Succeeded, "{report:#?}");
    let questions = home.world().commands[&id].questions;
    assert!((2..=4).contains(&questions), "{questions}");
    agent.stop().await;
}

#[tokio::test]
async fn a_token_that_became_void_is_replaced_before_the_next_script() {
    let home = Home::new();
    let _server = home.open().await;
    let agent = Agent::start(home.config());
    let id = home.offer(two(1));
    home.file("began").await;
    // Somebody has claimed the same command.
    home.command(&id, |command| command.claims += 1);
    std::fs::write(home.root().join("go"), "").unwrap();
    let report = home.result(&id).await;
    assert_eq!(report.status, HostStatus::Succeeded, "{report:#?}");
    let (questions, claims) = {
        let world = home.world();
        (world.commands[&id].questions, world.commands[&id].claims)
    };
    assert_eq!((questions, claims), (3, 3));
    agent.stop().await;
}

#[tokio::test]
async fn without_home_the_lease_runs_out_and_no_event_starts_until_home_is_back_on_another_port() {
    let home = Home::new();
    let server = home.open().await;
    home.change(|world| world.lease_ms = 300);
    let agent = Agent::start(home.config());
    let hooks = "  BeforeInstall: [{location: wait.sh}]\n  AfterInstall: [{location: wait.sh}]\n";
    let deployment = Deployment::new(1, hooks, &[("wait.sh", 0o755, WAITING)]);
    let id = home.offer(deployment.clone());
    home.file("began").await;
    server.abort();
    let _gone = server.await;
    // The lease runs out, the hook ends, and the next event has no permission, however long home stays away.
    tokio::time::sleep(Duration::from_millis(500)).await;
    std::fs::write(home.root().join("go"), "").unwrap();
    let journal = kept(&home, &deployment.specification).join("journal.jsonl");
    while !std::fs::read_to_string(&journal).unwrap().contains("\"hookEnded\"") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(std::fs::read_to_string(home.root().join("began")).unwrap(), "\n");
    let _server = home.open().await;
    let report = home.result(&id).await;
    assert_eq!(report.status, HostStatus::Succeeded, "{report:#?}");
    assert_eq!(std::fs::read_to_string(home.root().join("began")).unwrap(), "\n\n");
    agent.stop().await;
}

#[tokio::test]
async fn a_lower_generation_is_refused_and_a_higher_one_fences_what_runs() {
    let home = Home::new();
    let _server = home.open().await;
    let agent = Agent::start(home.config());
    let hooks = "  BeforeInstall: [{location: wait.sh}]\n  AfterInstall: [{location: wait.sh}]\n";
    let old = Deployment::new(5, hooks, &[("wait.sh", 0o755, WAITING)]).in_group(1);
    let old = home.offer(old);
    home.file("began").await;
    let new = home.offer(noting(6, "six"));
    home.until("the newer claim", |world| (world.commands[&new].claims == 1).then_some(())).await;
    let late = home.offer(noting(4, "four"));
    home.until("the older claim", |world| (world.commands[&late].claims == 1).then_some(())).await;
    let generation = home.state().join("01010101-0101-4101-8101-010101010101/generation");
    while std::fs::read_to_string(&generation).unwrap() != "6" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(ran(&home).is_empty(), "one command of a group at a time");
    std::fs::write(home.root().join("go"), "").unwrap();
    let report = home.result(&old).await;
    assert_eq!(report.status, HostStatus::Failed);
    assert_eq!(event(&report, Event::BeforeInstall).status, EventStatus::Succeeded);
    assert!(
        diagnostics(&report, Event::Install).message.contains("newer deployment"),
        "{report:#?}"
    );
    assert_eq!(home.result(&new).await.status, HostStatus::Succeeded);
    let report = home.result(&late).await;
    assert_eq!(report.status, HostStatus::Failed);
    assert!(
        diagnostics(&report, Event::ApplicationStop).message.contains("superseded"),
        "{report:#?}"
    );
    assert!(ran(&home).iter().all(|line| line.ends_with("six")));
    agent.stop().await;
}

#[tokio::test]
async fn files_are_installed_between_the_hooks_and_a_rollback_brings_the_old_ones_back() {
    let home = Home::new();
    let _server = home.open().await;
    let agent = Agent::start(home.config());
    let spec = "files: [{source: site, destination: /srv/site}]\nhooks:\n  BeforeInstall: [{location: look.sh}]\n  AfterInstall: [{location: look.sh}]\n";
    let look = "#!/bin/sh\n(cat \"$HOST_ROOT/srv/site/page\" 2>/dev/null || echo none) >> \"$HOST_ROOT/seen\"\n";
    for (number, page) in [(1, "one\n"), (2, "two\n"), (3, "one\n")] {
        let files = [("site/page", 0o644, page), ("look.sh", 0o755, look)];
        let report =
            home.result(&home.offer(Deployment::new(number, spec, &files).in_group(1))).await;
        assert_eq!(report.status, HostStatus::Succeeded, "{report:#?}");
    }
    let seen = std::fs::read_to_string(home.root().join("seen")).unwrap();
    assert_eq!(seen, "none\none\none\ntwo\ntwo\none\n");
    assert_eq!(home.world().downloads, 2);
    agent.stop().await;
}

#[tokio::test]
async fn a_host_that_cannot_keep_its_state_says_so_and_runs_nothing() {
    let home = Home::new();
    let _server = home.open().await;
    let agent = Agent::start(home.config());
    let deployment = noting(1, "one");
    let group = home.state().join(deployment.specification.deployment_group_id.as_str());
    std::fs::write(&group, "in the way").unwrap();
    let report = home.result(&home.offer(deployment)).await;
    let found = diagnostics(&report, Event::ApplicationStop);
    assert!(found.message.contains("state directory"), "{found:#?}");
    assert_eq!((report.status, ran(&home).len()), (HostStatus::Failed, 0));
    agent.stop().await;
}

#[tokio::test]
async fn another_attempt_after_the_end_reports_the_same_failure() {
    let home = Home::new();
    let _server = home.open().await;
    let agent = Agent::start(home.config());
    let id = home.offer(Deployment::of(
        1,
        "AfterInstall",
        "",
        "#!/bin/sh\necho x >> \"$HOST_ROOT/ran\"; exit 1",
    ));
    let first = home.result(&id).await;
    home.command(&id, |command| {
        command.attempt = 2;
        command.is_offered = true;
    });
    // A poll that is held believes the host to be busy with it; the next one does not.
    home.offer(noting(2, "two"));
    let second = home
        .until("the second attempt", |world| {
            world.commands[&id].last().filter(|it| it.attempt == 2).cloned()
        })
        .await;
    assert_eq!((second.status, &second.events), (HostStatus::Failed, &first.events));
    assert_eq!(ran(&home)[0], "x");
    assert!(!ran(&home)[1..].contains(&"x".to_owned()));
    agent.stop().await;
}

#[tokio::test]
async fn offers_that_come_again_run_nothing_twice_and_another_attempt_reports_the_first_ones_result()
 {
    let home = Home::new();
    let _server = home.open().await;
    home.change(|world| world.repeats_offers = true);
    let agent = Agent::start(home.config());
    let hooks = "  BeforeInstall: [{location: wait.sh}]\n";
    let id = home.offer(Deployment::new(1, hooks, &[("wait.sh", 0o755, WAITING)]));
    home.file("began").await;
    home.command(&id, |command| command.attempt = 2);
    let seen = home.world().polls;
    home.until("two more polls", |world| (world.polls > seen + 2).then_some(())).await;
    assert_eq!(home.world().commands[&id].claims, 1);
    home.change(|world| world.repeats_offers = false);
    std::fs::write(home.root().join("go"), "").unwrap();
    let report = home
        .until("the second attempt", |world| {
            let last = world.commands[&id].last().cloned()?;
            (last.attempt == 2 && last.status != HostStatus::InProgress).then_some(last)
        })
        .await;
    assert_eq!(report.status, HostStatus::Succeeded);
    assert_eq!(std::fs::read_to_string(home.root().join("began")).unwrap(), "\n");
    agent.stop().await;
}

#[tokio::test]
async fn a_home_that_errs_or_says_nothing_new_is_not_asked_in_a_busy_loop() {
    let home = Home::new();
    home.change(|world| world.broken = Some(StatusCode::TOO_MANY_REQUESTS));
    let _server = home.open().await;
    let mut config = home.config();
    config.limits.poll_wait_ms = 0;
    let agent = Agent::start(config);
    tokio::time::sleep(Duration::from_millis(700)).await;
    let polls = home.world().polls;
    assert!((1..=4).contains(&polls), "{polls}");
    // An empty answer that comes at once is no better than an error.
    home.change(|world| world.broken = None);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let polls = home.world().polls;
    assert!((2..=12).contains(&polls), "{polls}");
    agent.stop().await;
}

#[tokio::test]
async fn a_server_that_holds_no_polls_says_how_long_to_wait_before_the_next() {
    let home = Home::new();
    home.change(|world| world.again_after_ms = Some(600));
    let _server = home.open().await;
    let mut config = home.config();
    config.limits.poll_wait_ms = 0;
    let agent = Agent::start(config);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let polls = home.world().polls;
    assert!((2..=3).contains(&polls), "{polls}");
    let id = home.offer(noting(1, "one"));
    assert_eq!(home.result(&id).await.status, HostStatus::Succeeded);
    agent.stop().await;
}

#[tokio::test]
async fn a_claim_that_is_refused_is_forgotten_and_a_bundle_that_is_another_is_not_unpacked() {
    let home = Home::new();
    let _server = home.open().await;
    let agent = Agent::start(home.config());
    let refused = home.offer(noting(1, "one"));
    let refusal = Refusal { code: RefusalCode::Superseded, message: "it is over".to_owned() };
    home.command(&refused, |command| {
        command.refusal = Some(refusal);
    });
    let mut other = noting(2, "two").in_group(2);
    other.specification.bundle.sha256 = "0".repeat(64);
    let report = home.result(&home.offer(other.clone())).await;
    assert!(
        diagnostics(&report, Event::DownloadBundle)
            .message
            .contains("not the one that was registered"),
        "{report:#?}"
    );
    assert!(!kept(&home, &other.specification).join("archive").exists());
    assert!(ran(&home).is_empty());
    agent.stop().await;
}

#[tokio::test]
async fn an_agent_that_is_told_to_end_ends_a_running_hook_and_reports_it_as_interrupted() {
    let home = Home::new();
    let _server = home.open().await;
    let mut config = home.config();
    config.limits.grace_ms = 100;
    let agent = Agent::start(config.clone());
    let id = home.offer(Deployment::of(1, "AfterInstall", "", WAITING));
    home.file("began").await;
    let Ended::Shutdown { interrupted } = agent.stop().await else { panic!("no shutdown") };
    assert_eq!((interrupted.len(), interrupted[0].script.as_str()), (1, "run.sh"));
    let report = home.result(&id).await;
    assert_eq!(report.status, HostStatus::Failed);
    assert!(
        diagnostics(&report, Event::AfterInstall).message.contains("interrupted"),
        "{report:#?}"
    );
    // The next agent has nothing to do with it.
    let agent = Agent::start(config);
    let next = home.offer(noting(2, "two"));
    assert_eq!(home.result(&next).await.status, HostStatus::Succeeded);
    assert_eq!(home.world().commands[&id].claims, 1);
    agent.stop().await;
}

#[tokio::test]
async fn output_that_is_followed_is_sent_once_and_whole() {
    let home = Home::new();
    let _server = home.open().await;
    home.change(|world| world.follow = true);
    let mut config = home.config();
    config.limits.report_interval_ms = 20;
    let agent = Agent::start(config);
    let script = format!("{WAITING}echo é one\nsleep 0.7; echo two\n");
    let deployment = Deployment::of(1, "BeforeInstall", "", &script);
    let id = home.offer(deployment.clone());
    home.file("began").await;
    std::fs::write(home.root().join("go"), "").unwrap();
    home.result(&id).await;
    agent.stop().await;
    let log = std::fs::read_to_string(
        kept(&home, &deployment.specification).join("logs/BeforeInstall.log"),
    )
    .unwrap();
    let mut sent = String::new();
    for chunk in home.world().commands[&id].reports.iter().flat_map(|report| &report.output) {
        assert_eq!((chunk.event, chunk.offset), (Event::BeforeInstall, sent.len() as u64));
        sent.push_str(&chunk.text);
    }
    assert_eq!(sent, log);
}

#[tokio::test]
async fn an_agent_whose_state_is_gone_or_that_finds_no_home_ends_itself() {
    let home = Home::new();
    let server = home.open().await;
    let agent = Agent::start(home.config());
    home.until("a poll", |world| (world.polls > 0).then_some(())).await;
    std::fs::remove_dir_all(home.state()).unwrap();
    server.abort();
    assert_eq!(agent.end.await.unwrap(), Ended::Orphaned);

    let home = Home::new();
    let mut config = home.config();
    config.limits.orphaned_after_ms = 50;
    assert_eq!(Agent::start(config).end.await.unwrap(), Ended::Orphaned);
}
