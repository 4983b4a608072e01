//! The script that a push runs on a host (`shared/aws/src/command.sh`), for real: in every shell and with every tool that
//! is there, against a small API and a place for runners on another port.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

const SCRIPT: &str = include_str!("../../shared/aws/src/command.sh");
const BATCH: &str = "d-A1B2C3D4E/12";

/// What is served, and what was asked.
#[derive(Default)]
struct Served {
    runner: Vec<u8>,
    /// Answered before anything else, the last one first.
    refusals: Vec<StatusCode>,
    /// Where hosts are sent for the runner, if not to the other port.
    location: Option<String>,
    /// Path, query and authorization of each request.
    asked: Vec<(String, Option<String>)>,
    /// Arguments of processes that had the secret in them.
    leaks: Vec<String>,
}

type Shared = Arc<Mutex<Served>>;

/// A host: directories, and a `PATH` with the tools that it has.
struct Host {
    dir: tempfile::TempDir,
    shell: Vec<&'static str>,
    served: Shared,
    api: String,
    secret: String,
    digest: String,
}

const TOOLS: [&str; 17] = [
    "cat",
    "chmod",
    "cut",
    "env",
    "find",
    "grep",
    "mkdir",
    "mktemp",
    "mv",
    "rm",
    "sed",
    "sh",
    "sha256sum",
    "tail",
    "touch",
    "tr",
    "uname",
];

fn which(tool: &str) -> Option<PathBuf> {
    let dirs =
        ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"].into_iter().map(Path::new);
    dirs.map(|dir| dir.join(tool)).find(|path| path.exists())
}

/// The shells of this machine.
fn shells() -> Vec<Vec<&'static str>> {
    let all: [&[&'static str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];
    let there = all.into_iter().filter(|words| which(words[0]).is_some()).map(<[_]>::to_vec);
    there.chain([vec!["sh"]]).collect()
}

/// The tools of this machine that fetch.
fn fetchers() -> Vec<&'static str> {
    assert!(which("curl").is_some(), "install curl: `cargo xtask test` does");
    ["curl", "wget"].into_iter().filter(|tool| which(tool).is_some()).collect()
}

/// Puts a program into a host's `bin`, in the place of the link that may be there. Never through it: behind it is the
/// machine's own program.
fn executable(path: &Path, text: &str) {
    if path.is_symlink() {
        std::fs::remove_file(path).unwrap();
    }
    let mut file = File::options().write(true).create_new(true).mode(0o755).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A runner that tells what it was given.
fn runner(note: &str) -> Vec<u8> {
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = --version ]; then echo {note}; exit 0; fi\n\
         printf '%s|%s\\n' \"$*\" \"$CUTOVER_BATCH_SECRET\" >>\"$TOLD\"\nexit 7\n"
    );
    script.into_bytes()
}

async fn serve(router: axum::Router<Shared>, served: &Shared) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = router.with_state(Arc::clone(served));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// The command lines of all processes that have the text in them.
fn command_lines_with(text: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|it| std::fs::read(it.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(text)).collect()
}

fn note(served: &mut Served, uri: &Uri, headers: &HeaderMap) {
    let said = headers.get(header::AUTHORIZATION).map(|it| it.to_str().unwrap().to_owned());
    if let Some(secret) = said.as_deref().and_then(|said| said.strip_prefix("Bearer ")) {
        served.leaks.extend(command_lines_with(secret));
    }
    served.asked.push((uri.to_string(), said));
}

