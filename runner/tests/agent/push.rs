//! Commands that are pushed: each a process of its own, several at once, beside an agent, and killed.

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use engine::DeploymentId;
use engine::lifecycle::Event;
use runner::{PushError, PushedCommand, PushedEnd, run_once};
use wire::host::{EventStatus, HostStatus, Refusal, RefusalCode};

use crate::home::{Agent, Deployment, Home, SECRET, diagnostics, event};

/// A process for a command that was pushed, as the script on the host starts it.
pub(crate) fn push(home: &Home, api: &str, id: &DeploymentId) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cutover-runner"));
    command.args(["run", "--host", "i-0abc", "--api", api, "--batch", &format!("{id}/12")]);
    command.arg("--state").arg(home.state()).arg("--root").arg(home.root());
    command.args(["--hook-env", &format!("HOST_ROOT={}", home.root().display())]);
    command.env("CUTOVER_BATCH_SECRET", SECRET).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn start(home: &Home, api: &str, id: &DeploymentId) -> Child {
    push(home, api, id).spawn().unwrap()
}

/// The exit code and the last line, which is what the push's output ends with.
pub(crate) async fn end(child: Child) -> (i32, String) {
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let text = String::from_utf8(stderr).unwrap();
    assert!(stdout.is_empty());
    assert!(!text.contains(SECRET), "{text}");
    let last = text.lines().last().unwrap_or_default().to_owned();
    (status.code().unwrap_or(-1), last)
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

pub(crate) fn terminate(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

const NOTE: &str = "#!/bin/sh\necho \"$DEPLOYMENT_ID\" >> \"$HOST_ROOT/ran\"\n";
/// Leaves its process id and waits to be let go, deaf to SIGTERM.
const WAIT: &str = "#!/bin/sh\ntrap '' TERM\necho $$ >> \"$HOST_ROOT/began\"\nwhile ! test -e \"$HOST_ROOT/go\"; do sleep 0.02; done\necho >> \"$HOST_ROOT/ended\"\n";

fn noting(number: u8) -> Deployment {
    Deployment::of(number, "AfterInstall", "", NOTE).in_group(1)
}

fn waiting(number: u8) -> Deployment {
    Deployment::of(number, "BeforeInstall", "", WAIT).in_group(1)
}

fn read(home: &Home, name: &str) -> String {
    std::fs::read_to_string(home.root().join(name)).unwrap_or_default()
}

fn let_go(home: &Home) {
    std::fs::write(home.root().join("go"), "").unwrap();
}

fn in_process(api: &str, id: &DeploymentId) -> PushedCommand {
    PushedCommand {
        api: api.to_owned(),
        host: "i-0abc".to_owned(),
        batch: format!("{id}/12").parse().unwrap(),
        secret: SECRET.to_owned(),
    }
}

#[tokio::test]
async fn a_pushed_command_is_claimed_by_its_batch_and_ends_with_the_hosts_result() {
    let home = Home::new();
    std::fs::remove_dir(home.state()).unwrap();
    let script = "#!/bin/sh\nenv > \"$HOST_ROOT/env\"\nexit ${CODE:-0}\n";
    let good = Deployment::of(1, "AfterInstall", "", script).in_group(1);
    // Nothing is on the host yet, not even the state directory.
    let (api, _server) = {
        let state = home.state();
        std::fs::create_dir(&state).unwrap();
        let served = home.serve().await;
        std::fs::remove_dir_all(&state).unwrap();
        served
    };
    let id = home.dispatch(good);
    let (code, line) = end(start(&home, &api, &id)).await;
    assert_eq!((code, line), (0, format!("cutover-runner: deployment {id} on i-0abc: Succeeded")));
    let claims = home.world().commands[&id].claims;
    assert_eq!((claims, home.result(&id).await.status), (1, HostStatus::Succeeded));
    let env = read(&home, "env");
    assert!(env.contains("LIFECYCLE_EVENT=AfterInstall") && !env.contains("CUTOVER"), "{env}");
    assert!(env.lines().any(|line| line == "HOST_NAME=i-0abc"), "{env}");

    let bad = Deployment::of(2, "AfterInstall", "", "#!/bin/sh\nexit 3\n").in_group(1);
    let id = home.dispatch(bad);
    let (code, line) = end(start(&home, &api, &id)).await;
    assert_eq!((code, line), (1, format!("cutover-runner: deployment {id} on i-0abc: Failed")));
    let report = home.result(&id).await;
    assert!(diagnostics(&report, Event::AfterInstall).message.contains("exit code 3"));
}

#[tokio::test]
async fn a_second_copy_waits_for_the_first_before_it_claims_and_tells_the_same_result() {
    for (number, exit) in [(1, 0), (2, 1)] {
        let home = Home::new();
        let (api, _server) = home.serve().await;
        let hook = format!("{WAIT}exit {exit}\n");
        let id = home.dispatch(Deployment::of(number, "BeforeInstall", "", &hook));
        let first = start(&home, &api, &id);
        home.file("began").await;
        let second = start(&home, &api, &id);
        tokio::time::sleep(Duration::from_millis(400)).await;
        // A claim would have taken the first one's token.
        assert_eq!(home.world().commands[&id].claims, 1);
        let_go(&home);
        assert_eq!(end(first).await.0, exit);
        let (code, line) = end(second).await;
        assert_eq!(code, exit, "{line}");
        assert!(line.ends_with("by another copy of this command"), "{line}");
        assert_eq!(read(&home, "began").lines().count(), 1);
    }
}

#[tokio::test]
async fn a_copy_whose_first_one_died_in_a_hook_reports_it_as_interrupted_and_runs_nothing_again() {
    let home = Home::new();
    let (api, _server) = home.serve().await;
    let id = home.dispatch(waiting(1));
    let first = start(&home, &api, &id);
    home.file("began").await;
    let second = start(&home, &api, &id);
    tokio::time::sleep(Duration::from_millis(200)).await;
    kill(first);
    let (code, line) = end(second).await;
    assert_eq!(code, 1, "{line}");
    let report = home.result(&id).await;
    let found = diagnostics(&report, Event::BeforeInstall);
    assert!(found.message.contains("was interrupted"), "{found:#?}");
    assert_eq!((home.world().commands[&id].claims, read(&home, "ended")), (2, String::new()));
}

#[tokio::test]
async fn after_a_death_in_a_hook_no_later_process_takes_the_command_up_and_the_next_one_ends_the_hook()
 {
    let home = Home::new();
    let (api, _server) = home.serve().await;
    let dead = home.dispatch(waiting(1));
    let first = start(&home, &api, &dead);
    let pid: i32 = home.file("began").await.trim().parse().unwrap();
    kill(first);
    assert!(std::fs::metadata(format!("/proc/{pid}")).is_ok(), "the hook outlives its process");

    // Neither an agent nor the command of another group has anything to do with it.
    let agent = Agent::start(home.config());
    let polls = home.world().polls;
    let other = home.dispatch(noting(2).in_group(2));
    assert_eq!(end(start(&home, &api, &other)).await.0, 0);
    home.until("polls", |world| (world.polls > polls).then_some(())).await;
    agent.stop().await;
    assert_eq!(home.world().commands[&dead].claims, 1);
    assert!(std::fs::metadata(format!("/proc/{pid}")).is_ok());

    let next = home.dispatch(noting(3));
    assert_eq!(end(start(&home, &api, &next)).await.0, 0);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    assert_eq!((home.world().commands[&dead].claims, read(&home, "ended")), (1, String::new()));
}

/// A revision of many files, so that there is time to be killed among them.
fn many_files(number: u8) -> Deployment {
    let names: Vec<String> = (0..1_500).map(|at| format!("site/{at}")).collect();
    let content = format!("{number}\n").repeat(500);
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 0o644, &*content)).collect();
    Deployment::new(number, "files: [{source: site, destination: /srv/site}]\n", &files).in_group(1)
}

