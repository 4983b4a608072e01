//! A home of a test: `cutover up` in a directory of its own. Nothing of it is left when the test ends, however it ends.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::archive::Bundle;
use super::client::Client;
use super::{process, wait_for};

/// A home that a test has started.
pub(crate) struct Home {
    place: TempDir,
    /// The options that say how many hosts it runs.
    hosts: Vec<String>,
    has_namespaces: bool,
    /// What `ulimit` is given before it starts.
    limit: Option<String>,
    args: Vec<String>,
    up: Option<Child>,
    client: Option<Client>,
}

/// The `cutover` that cargo has built beside this test.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("cutover");
    assert!(
        path.is_file(),
        "`{}` is not there: build it with `cargo build -p cutover`, then test again",
        path.display()
    );
    path
}

impl Home {
    /// A home that has not been started yet.
    pub(crate) fn new(hosts: u8) -> Self {
        Self {
            place: tempfile::tempdir().unwrap(),
            hosts: vec!["--hosts".to_owned(), hosts.to_string()],
            has_namespaces: true,
            limit: None,
            args: Vec::new(),
            up: None,
            client: None,
        }
    }

    /// Lets it have so many descriptors, and no more.
    pub(crate) fn with_descriptors(mut self, count: u32) -> Self {
        self.limit = Some(format!("-n {count}"));
        self
    }

    /// Lets it begin with so many descriptors.
    pub(crate) fn with_soft_descriptors(mut self, count: u32) -> Self {
        self.limit = Some(format!("-S -n {count}"));
        self
    }

    /// Options of `up` besides.
    pub(crate) fn with_args(mut self, args: &[String]) -> Self {
        self.args = args.to_owned();
        self
    }

    /// Has the next start ask for another number of hosts, or for none.
    pub(crate) fn asks_for(&mut self, hosts: Option<&[&str]>) {
        self.hosts = hosts.unwrap_or_default().iter().map(|word| (*word).to_owned()).collect();
    }

    /// A home that is up.
    #[track_caller]
    pub(crate) fn started(hosts: u8) -> Self {
        let mut home = Self::new(hosts);
        home.start();
        home
    }

    /// A home that is up where no mount namespaces can be had.
    #[track_caller]
    pub(crate) fn started_without_namespaces(hosts: u8) -> Self {
        let mut home = Self::new(hosts);
        home.has_namespaces = false;
        home.start();
        home
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.place.path().join("home")
    }

    /// A directory beside it, for what a test wants to keep.
    #[cfg(feature = "tools")]
    pub(crate) fn beside(&self) -> &std::path::Path {
        self.place.path()
    }

    /// A client of the home that was started last.
    pub(crate) fn client(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    /// Starts it, and waits until it is up.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        self.spawn();
        self.wait_until_up();
    }

    /// Starts it.
    #[track_caller]
    pub(crate) fn spawn(&mut self) {
        assert!(self.up.is_none(), "it runs already");
        drop(fs::remove_file(self.dir().join("endpoints.json")));
        let log = File::create(self.log()).unwrap();
        let mut command = if let Some(limit) = &self.limit {
            let mut command = Command::new("sh");
            command.arg("-c").arg(format!("ulimit {limit} && exec \"$0\" \"$@\"")).arg(program());
            command
        } else if self.has_namespaces {
            Command::new(program())
        } else {
            // In a user namespace, limits on namespaces are its own.
            let mut command = Command::new("unshare");
            let limit = "echo 0 >/proc/sys/user/max_mnt_namespaces && exec \"$0\" \"$@\"";
            command.args(["--user", "--map-root-user", "sh", "-c", limit]).arg(program());
            command
        };
        command.arg("up").arg("--dir").arg(self.dir());
        command.args(["--port", "0"]).args(&self.hosts).args(&self.args);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.up = Some(command.spawn().unwrap());
    }