impl Host {
    /// A host with one tool for fetching, if any, and the API that serves this runner.
    async fn new(shell: &[&'static str], tool: Option<&str>, runner: Vec<u8>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        for tool in TOOLS.into_iter().chain(tool) {
            symlink(which(tool).unwrap_or_else(|| panic!("no {tool}")), bin.join(tool)).unwrap();
        }
        // The waits between tries are shorter here.
        let sleep = format!("#!/bin/sh\nexec {} 0.6\n", which("sleep").unwrap().display());
        executable(&bin.join("sleep"), &sleep);
        executable(&bin.join("id"), "#!/bin/sh\necho ${ID:-0}\n");
        let digest = hex::encode(Sha256::digest(&runner));
        let served: Shared = Arc::new(Mutex::new(Served { runner, ..Served::default() }));
        let store = async |State(served): State<Shared>, uri: Uri, headers: HeaderMap| {
            let mut served = served.lock().unwrap();
            note(&mut served, &uri, &headers);
            served.runner.clone()
        };
        let store = serve(axum::Router::new().route("/store/runner", get(store)), &served).await;
        let api =
            async move |State(served): State<Shared>, uri: Uri, headers: HeaderMap| -> Response {
                let mut served = served.lock().unwrap();
                note(&mut served, &uri, &headers);
                if let Some(status) = served.refusals.pop() {
                    return status.into_response();
                }
                let presigned = format!("{store}/store/runner?X-Amz-Signature=a%2Fb&x=[1]");
                let to = served.location.clone().unwrap_or(presigned);
                (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response()
            };
        let api =
            serve(axum::Router::new().route("/cutover/v1/host/runner", get(api)), &served).await;
        // Of its own, since other tests look for theirs among all processes.
        let secret = hex::encode(Sha256::digest(&api));
        Self { dir, shell: shell.to_vec(), served, api, secret, digest }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn script(&self) -> PathBuf {
        let values = [
            ("ApiUrl", self.api.as_str()),
            ("BatchKey", BATCH),
            ("BatchSecret", &self.secret),
            ("RunnerVersion", "0.1.0"),
            ("RunnerDigest", &self.digest),
        ];
        let mut script = SCRIPT.to_owned();
        for (name, value) in values {
            script = script.replace(&format!("'{{{{ {name} }}}}'"), &format!("'{value}'"));
        }
        assert!(!script.contains("{{"));
        let opt = self.path("opt");
        let script = script.replace("/opt/cutover/runner", opt.to_str().unwrap());
        let script = script.replace("tries_max=8", "tries_max=2");
        std::fs::write(self.path("script.sh"), script).unwrap();
        self.path("script.sh")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(which(self.shell[0]).unwrap());
        command.args(&self.shell[1..]).arg(self.script());
        command.env_clear().env("PATH", self.path("bin")).env("TOLD", self.path("told"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the script; its exit code, and what it says.
    async fn run(&self) -> (i32, String) {
        end(self.command()).await
    }

    fn told(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("told")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What is in the directory of the runners, hidden files too.
    fn kept(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("opt")).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn asked(&self) -> Vec<(String, Option<String>)> {
        std::mem::take(&mut self.served.lock().unwrap().asked)
    }
}

async fn end(mut command: Command) -> (i32, String) {
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let Output { status, stdout, stderr } = run.await.unwrap();
    assert_eq!(String::from_utf8(stdout).unwrap(), "");
    (status.code().unwrap_or(-1), String::from_utf8(stderr).unwrap())
}

/// A test in each shell, with each tool.
fn everywhere() -> Vec<(Vec<&'static str>, &'static str)> {
    let pairs = shells()
        .into_iter()
        .flat_map(|shell| fetchers().into_iter().map(move |tool| (shell.clone(), tool)));
    pairs.collect()
}

#[tokio::test]
async fn a_missing_runner_is_fetched_once_and_the_secret_goes_to_the_api_and_the_runner_only() {
    for (shell, tool) in everywhere() {
        let host = Host::new(&shell, Some(tool), runner("one")).await;
        let (code, said) = host.run().await;
        assert_eq!((code, said.as_str()), (7, ""), "{shell:?} {tool}");
        let expected = format!(
            "run --api {} --batch {BATCH} --state /var/lib/cutover|{}",
            host.api, host.secret
        );
        assert_eq!(host.told(), std::slice::from_ref(&expected));
        let question = format!("/cutover/v1/host/runner?batch={BATCH}&digest={}", host.digest);
        let asked = host.asked();
        assert_eq!(asked[0], (question, Some(format!("Bearer {}", host.secret))));
        assert!(asked[1].0.starts_with("/store/runner?X-Amz-Signature=a%2Fb"), "{asked:?}");
        assert_eq!((asked.len(), &asked[1].1), (2, &None), "{shell:?} {tool}");
        assert_eq!(host.served.lock().unwrap().leaks, Vec::<String>::new());
        assert_eq!(host.kept(), std::slice::from_ref(&host.digest));
        // Now it is there.
        assert_eq!(host.run().await, (7, String::new()));
        assert_eq!((host.told().len(), host.asked().len()), (2, 0));
        // One that was damaged is fetched again.
        let path = host.path("opt").join(&host.digest).join("cutover-runner");
        std::fs::write(&path, "").unwrap();
        assert_eq!(host.run().await, (7, String::new()));
        assert_eq!((host.told().len(), host.asked().len()), (3, 2));
    }
}

#[tokio::test]
async fn a_runner_of_another_digest_is_removed_and_not_run() {
    for (shell, tool) in everywhere() {
        let mut host = Host::new(&shell, Some(tool), runner("other")).await;
        let other = std::mem::replace(&mut host.digest, "0".repeat(64));
        let (code, said) = host.run().await;
        assert_eq!(code, 2);
        assert!(said.contains(&other) && said.contains(&host.digest), "{shell:?} {tool}: {said}");
        assert!(said.contains("removed") && said.contains("eploy"), "{said}");
        assert_eq!((host.kept(), host.told()), (vec![], vec![]));
    }
}

#[tokio::test]
async fn commands_at_the_same_time_all_find_a_whole_runner() {
    for (shell, tool) in everywhere() {
        let host = Host::new(&shell, Some(tool), runner("one")).await;
        let ends: Vec<_> = (0..4).map(|_| tokio::spawn(end(host.command()))).collect();
        for run in ends {
            assert_eq!(run.await.unwrap(), (7, String::new()), "{shell:?} {tool}");
        }
        assert_eq!((host.told().len(), host.kept()), (4, vec![host.digest.clone()]));
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_will_not_is_said_at_once() {
    for (shell, tool) in everywhere() {
        let host = Host::new(&shell, Some(tool), runner("one")).await;
        host.served.lock().unwrap().refusals = vec![StatusCode::SERVICE_UNAVAILABLE];
        assert_eq!(host.run().await, (7, String::new()), "{shell:?} {tool}");
        for (status, expected) in [
            (StatusCode::UNAUTHORIZED, "came too late"),
            (StatusCode::FORBIDDEN, "came too late"),
            (StatusCode::NOT_FOUND, "has no runner 0.1.0"),
        ] {
            let host = Host::new(&shell, Some(tool), runner("one")).await;
            host.served.lock().unwrap().refusals = vec![status];
            let (code, said) = host.run().await;
            assert_eq!((code, host.asked().len()), (2, 1), "{said}");
            assert!(said.contains(expected) && said.contains(status.as_str()), "{tool}: {said}");
        }
        let mut host = Host::new(&shell, Some(tool), runner("one")).await;
        host.api = "http://127.0.0.1:1".to_owned();
        let (code, said) = host.run().await;
        assert_eq!(code, 2);
        assert!(said.contains("127.0.0.1:1") && said.contains("security groups"), "{said}");
        assert_eq!(host.kept(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_address_that_is_none_is_not_asked() {
    for (shell, tool) in everywhere() {
        let host = Host::new(&shell, Some(tool), runner("one")).await;
        for location in ["file:///etc/passwd", "--output=/etc/passwd"] {
            host.served.lock().unwrap().location = Some(location.to_owned());
            let (code, said) = host.run().await;
            assert_eq!((code, host.kept()), (2, vec![]), "{shell:?} {tool}: {said}");
        }
    }
}

#[tokio::test]
async fn what_is_missing_on_the_host_is_said_with_what_to_do() {
    for shell in shells() {
        let host = Host::new(&shell, None, runner("one")).await;
        let (code, said) = host.run().await;
        assert!(code == 2 && said.contains("neither curl nor wget"), "{shell:?}: {said}");
        assert!(said.contains("install curl"), "{said}");
        // One that follows redirects with the secret, or shows it to all.
        executable(&host.path("bin/wget"), "#!/bin/sh\necho GNU Wget2 1.99.1 - multithreaded\n");
        let (code, said) = host.run().await;
        assert!(code == 2 && said.contains("install curl"), "{shell:?}: {said}");

        let host = Host::new(&shell, Some("curl"), runner("one")).await;
        let mut command = host.command();
        command.env("ID", "1000");
        let (code, said) = end(command).await;
        assert!(code == 2 && said.contains("run as root"), "{shell:?}: {said}");
        std::fs::remove_file(host.path("bin/sha256sum")).unwrap();
        let (code, said) = host.run().await;
        assert!(code == 2 && said.contains("coreutils"), "{shell:?}: {said}");
        assert_eq!(host.kept(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_written_to_and_a_runner_that_does_not_run_are_named() {
    for (shell, tool) in everywhere() {
        let host = Host::new(&shell, Some(tool), runner("one")).await;
        std::fs::write(host.path("opt"), "in the way").unwrap();
        let (code, said) = host.run().await;
        assert!(code == 2 && said.contains("cannot write to"), "{shell:?} {tool}: {said}");
        std::fs::remove_file(host.path("opt")).unwrap();
        // As with a full disk.
        executable(
            &host.path("bin/mktemp"),
            "#!/bin/sh\nmkdir -p \"$TOLD.d\"; ln -s /dev/full \"$TOLD.d/runner\"; echo \"$TOLD.d\"\n",
        );
        symlink(which("ln").unwrap(), host.path("bin/ln")).unwrap();
        let (code, said) = host.run().await;
        assert!(code == 2 && said.contains("free space"), "{shell:?} {tool}: {said}");
        assert!(!host.path("told.d").exists());

        let broken = b"#!/bin/sh\necho no such machine >&2\nexit 126\n".to_vec();
        let host = Host::new(&shell, Some(tool), broken).await;
        let (code, said) = host.run().await;
        assert!(code == 2 && said.contains("no such machine"), "{shell:?} {tool}: {said}");
        assert!(said.contains("another kind of machine"), "{said}");
    }
}

#[tokio::test]
async fn runners_that_nobody_has_used_for_a_month_go_and_so_does_what_killed_scripts_left() {
    for shell in shells() {
        let host = Host::new(&shell, Some("curl"), runner("one")).await;
        let day = Duration::from_secs(24 * 3_600);
        for (name, days) in [
            ("old", 40),
            ("recent", 20),
            (host.digest.as_str(), 50),
            (".new.old", 2),
            (".new.now", 0),
        ] {
            let dir = host.path("opt").join(name);
            std::fs::create_dir_all(dir.join("within")).unwrap();
            let time = SystemTime::now() - day * days;
            File::open(&dir).unwrap().set_modified(time).unwrap();
        }
        assert_eq!(host.run().await, (7, String::new()), "{shell:?}");
        let mut expected = vec![".new.now".to_owned(), host.digest.clone(), "recent".to_owned()];
        expected.sort();
        assert_eq!(host.kept(), expected, "{shell:?}");
    }
}

#[tokio::test]
async fn a_script_that_is_told_to_end_leaves_no_files() {
    for (shell, tool) in everywhere() {
        let host = Host::new(&shell, Some(tool), runner("one")).await;
        // It waits for its second try.
        host.served.lock().unwrap().refusals = vec![StatusCode::BAD_GATEWAY; 2];
        let child = host.command().spawn().unwrap();
        while host.served.lock().unwrap().asked.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
        assert_eq!(output.await.unwrap().status.code(), Some(2), "{shell:?} {tool}");
        assert_eq!((host.kept(), host.told()), (vec![], vec![]));
    }
}