#[tokio::test]
async fn an_install_that_was_killed_half_way_is_put_right_by_the_next_command_of_the_group() {
    let home = Home::new();
    let (api, _server) = home.serve().await;
    let first = many_files(1);
    let journal = home
        .state()
        .join(first.specification.deployment_group_id.as_str())
        .join("install-journal.json");
    let id = home.dispatch(first);
    assert_eq!(end(start(&home, &api, &id)).await.0, 0);
    let mut was_half = false;
    for number in 2..12 {
        let id = home.dispatch(many_files(number));
        let child = start(&home, &api, &id);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while !journal.exists() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        kill(child);
        was_half = journal.exists();
        if was_half {
            break;
        }
    }
    assert!(was_half, "no install was caught half way");
    // It installs nothing itself, so that what is there afterwards is what recovery made of it.
    let next = home.dispatch(
        Deployment::of(
            20,
            "BeforeInstall",
            "",
            "#!/bin/sh\ncp -r \"$HOST_ROOT/srv/site\" \"$HOST_ROOT/seen\"\n",
        )
        .in_group(1),
    );
    assert_eq!(end(start(&home, &api, &next)).await.0, 0);
    assert!(!journal.exists());
    let contents: std::collections::BTreeSet<_> = std::fs::read_dir(home.root().join("seen"))
        .unwrap()
        .map(|it| std::fs::read_to_string(it.unwrap().path()).unwrap())
        .collect();
    assert_eq!(contents.len(), 1, "the old tree or the new one");
    assert_eq!(std::fs::read_dir(home.root().join("seen")).unwrap().count(), 1_500);
}

