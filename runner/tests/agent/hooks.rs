//! Scripts of every kind.

use std::os::unix::fs::PermissionsExt as _;

use engine::lifecycle::Event;
use wire::host::{ErrorCode, EventStatus, HostStatus, ReportRequest};
use wire::log::{unstamped, without_stamps};

use crate::home::{Agent, Deployment, Home, diagnostics, event, kept};
use crate::push::{end, push, terminate};

/// Runs one script at BeforeInstall, and returns the last report.
async fn run(options: &str, mode: u32, script: &str) -> (Home, Deployment, ReportRequest) {
    let hooks = format!("  BeforeInstall:\n    - location: run me.sh\n{options}");
    run_bundle(Deployment::new(1, &hooks, &[("run me.sh", mode, script)])).await
}

async fn run_bundle(deployment: Deployment) -> (Home, Deployment, ReportRequest) {
    let home = Home::new();
    let _server = home.open().await;
    let mut config = home.config();
    config.limits.kill_after_ms = 300;
    config.limits.open_output_ms = 200;
    config.limits.log_bytes = 1 << 20;
    let agent = Agent::start(config);
    let id = home.offer(deployment.clone());
    let report = home.result(&id).await;
    agent.stop().await;
    (home, deployment, report)
}

fn failure(report: &ReportRequest) -> (ErrorCode, String) {
    assert_eq!(report.status, HostStatus::Failed, "{report:#?}");
    assert_eq!(event(report, Event::Install).status, EventStatus::Skipped);
    let found = diagnostics(report, Event::BeforeInstall);
    (found.error_code, found.message)
}

