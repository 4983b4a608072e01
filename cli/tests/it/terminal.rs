//! Deployments that are watched on a terminal, as people do. `script` opens the terminal; what is written to it is the keyboard.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use vt100::Parser;

use crate::service::Service;

/// A deployment of two hosts that goes on for ever, or until it has been looked at so many times.
fn service(looks: Option<usize>) -> Service {
    let info = |status: &str| {
        json!({ "deploymentInfo": {
            "deploymentId": "d-A00000000", "applicationName": "shop", "deploymentGroupName": "web", "status": status,
            "createTime": 1_795_424_400, "completeTime": (status == "Succeeded").then_some(1_795_424_410),
            "deploymentOverview": { "Succeeded": 1, "InProgress": 1 },
        } })
    };
    let host = |name: &str, status: &str| {
        let event = json!({ "lifecycleEventName": "Install", "status": status, "startTime": 1_795_424_401, "endTime": 1_795_424_402 });
        json!({ "instanceTarget": { "targetId": name, "status": status, "lifecycleEvents": [event] } })
    };
    let under_way =
        json!({ "deploymentTargets": [host("host-1", "Succeeded"), host("host-2", "InProgress")] });
    let mut infos = vec![info("InProgress")];
    let mut targets = vec![under_way.clone()];
    if let Some(looks) = looks {
        infos = vec![info("InProgress"); looks];
        infos.push(info("Succeeded"));
        targets = vec![under_way; looks];
        targets.push(json!({ "deploymentTargets": [host("host-2", "Succeeded")] }));
    }
    let hosts = [json!({ "targetIds": ["host-1", "host-2"] })];
    Service::with(&[
        ("GetDeployment", &infos),
        ("ListDeploymentTargets", &hosts),
        ("BatchGetDeploymentTargets", &targets),
    ])
}

/// A terminal with the program in it.
struct Terminal {
    script: Child,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Runs `cutover ARGUMENTS`; `before` is run first, by a shell in the terminal.
    fn with(service: &Service, term: &str, before: &str, arguments: &str) -> Self {
        let program = env!("CARGO_BIN_EXE_cutover");
        let dir = service.dir().display();
        let line = format!(
            "trap : INT; stty rows 24 cols 90; {before} {program} --dir {dir} {arguments}; echo exit $?"
        );
        let mut script = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command", &line, "/dev/null"])
            .env("TERM", term)
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("`script` of util-linux: {error}"));
        let mut stdout = script.stdout.take().unwrap();
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let copy = bytes.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                copy.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { script, bytes }
    }

    /// What it shows, on a screen of this width.
    fn shown(&self, width: u16) -> String {
        let mut parser = Parser::new(24.try_into().unwrap(), width.try_into().unwrap(), 0);
        parser.process(&self.bytes.lock().unwrap());
        assert!(!parser.screen().hide_cursor(), "the cursor is never hidden");
        let rows: Vec<String> = parser.screen().rows(0, width).collect();
        rows.join("\n").trim_end().to_owned()
    }

    fn until(&self, text: &str) -> String {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let shown = self.shown(90);
            if shown.contains(text) {
                return shown;
            }
            assert!(Instant::now() < end, "`{text}` is not shown:\n{shown}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn press(&mut self, keys: &[u8]) {
        self.script.stdin.as_mut().unwrap().write_all(keys).unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.script.kill().unwrap();
        self.script.wait().unwrap();
    }
}

#[test]
fn ctrl_c_leaves_the_picture_and_says_that_the_deployment_goes_on() {
    let service = service(None);
    let mut terminal = Terminal::with(&service, "xterm", "", "watch d-A00000000");
    terminal.until("1 of 2 hosts done, 1 at work");
    terminal.press(b"\x03");
    let shown = terminal.until("exit 130");
    let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
    assert_eq!(
        lines.iter().filter(|line| line.contains("1 of 2 hosts done")).count(),
        1,
        "{shown}"
    );
    let [.., hosts, first, second, goes_on, _, exit] = lines.as_slice() else { panic!("{shown}") };
    assert!(hosts.contains("1 of 2 hosts done, 1 at work"), "{shown}");
    assert!(first.starts_with("  ✔ host-1  Succeeded"), "{shown}");
    assert!(second.contains(" host-2  Install"), "{shown}");
    let expected = "the deployment goes on: `cutover watch d-A00000000` shows it again,";
    assert!(goes_on.starts_with(expected), "{shown}");
    assert_eq!(*exit, "exit 130");
    assert!(service.asked("StopDeployment").is_empty());
}

#[test]
fn a_deployment_that_ends_leaves_its_last_picture() {
    let service = service(Some(3));
    let terminal = Terminal::with(&service, "xterm", "", "watch d-A00000000");
    let shown = terminal.until("exit 0");
    assert!(shown.contains("d-A00000000  shop/web  Succeeded in 10.0 s\n"), "{shown}");
    assert!(shown.contains("━━━━━━━━━━━━━━━━━━━━━━━━  2 of 2 hosts done\n"), "{shown}");
    assert_eq!(shown.matches("host-2").count(), 1, "{shown}");
}

#[test]
fn a_terminal_that_is_resized_is_drawn_for_anew() {
    let service = service(None);
    let resize = "(sleep 1; stty cols 30 </dev/tty) &";
    let terminal = Terminal::with(&service, "xterm", resize, "watch d-A00000000 --timeout 3");
    terminal.until("d-A00000000  shop/web  InProgress");
    // The state does not fit behind the name any more.
    terminal.until("d-A00000000  shop/web\n");
    terminal.until("exit 4");
}

#[test]
fn a_terminal_that_cannot_be_drawn_on_gets_lines() {
    let service = service(Some(3));
    let terminal = Terminal::with(&service, "dumb", "", "watch d-A00000000");
    let shown = terminal.until("exit 0");
    let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
    assert_eq!(
        lines,
        [
            "09:00:00.000Z  d-A00000000  shop/web, 2 hosts",
            "09:00:01.000Z  host-1  Install",
            "09:00:01.000Z  host-2  Install",
            "09:00:02.000Z  host-1  Succeeded in 1.0 s",
            "09:00:02.000Z  host-2  Succeeded in 1.0 s",
            "09:00:10.000Z  d-A00000000  Succeeded in 10.0 s",
            "exit 0"
        ]
    );
    assert!(!terminal.bytes.lock().unwrap().contains(&0x1b), "{shown}");
}