#[tokio::test]
async fn who_is_not_authorized_gives_up_at_once_and_who_is_superseded_has_nothing_to_do() {
    let home = Home::new();
    let (api, _server) = home.serve().await;
    let id = home.dispatch(noting(1));
    let child = push(&home, &api, &id).env("CUTOVER_BATCH_SECRET", "wrong").spawn().unwrap();
    let (code, line) = end(child).await;
    assert_eq!(code, 2, "{line}");
    assert!(line.contains("who are you?") && line.contains("deploy again"), "{line}");
    let child = push(&home, &api, &id).env_remove("CUTOVER_BATCH_SECRET").spawn().unwrap();
    let (code, line) = end(child).await;
    assert!(code == 2 && line.contains("CUTOVER_BATCH_SECRET is not set"), "{line}");

    let refusal = Refusal { code: RefusalCode::Superseded, message: "stopped".to_owned() };
    home.command(&id, |command| command.refusal = Some(refusal));
    let (code, line) = end(start(&home, &api, &id)).await;
    assert_eq!(code, 0);
    assert!(line.ends_with("nothing to do: stopped"), "{line}");
    assert_eq!(read(&home, "ran"), "");
}

#[tokio::test]
async fn an_api_that_cannot_be_reached_is_tried_for_a_while_and_then_named() {
    let home = Home::new();
    let (api, server) = home.serve().await;
    let id = home.dispatch(noting(1));
    let mut config = home.config();
    config.limits.claim_within_ms = 30_000;
    home.change(|world| world.broken = Some(axum::http::StatusCode::BAD_GATEWAY));
    let task =
        tokio::spawn(run_once(config.clone(), in_process(&api, &id), std::future::pending()));
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(!task.is_finished());
    home.change(|world| world.broken = None);
    let PushedEnd::Ended { status, is_delivered, .. } = task.await.unwrap().unwrap() else {
        panic!("not claimed")
    };
    assert_eq!((status, is_delivered), (HostStatus::Succeeded, true));

    server.abort();
    let _gone = server.await;
    config.limits.claim_within_ms = 700;
    let error = run_once(config, in_process(&api, &id), std::future::pending()).await.unwrap_err();
    assert!(matches!(error, PushError::Unreachable { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&api) && text.contains("security groups"), "{text}");
}

#[tokio::test]
async fn a_token_that_became_void_is_had_again_by_the_batch_until_the_batch_is_void_too() {
    let home = Home::new();
    let (api, _server) = home.serve().await;
    home.change(|world| world.lease_ms = 300);
    let id = home.dispatch(waiting(1));
    let child = start(&home, &api, &id);
    home.file("began").await;
    home.command(&id, |command| command.claims += 1);
    home.until("another claim", |world| (world.commands[&id].claims > 2).then_some(())).await;
    let_go(&home);
    assert_eq!(end(child).await.0, 0);
}

#[tokio::test]
async fn told_to_end_it_reports_the_hook_that_it_ended_as_interrupted() {
    let home = Home::new();
    let (api, _server) = home.serve().await;
    let id = home.dispatch(waiting(1));
    let child = start(&home, &api, &id);
    home.file("began").await;
    terminate(&child);
    let (code, line) = end(child).await;
    assert_eq!(code, 1, "{line}");
    let report = home.result(&id).await;
    let found = diagnostics(&report, Event::BeforeInstall);
    assert!(found.message.contains("interrupted") && found.script_name == "run.sh", "{found:#?}");
}

#[tokio::test]
async fn told_to_end_before_its_turn_in_the_group_came_it_fails_at_once_and_is_not_left_for_later()
{
    let home = Home::new();
    let (api, _server) = home.serve().await;
    let running = home.dispatch(waiting(1));
    let first = start(&home, &api, &running);
    home.file("began").await;
    let id = home.dispatch(noting(2));
    let second = start(&home, &api, &id);
    let generation = home.state().join("01010101-0101-4101-8101-010101010101/generation");
    while std::fs::read_to_string(&generation).unwrap() != "2" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    terminate(&second);
    assert_eq!(end(second).await.0, 1);
    let report = home.result(&id).await;
    assert_eq!(report.status, HostStatus::Failed);
    assert!(
        diagnostics(&report, Event::ApplicationStop).message.contains("told to end"),
        "{report:#?}"
    );
    let_go(&home);
    // The newer command has fenced what was running.
    assert_eq!(end(first).await.0, 1);
    assert_eq!(read(&home, "ran"), "");
}

#[tokio::test]
async fn without_a_word_from_the_api_it_ends_and_starts_no_event_without_permission() {
    let home = Home::new();
    let (api, server) = home.serve().await;
    home.change(|world| world.lease_ms = 300);
    let id = home.dispatch(waiting(1));
    let mut config = home.config();
    config.limits.orphaned_after_ms = 1_500;
    let task = tokio::spawn(run_once(config, in_process(&api, &id), std::future::pending()));
    home.file("began").await;
    server.abort();
    // A script that runs is left to end, however long that takes.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(!task.is_finished());
    let_go(&home);
    let PushedEnd::Ended { status, is_delivered, .. } = task.await.unwrap().unwrap() else {
        panic!("it was claimed")
    };
    assert_eq!((status, is_delivered), (HostStatus::Failed, false));
}

#[tokio::test]
async fn commands_run_beside_an_agent_and_wait_for_it_only_in_the_same_group() {
    let home = Home::new();
    let (api, _server) = home.serve().await;
    let agent = Agent::start(home.config());
    let polled = home.offer(waiting(1));
    home.file("began").await;
    let (same, other) = (home.dispatch(noting(2)), home.dispatch(noting(3).in_group(3)));
    let same_process = start(&home, &api, &same);
    assert_eq!(end(start(&home, &api, &other)).await.0, 0);
    home.until("its claim", |world| (world.commands[&same].claims == 1).then_some(())).await;
    assert_eq!(read(&home, "ran"), format!("{other}\n"));
    let_go(&home);
    assert_eq!(end(same_process).await.0, 0);
    // Fenced by the newer one: it has ended the hook that ran, and no more.
    let report = home.result(&polled).await;
    assert_eq!(event(&report, Event::BeforeInstall).status, EventStatus::Succeeded);
    assert_eq!(
        (report.status, read(&home, "ran")),
        (HostStatus::Failed, format!("{other}\n{same}\n"))
    );
    agent.stop().await;
}

#[tokio::test]
async fn an_agent_that_starts_beside_a_running_command_leaves_its_install_alone() {
    let home = Home::new();
    let (api, _server) = home.serve().await;
    let deployment = waiting(1);
    let group = home.state().join(deployment.specification.deployment_group_id.as_str());
    let id = home.dispatch(deployment);
    let child = start(&home, &api, &id);
    home.file("began").await;
    // As if the command were in the middle of its install. Recovery would not understand it, or do something about it.
    let journal = group.join("install-journal.json");
    std::fs::write(&journal, "{}").unwrap();
    let agent = Agent::start(home.config());
    let polled = home.offer(noting(2).in_group(2));
    assert_eq!(home.result(&polled).await.status, HostStatus::Succeeded);
    assert_eq!(std::fs::read_to_string(&journal).unwrap(), "{}");
    std::fs::remove_file(&journal).unwrap();
    let_go(&home);
    assert_eq!(end(child).await.0, 0);
    agent.stop().await;
}