#[tokio::test]
async fn a_script_has_a_clean_environment_with_codedeploys_variables() {
    let script = "#!/bin/sh\necho out; echo err >&2\nenv | sort; pwd; cat\n";
    let (home, deployment, report) = run("", 0o755, script).await;
    assert_eq!(report.status, HostStatus::Succeeded, "{report:#?}");
    let tail = &diagnostics(&report, Event::BeforeInstall).log_tail;
    let names: Vec<_> = tail
        .lines()
        .filter_map(|line| line.strip_prefix("[stdout]")?.split_once('='))
        .map(|(name, _)| name)
        .collect();
    let expected = [
        "APPLICATION_NAME",
        "BUNDLE_BUCKET",
        "BUNDLE_ETAG",
        "BUNDLE_KEY",
        "BUNDLE_VERSION",
        "DEPLOYMENT_GROUP_ID",
        "DEPLOYMENT_GROUP_NAME",
        "DEPLOYMENT_ID",
        "HOME",
        "HOST_NAME",
        "HOST_ROOT",
        "LANG",
        "LIFECYCLE_EVENT",
        "LOGNAME",
        "PATH",
        "PWD",
        "SHELL",
        "USER",
    ];
    assert_eq!(names, expected);
    for line in [
        "Script - run me.sh",
        "[stdout]out",
        "[stderr]err",
        "[stdout]DEPLOYMENT_GROUP_NAME=web tier",
        "[stdout]LIFECYCLE_EVENT=BeforeInstall",
        "[stdout]BUNDLE_ETAG=e1",
        "[stdout]BUNDLE_VERSION=v7",
        &format!("[stdout]{}", home.root().display()),
    ] {
        assert!(tail.lines().any(|it| it == line), "{line} in {tail}");
    }
    let log = kept(&home, &deployment.specification).join("logs/BeforeInstall.log");
    let text = std::fs::read_to_string(&log).unwrap();
    assert_eq!(&without_stamps(&text), tail);
    // Each line has its time, and none is earlier than the one before.
    let times: Vec<_> = text.lines().map(|line| unstamped(line).0).collect();
    assert!(times.iter().all(Option::is_some) && times.is_sorted(), "{text}");
    assert_eq!(log.parent().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_script_without_a_shebang_or_without_its_mode_runs() {
    let (_home, _, report) = run("", 0o644, "echo plain $0\n").await;
    assert_eq!(report.status, HostStatus::Succeeded, "{report:#?}");
    let tail = &diagnostics(&report, Event::BeforeInstall).log_tail;
    assert!(tail.contains("was not executable and was made so"), "{tail}");
    assert!(tail.contains("[stdout]plain /"), "{tail}");
}

#[tokio::test]
async fn a_failure_says_how_the_script_ended_and_what_to_do() {
    let cases = [
        ("echo why >&2; exit 3", ErrorCode::ScriptFailed, "failed with exit code 3"),
        ("kill -9 $$", ErrorCode::ScriptFailed, "SIGKILL (9)"),
        ("no-such-command-here", ErrorCode::ScriptFailed, "exit code 127 means"),
        (
            "echo 'System has not been booted with systemd as init' >&2; exit 1",
            ErrorCode::ScriptFailed,
            "no systemd",
        ),
        ("#!/bin/not-here\n", ErrorCode::UnknownError, "interpreter"),
        ("#!/bin/sh\r\necho\r\n", ErrorCode::UnknownError, "carriage return"),
    ];
    for (script, code, words) in cases {
        let (_home, _, report) = run("", 0o755, script).await;
        let (found, message) = failure(&report);
        assert!(found == code && message.contains(words), "{script}: {found:?} {message}");
    }
}

#[tokio::test]
async fn a_bundle_without_a_script_that_it_names_is_refused_before_any_hook() {
    for location in ["nothing.sh", "../../../../bin/true", "sub/.."] {
        let hooks = format!("  BeforeInstall:\n    - location: {location}\n");
        let bundle = Deployment::new(1, &hooks, &[("sub/x", 0o644, "")]);
        let (_home, _, report) = run_bundle(bundle).await;
        let found = diagnostics(&report, Event::DownloadBundle);
        assert!(found.message.contains(location), "{found:#?}");
        assert_eq!(event(&report, Event::BeforeInstall).status, EventStatus::Skipped);
    }
}

#[tokio::test]
async fn a_script_that_an_earlier_hook_removed_or_led_out_of_the_bundle_is_missing() {
    let hooks =
        "  BeforeInstall: [{location: run.sh}]\n  AfterInstall: [{location: /sub/next.sh}]\n";
    for change in
        ["rm sub/next.sh", "ln -sf /bin/true sub/next.sh", "rm sub/next.sh; mkdir sub/next.sh"]
    {
        let script = format!("#!/bin/sh\ncd \"$(dirname \"$0\")\" && {change}\n");
        let scripts = [("run.sh", 0o755, script.as_str()), ("sub/next.sh", 0o755, "#!/bin/sh\n")];
        let (_home, _, report) = run_bundle(Deployment::new(1, hooks, &scripts)).await;
        let found = diagnostics(&report, Event::AfterInstall);
        assert_eq!(found.error_code, ErrorCode::ScriptMissing, "{found:#?}");
        assert_eq!(found.script_name, "/sub/next.sh");
    }
}

#[tokio::test]
async fn a_script_runs_as_the_user_it_names_and_a_missing_user_is_said_to_be_missing() {
    let (_home, _, report) =
        run("      runas: daemon\n", 0o755, "#!/bin/sh\nid -un; id -G; echo $HOME").await;
    if !rustix::process::geteuid().is_root() {
        assert!(failure(&report).1.contains("run the agent as root"), "{report:#?}");
        return;
    }
    assert_eq!(report.status, HostStatus::Succeeded, "{report:#?}");
    let tail = &diagnostics(&report, Event::BeforeInstall).log_tail;
    assert!(tail.contains("[stdout]daemon\n[stdout]1\n[stdout]/usr/sbin\n"), "{tail}");

    let (_home, _, report) = run("      runas: nobody-by-this-name\n", 0o755, "#!/bin/sh\n").await;
    let (code, message) = failure(&report);
    assert!(
        code == ErrorCode::UnknownError && message.contains("no user `nobody-by-this-name`"),
        "{message}"
    );
}

#[tokio::test]
async fn a_script_whose_time_is_over_is_ended_with_all_it_started_even_if_it_ignores_sigterm() {
    let script = "#!/bin/sh\ntrap '' TERM\n(trap '' TERM; echo $$ > \"$HOST_ROOT/child\"; sleep 600; sleep 600) &\nsleep 600; sleep 600\n";
    let (home, _, report) = run("      timeout: 1\n", 0o755, script).await;
    let (code, message) = failure(&report);
    assert!(code == ErrorCode::ScriptTimedOut && message.contains("not done in 1 s"), "{message}");
    let group = home.file("child").await.trim().parse().unwrap();
    let group = rustix::process::Pid::from_raw(group).unwrap();
    // What was killed may still wait to be reaped by the machine's init.
    let left = std::fs::read_dir("/proc").unwrap().flatten().filter(|process| {
        let stat = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields.len() > 2 && fields[0] != "Z" && fields[2] == group.as_raw_nonzero().to_string()
    });
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn output_beyond_the_limit_is_dropped_and_the_script_goes_on() {
    let script =
        "#!/bin/sh\nhead -c 30000000 /dev/zero | tr '\\0' x\nyes | head -n 1000000\necho the end\n";
    let (home, deployment, report) = run("", 0o755, script).await;
    assert_eq!(report.status, HostStatus::Succeeded, "{report:#?}");
    let log = std::fs::read(kept(&home, &deployment.specification).join("logs/BeforeInstall.log"))
        .unwrap();
    assert!(log.len() < (1 << 20) + 200, "{}", log.len());
    assert!(String::from_utf8(log).unwrap().contains("the output was cut here"));
    let tail = &diagnostics(&report, Event::BeforeInstall).log_tail;
    assert!(tail.ends_with("[stdout]the end\n") && tail.len() <= 64 << 10, "{}", tail.len());
}

#[tokio::test]
async fn invalid_utf_8_is_replaced() {
    let (_home, _, report) =
        run("", 0o755, "#!/bin/sh\nprintf 'a\\377b\\n\\303\\251 no line end'\n").await;
    let tail = &diagnostics(&report, Event::BeforeInstall).log_tail;
    assert!(tail.ends_with("[stdout]a\u{fffd}b\n[stdout]é no line end\n"), "{tail}");
}

#[tokio::test]
async fn a_background_child_that_holds_the_output_does_not_hold_the_event() {
    let script = "#!/bin/sh\n(while :; do echo again; sleep 0.01; test -e \"$HOST_ROOT/stop\" && break; done; echo > \"$HOST_ROOT/done\") &\nexit 0\n";
    let (home, _, report) = run("", 0o755, script).await;
    assert_eq!(report.status, HostStatus::Succeeded, "{report:#?}");
    assert!(diagnostics(&report, Event::BeforeInstall).log_tail.contains("still holds its output"));
    // It was left alive, and printing did not kill it.
    std::fs::write(home.root().join("stop"), "").unwrap();
    home.file("done").await;
}

#[tokio::test]
async fn a_user_that_is_missing_later_on_fails_the_install_before_anything_is_installed() {
    let spec = |user: &str, event: &str| {
        format!(
            "files:\n  - source: run.sh\n    destination: /srv\nhooks:\n  {event}:\n    - location: run.sh\n      runas: {user}\n"
        )
    };
    let scripts = [("run.sh", 0o755, "#!/bin/sh\n")];
    for (number, events) in [(1, "AfterInstall"), (2, "ValidateService")] {
        for number in [number, number + 10] {
            let spec = spec("nobody-by-this-name", events);
            let (home, _, report) = run_bundle(Deployment::new(number, &spec, &scripts)).await;
            assert_eq!(report.status, HostStatus::Failed, "{report:#?}");
            let found = diagnostics(&report, Event::Install);
            assert_eq!(
                (found.error_code, found.script_name.as_str()),
                (ErrorCode::UnknownError, "run.sh")
            );
            let why = if rustix::process::geteuid().is_root() {
                "no user `nobody-by-this-name`"
            } else {
                "to run as `nobody-by-this-name`"
            };
            assert!(found.message.contains(why), "{}", found.message);
            assert!(found.message.starts_with("nothing was installed"), "{}", found.message);
            assert!(!home.root().join("srv").exists());
        }
    }
    // Events that this deployment does not have ask for nobody.
    let spec = spec("nobody-by-this-name", "BeforeAllowTraffic");
    let (home, _, report) = run_bundle(Deployment::new(3, &spec, &scripts)).await;
    assert_eq!(report.status, HostStatus::Succeeded, "{report:#?}");
    assert!(home.root().join("srv/run.sh").exists());
}

/// Programs that know users who are kept elsewhere, before all others on the path of a runner.
fn with_users(home: &Home, script: &str) -> String {
    let programs = home.dir.path().join("programs");
    std::fs::create_dir(&programs).unwrap();
    for name in ["getent", "id"] {
        let program = programs.join(name);
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    format!("{}:/usr/bin:/bin", programs.display())
}

const LATER: &str = "files:
  - source: run.sh
    destination: /srv
hooks:
  AfterInstall: [{location: make.sh}]
  ApplicationStart: [{location: run.sh, runas: made}]
";

#[tokio::test]
async fn a_user_whom_a_hook_after_install_makes_need_not_be_there_before() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: only root may run hooks as others");
        return;
    }
    for makes in [true, false] {
        let home = Home::new();
        let (api, _server) = home.serve().await;
        let made = home.root().join("made");
        let path = with_users(
            &home,
            &format!(
                "test -e '{}' || exit 2\n[ $1 = passwd ] && echo made:x:4711:4712::/: || echo 4713",
                made.display()
            ),
        );
        let make = if makes { "#!/bin/sh\ntouch \"$HOST_ROOT/made\"\n" } else { "#!/bin/sh\n" };
        let scripts = [
            ("make.sh", 0o755, make),
            ("run.sh", 0o755, "#!/bin/sh\necho uid $(/usr/bin/id -u)\n"),
        ];
        let id = home.dispatch(Deployment::new(1, LATER, &scripts));
        let child = push(&home, &api, &id).env("PATH", path).spawn().unwrap();
        let (code, line) = end(child).await;
        assert_eq!(code, i32::from(!makes), "{line}");
        let report = home.result(&id).await;
        // Before Install nobody can know.
        let installed = diagnostics(&report, Event::Install);
        assert!(installed.log_tail.contains("ApplicationStart will fail unless"), "{installed:#?}");
        assert!(installed.log_tail.contains("no user `made`"), "{installed:#?}");
        assert!(home.root().join("srv/run.sh").exists());
        let started = diagnostics(&report, Event::ApplicationStart);
        if makes {
            assert!(started.log_tail.contains("[stdout]uid 4711\n"), "{started:#?}");
        } else {
            assert!(started.message.contains("no user `made`"), "{started:#?}");
        }
    }
}

#[tokio::test]
async fn a_runner_that_is_told_to_end_does_not_wait_for_a_slow_directory_of_users() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: only root may run hooks as others");
        return;
    }
    for hooks in [
        "  AfterInstall: [{location: run.sh, runas: slow}]\n",
        "  BeforeInstall: [{location: run.sh, runas: slow}]\n",
    ] {
        let home = Home::new();
        let (api, _server) = home.serve().await;
        let asked = home.root().join("asked");
        let script = format!("echo >> '{}'; exec sleep 600", asked.display());
        let path = with_users(&home, &script);
        let id = home.dispatch(Deployment::new(1, hooks, &[("run.sh", 0o755, "#!/bin/sh\n")]));
        let child = push(&home, &api, &id).env("PATH", path).spawn().unwrap();
        home.file("asked").await;
        terminate(&child);
        assert_eq!(end(child).await.0, 1);
        let report = home.result(&id).await;
        let cut = report.events.iter().find(|it| it.status == EventStatus::Failed).unwrap();
        let said = &cut.diagnostics.as_ref().unwrap().message;
        assert!(said.contains("told to end before the command was done"), "{said}");
    }
}