    /// Waits for `endpoints.json`.
    #[track_caller]
    pub(crate) fn wait_until_up(&mut self) {
        let path = self.dir().join("endpoints.json");
        let (up, log) = (self.up.as_mut().unwrap(), self.place.path().join("up.log"));
        let endpoints = wait_for("the home to be up", || {
            if let Some(status) = up.try_wait().unwrap() {
                panic!("`up` ended with {status}: {}", fs::read_to_string(&log).unwrap());
            }
            fs::read(&path).ok()
        });
        self.client = Some(Client::new(serde_json::from_slice(&endpoints).unwrap()));
    }

    /// The loopback address of a host, whether the home is up or not.
    #[cfg(feature = "tools")]
    pub(crate) fn address(&self, host: u8) -> std::net::Ipv4Addr {
        let dir = self.place.path().canonicalize().unwrap().join("home");
        let number = local::hosts::layout::HostNumber::new(host).unwrap();
        local::hosts::layout::loopback_address(&dir, number)
    }

    fn log(&self) -> PathBuf {
        self.place.path().join("up.log")
    }

    /// What the `up` that was started last has said.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap()
    }

    /// The process of `up`.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(self.up.as_ref().unwrap())
    }

    /// Asks it to end, and waits until it has.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> ExitStatus {
        process::signal(self.pid(), Signal::TERM);
        self.wait()
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut up = self.up.take().unwrap();
        wait_for("`up` to end", || up.try_wait().unwrap())
    }

    /// Kills it; its hosts go on.
    pub(crate) fn kill(&mut self) {
        let mut up = self.up.take().unwrap();
        up.kill().unwrap();
        up.wait().unwrap();
    }

    /// The process of a host, if it runs.
    pub(crate) fn host(&self, number: u8) -> Option<Pid> {
        let all = process::naming(&self.dir());
        all.into_iter().find(|pid| {
            let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
            let line = line.unwrap_or_default();
            let words: Vec<_> = line.split(|&byte| byte == 0).collect();
            words.get(1) == Some(&b"host".as_slice())
                && words
                    .windows(2)
                    .any(|pair| pair[0] == b"--number" && pair[1] == number.to_string().as_bytes())
                && process::is_alive(*pid)
        })
    }

    /// Where a host's `/srv/x` lies, for `srv/x`.
    pub(crate) fn file(&self, host: u8, path: &str) -> PathBuf {
        self.dir().join(format!("hosts/host-{host}/root")).join(path)
    }

    /// The text of a host's file; empty if it is not there.
    pub(crate) fn text(&self, host: u8, path: &str) -> String {
        fs::read_to_string(self.file(host, path)).unwrap_or_default()
    }

    /// Runs a command of `cutover` on it.
    pub(crate) fn cutover(&self, args: &[&str]) -> Output {
        let mut command = Command::new(program());
        command.arg("--dir").arg(self.dir()).args(args).stdin(Stdio::null());
        command.output().unwrap()
    }

    /// Calls an operation that succeeds.
    #[track_caller]
    pub(crate) fn call(&self, operation: &str, request: Value) -> Value {
        self.client().call(operation, request)
    }

    /// Makes the application `shop` and its group `web` of all hosts, with rollback on failure.
    #[track_caller]
    pub(crate) fn make_group(&self, configuration: &str) {
        let made =
            self.cutover(&["init", "shop/web", "--auto-rollback", "--config", configuration]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// A version of the shop that listens on a port of each host, and answers each so many requests with an error; 0 for
    /// none.
    pub(crate) fn shop(&self, port: u16, version: u32, errs_each: u32) -> Bundle {
        let program = program().display().to_string();
        let api = self.client().get("api").trim_start_matches("http://").to_owned();
        let at = format!("$HOST_ADDRESS:{port}");
        let start = format!(
            "'{program}' shop --listen \"{at}\" --version {version} --errs-each {errs_each} --home {api} </dev/null >/dev/null 2>&1 &\n\
             echo $! >\"$HOST_ROOT/srv/shop.pid\""
        );
        let stop =
            "pid=$(cat \"$HOST_ROOT/srv/shop.pid\" 2>/dev/null) || exit 0\nkill \"$pid\" || true";
        Bundle::new(&format!("version {version}"))
            .hook("ApplicationStop", stop)
            .hook("ApplicationStart", &start)
    }

    /// Subscribes the group to what is put under `shop/`.
    #[track_caller]
    pub(crate) fn subscribe(&self) {
        self.call("Cutover_v1.Subscribe", json!({ "applicationName": "shop", "deploymentGroupName": "web", "bucket": "revisions", "prefix": "shop/" }));
    }

    /// What the group does.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.call(
            "Cutover_v1.GetGroupStatus",
            json!({ "applicationName": "shop", "deploymentGroupName": "web" }),
        )
    }

    /// What is known of the newest upload of a key, once that is decided; `before` is how many there were.
    #[track_caller]
    pub(crate) fn upload_of(&self, key: &str) -> Value {
        wait_for(&format!("the upload of {key}"), || {
            let uploads = self.status()["uploads"].as_array().cloned().unwrap_or_default();
            uploads.into_iter().find(|upload| upload["key"] == key)
        })
    }

    /// Puts a bundle under a new key, and waits for the deployment that this starts.
    #[track_caller]
    pub(crate) fn deploy(&self, key: &str, bytes: &[u8]) -> String {
        self.client().put(key, bytes);
        let upload = self.upload_of(key);
        let id = upload["deploymentId"].as_str();
        id.unwrap_or_else(|| panic!("no deployment: {upload}")).to_owned()
    }

    /// What is known of a deployment.
    #[track_caller]
    pub(crate) fn deployment(&self, id: &str) -> Value {
        self.call("GetDeployment", json!({ "deploymentId": id }))["deploymentInfo"].clone()
    }

    /// Waits until a deployment has ended.
    #[track_caller]
    pub(crate) fn ended(&self, id: &str) -> Value {
        wait_for(&format!("the end of {id}"), || {
            let info = self.deployment(id);
            let is_over = ["Succeeded", "Failed", "Stopped"].iter().any(|s| info["status"] == *s);
            is_over.then_some(info)
        })
    }

    /// Waits until a deployment has succeeded.
    #[track_caller]
    pub(crate) fn succeeded(&self, id: &str) -> Value {
        let info = self.ended(id);
        assert_eq!(info["status"], "Succeeded", "{info:#}");
        info
    }

    /// The ids of all deployments, the newest first.
    #[track_caller]
    pub(crate) fn deployments(&self) -> Vec<String> {
        let listed = self.call(
            "ListDeployments",
            json!({ "applicationName": "shop", "deploymentGroupName": "web" }),
        );
        let ids = listed["deployments"].as_array().unwrap().iter();
        ids.map(|id| id.as_str().unwrap().to_owned()).collect()
    }

    /// What is known of a host in a deployment.
    #[track_caller]
    pub(crate) fn target(&self, id: &str, host: u8) -> Value {
        let request = json!({ "deploymentId": id, "targetId": format!("host-{host}") });
        self.call("GetDeploymentTarget", request)["deploymentTarget"]["instanceTarget"].clone()
    }

    /// What is known of an event of a host in a deployment.
    #[track_caller]
    pub(crate) fn event(&self, id: &str, host: u8, event: &str) -> Value {
        let target = self.target(id, host);
        let events = target["lifecycleEvents"].as_array().cloned().unwrap_or_default();
        let found = events.into_iter().find(|known| known["lifecycleEventName"] == event);
        found.unwrap_or_else(|| panic!("no {event}: {target:#}"))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(log) = fs::read_to_string(self.log())
        {
            eprintln!("`up` said:\n{log}");
        }
        if let Some(mut up) = self.up.take() {
            drop(up.kill());
            drop(up.wait());
        }
        process::kill_all_naming(self.place.path());
    }
}
