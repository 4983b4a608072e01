//! The agent as a process that is killed.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use engine::lifecycle::Event;
use wire::host::{EventStatus, HostStatus};

use crate::home::{Deployment, Home, STOPPED, diagnostics, event, kept};

fn agent(home: &Home) -> Child {
    let hook_env = format!("HOST_ROOT={}", home.root().display());
    Command::new(env!("CARGO_BIN_EXE_cutover-runner"))
        .arg("serve")
        .arg("--state")
        .arg(home.state())
        .arg("--root")
        .arg(home.root())
        .args(["--hook-env", &hook_env])
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn kill(mut agent: Child) {
    agent.kill().unwrap();
    agent.wait().unwrap();
}

async fn terminate(mut agent: Child) {
    let pid = rustix::process::Pid::from_child(&agent);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = tokio::task::spawn_blocking(move || agent.wait().unwrap()).await.unwrap();
    assert!(status.success(), "{status}");
}

/// Adds its process id to `began` and waits to be let go; the second script of the event only leaves a note.
fn waiting(number: u8) -> Deployment {
    let hooks = "  BeforeInstall: [{location: quick.sh}, {location: wait.sh}]\n  AfterInstall: [{location: quick.sh}]\n";
    let wait = "#!/bin/sh\ntrap '' TERM\necho $$ >> \"$HOST_ROOT/began\"\nwhile ! test -e \"$HOST_ROOT/go\"; do sleep 0.02; done\necho >> \"$HOST_ROOT/ended\"\n";
    let quick = "#!/bin/sh\necho $LIFECYCLE_EVENT >> \"$HOST_ROOT/quick\"\n";
    Deployment::new(number, hooks, &[("wait.sh", 0o755, wait), ("quick.sh", 0o755, quick)])
}

#[tokio::test]
async fn a_hook_whose_agent_was_killed_is_ended_and_reported_and_never_runs_again() {
    let home = Home::new();
    let _server = home.open().await;
    let first = agent(&home);
    let id = home.offer(waiting(1));
    let pid: i32 = home.file("began").await.trim().parse().unwrap();
    kill(first);
    assert!(std::fs::metadata(format!("/proc/{pid}")).is_ok(), "the hook outlives its agent");

    let second = agent(&home);
    let report = home.result(&id).await;
    assert_eq!(report.status, HostStatus::Failed);
    let found = diagnostics(&report, Event::BeforeInstall);
    assert!(
        found.message.contains("was interrupted") && found.script_name == "wait.sh",
        "{found:#?}"
    );
    assert!(found.log_tail.contains("Script - wait.sh"), "{found:#?}");
    assert_eq!(event(&report, Event::AfterInstall).status, EventStatus::Skipped);
    // Even if it were let go now: it was ended before that was reported.
    std::fs::write(home.root().join("go"), "").unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    assert!(!home.root().join("ended").exists());
    assert_eq!(std::fs::read_to_string(home.root().join("began")).unwrap().lines().count(), 1);
    assert_eq!(std::fs::read_to_string(home.root().join("quick")).unwrap(), "BeforeInstall\n");
    let sequences: Vec<_> =
        home.world().commands[&id].reports.iter().map(|it| it.sequence).collect();
    assert!(sequences.is_sorted(), "{sequences:?}");
    terminate(second).await;
}

#[tokio::test]
async fn a_group_that_allows_it_runs_an_interrupted_hook_again_and_what_had_ended_is_not() {
    let home = Home::new();
    let _server = home.open().await;
    let first = agent(&home);
    let mut deployment = waiting(1);
    deployment.specification.rerun_interrupted = true;
    let id = home.offer(deployment);
    home.file("began").await;
    kill(first);
    std::fs::write(home.root().join("go"), "").unwrap();
    let second = agent(&home);
    let report = home.result(&id).await;
    assert_eq!(report.status, HostStatus::Succeeded, "{report:#?}");
    assert_eq!(
        std::fs::read_to_string(home.root().join("quick")).unwrap(),
        "BeforeInstall\nAfterInstall\n"
    );
    terminate(second).await;
}

#[tokio::test]
async fn an_agent_that_is_started_after_a_stop_reports_what_it_knows_and_starts_nothing() {
    for rerun in [false, true] {
        let home = Home::new();
        let _server = home.open().await;
        let first = agent(&home);
        let mut deployment = waiting(1);
        deployment.specification.rerun_interrupted = rerun;
        let id = home.offer(deployment);
        home.file("began").await;
        kill(first);
        home.command(&id, |command| command.is_stopped = true);
        std::fs::write(home.root().join("go"), "").unwrap();
        let second = agent(&home);
        let report = home.result(&id).await;
        assert_eq!(report.status, HostStatus::Failed);
        let broken = event(&report, Event::BeforeInstall);
        let message = &diagnostics(&report, Event::BeforeInstall).message;
        if rerun {
            assert_eq!(broken.status, EventStatus::Skipped, "{report:#?}");
            assert!(message.starts_with("1 script has run") && message.ends_with(STOPPED));
        } else {
            assert_eq!(broken.status, EventStatus::Failed, "{report:#?}");
            assert!(message.contains("was interrupted"), "{message}");
        }
        assert_eq!(event(&report, Event::DownloadBundle).status, EventStatus::Succeeded);
        assert_eq!(event(&report, Event::AfterInstall).status, EventStatus::Skipped);
        assert_eq!(std::fs::read_to_string(home.root().join("quick")).unwrap(), "BeforeInstall\n");
        assert_eq!(std::fs::read_to_string(home.root().join("began")).unwrap().lines().count(), 1);
        terminate(second).await;
    }
}

#[tokio::test]
async fn a_result_that_home_has_not_taken_is_reported_by_the_next_agent() {
    let home = Home::new();
    let server = home.open().await;
    let first = agent(&home);
    let deployment = waiting(1);
    let id = home.offer(deployment.clone());
    home.file("began").await;
    server.abort();
    std::fs::write(home.root().join("go"), "").unwrap();
    // Its lease is good for 30 s, so that the rest runs without home.
    let journal = kept(&home, &deployment.specification).join("journal.jsonl");
    while !std::fs::read_to_string(&journal).unwrap().contains("\"finished\"") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    kill(first);
    let _server = home.open().await;
    let second = agent(&home);
    let report = home.result(&id).await;
    assert_eq!(report.status, HostStatus::Succeeded, "{report:#?}");
    assert_eq!(
        std::fs::read_to_string(home.root().join("quick")).unwrap(),
        "BeforeInstall\nAfterInstall\n"
    );
    terminate(second).await;
    assert!(std::fs::read_to_string(&journal).unwrap().contains("\"acknowledged\""));
}

#[tokio::test]
async fn killed_at_any_moment_each_hook_starts_once_and_the_deployment_ends() {
    let hooks = "  BeforeInstall: [{location: a.sh}]\n  AfterInstall: [{location: a.sh}]\n  ApplicationStart: [{location: a.sh}]\n  ValidateService: [{location: a.sh}]\n";
    let script = "#!/bin/sh\necho $LIFECYCLE_EVENT >> \"$HOST_ROOT/$DEPLOYMENT_ID\"\nsleep 0.05\n";
    let home = Home::new();
    let _server = home.open().await;
    for round in 1..=8_u8 {
        let id = home.offer(Deployment::new(round, hooks, &[("a.sh", 0o755, script)]).in_group(1));
        for life in 0..3_u64 {
            let running = agent(&home);
            tokio::time::sleep(Duration::from_millis(40 + u64::from(round) * 23 + life * 31)).await;
            kill(running);
            // An offer that was never claimed stays one.
        }
        let last = agent(&home);
        let report = home.result(&id).await;
        let ran = std::fs::read_to_string(home.root().join(id.as_str())).unwrap_or_default();
        let mut lines: Vec<_> = ran.lines().collect();
        let count = lines.len();
        lines.dedup();
        assert_eq!(lines.len(), count, "{ran}");
        if report.status == HostStatus::Succeeded {
            assert_eq!(count, 4, "{ran}");
        } else {
            let message = report
                .events
                .iter()
                .filter_map(|it| it.diagnostics.as_ref())
                .any(|it| it.message.contains("was interrupted"));
            assert!(message, "{report:#?}");
        }
        // Its result may have been there before it had started: there is nothing to be told to end.
        kill(last);
    }
}
