//! The emulated cloud, and the stack in it, as tests use them.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use functions::permissions::Function;
use serde_json::{Value, json};

/// How long a test waits for something that will come; generous, for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The cloud that runs.
pub(crate) struct Cloud {
    told: Value,
}

/// A call that was refused.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The HTTP status.
    pub(crate) status: u16,
    /// What was answered.
    pub(crate) body: String,
}

impl Cloud {
    /// The cloud that `cargo xtask` has started for this run.
    pub(crate) fn get() -> Self {
        let file = std::env::var_os("CUTOVER_TEST_CLOUD").expect(
            "CUTOVER_TEST_CLOUD is not set: `cargo xtask cloud` starts a cloud for these tests",
        );
        Self { told: serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap() }
    }

    /// What `cargo xtask` told of it.
    pub(crate) fn get_text(&self, pointer: &str) -> &str {
        let found = self.told.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_else(|| panic!("there is no `{pointer}` in {:#}", self.told))
    }

    /// An output of the stack.
    pub(crate) fn output(&self, name: &str) -> &str {
        self.get_text(&format!("/outputs/{name}"))
    }

    /// The physical id of a resource of the stack.
    pub(crate) fn resource(&self, name: &str) -> &str {
        self.get_text(&format!("/resources/{name}"))
    }

    /// A directory for what a test leaves behind.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        let path = Path::new(self.get_text("/scratch")).join("tests").join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Lets a command be run by somebody: `root`, `admin`, `deployer`, `reader` or `stranger`.
    pub(crate) fn set_up(&self, command: &mut Command, who: &str) {
        command
            .env("AWS_ENDPOINT_URL", self.get_text("/endpoint"))
            .env("AWS_CA_BUNDLE", self.get_text("/authority"))
            .env("SSL_CERT_FILE", self.get_text("/authority"))
            .env("AWS_REGION", self.get_text("/region"))
            .env("AWS_DEFAULT_REGION", self.get_text("/region"))
            .env("AWS_ACCESS_KEY_ID", self.get_text(&format!("/users/{who}/id")))
            .env("AWS_SECRET_ACCESS_KEY", self.get_text(&format!("/users/{who}/secret")))
            // Nothing of the user's own leads it elsewhere.
            .env_remove("AWS_SESSION_TOKEN")
            .env_remove("AWS_PROFILE")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_PAGER", "")
            .env("NO_PROXY", "*");
    }

    /// A tool of AWS's.
    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        Path::new(self.get_text("/tools")).join(name)
    }

    fn cli(&self, who: &str, args: &[&str]) -> Output {
        let mut command = Command::new(self.tool("aws"));
        self.set_up(&mut command, who);
        command.args(args).args(["--output", "json"]).output().unwrap()
    }

    /// Runs the AWS CLI with all rights.
    #[track_caller]
    pub(crate) fn aws(&self, args: &[&str]) -> Value {
        answer(args, &self.cli("root", args))
    }

    /// Uploads a bundle, with the AWS CLI and no more rights than that takes.
    #[track_caller]
    pub(crate) fn upload(&self, key: &str, bytes: &[u8]) {
        let file = self.scratch("uploads").join(key.replace('/', "-"));
        std::fs::write(&file, bytes).unwrap();
        let to = format!("s3://{}/{key}", self.output("RevisionsBucket"));
        let args = ["s3", "cp", "--no-progress", file.to_str().unwrap(), &to];
        let done = self.cli("deployer", &args);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Calls an operation of CodeDeploy's, or one of Cutover's own (`Cutover_v1.…`), as somebody.
    pub(crate) fn try_call(
        &self,
        who: &str,
        operation: &str,
        request: &Value,
    ) -> Result<Value, Refused> {
        let name = operation.rsplit('.').next().unwrap();
        let target = if operation.contains('.') {
            operation.to_owned()
        } else {
            format!("CodeDeploy_20141006.{operation}")
        };
        let url = format!("{}/codedeploy/{name}", self.output("ApiUrl"));
        let (status, body) = self.signed(who, "execute-api", &url, &target, request);
        match status {
            200 if body.is_empty() => Ok(Value::Null),
            200 => Ok(serde_json::from_str(&body).unwrap()),
            _ => Err(Refused { status, body }),
        }
    }

    /// Sends a request of the JSON protocol, signed by somebody for a service; gives back the status and the body.
    fn signed(
        &self,
        who: &str,
        service: &str,
        url: &str,
        target: &str,
        request: &Value,
    ) -> (u16, String) {
        let user =
            ["id", "secret"].map(|part| self.get_text(&format!("/users/{who}/{part}"))).join(":");
        let service = format!("aws:amz:{}:{service}", self.get_text("/region"));
        let mut curl = self.curl();
        curl.args(["--aws-sigv4", &service, "--user", &user, "--data-binary", "@-"])
            .args(["--header", "content-type: application/x-amz-json-1.1"])
            .args(["--header", &format!("x-amz-target: {target}"), url]);
        sent(curl, request.to_string().as_bytes())
    }

    /// All calls that CloudTrail has recorded. The emulator gives the newest fifty and no next page, so that each page is
    /// asked for by the time of the oldest event of the one before; the AWS CLI would round that time.
    #[track_caller]
    pub(crate) fn recorded(&self) -> Vec<Value> {
        const TARGET: &str = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents";
        let mut all = Vec::new();
        let mut request = json!({});
        loop {
            let (status, body) =
                self.signed("root", "cloudtrail", self.get_text("/endpoint"), TARGET, &request);
            assert_eq!(status, 200, "{body}");
            let mut page: Value = serde_json::from_str(&body).unwrap();
            let Value::Array(events) = page["Events"].take() else { panic!("no events: {page}") };
            let Some(oldest) = events.last() else { return all };
            request = json!({ "EndTime": oldest["EventTime"].as_f64().unwrap() - 1e-6 });
            all.extend(events);
        }
    }

    /// Calls an operation that succeeds.
    #[track_caller]
    pub(crate) fn call(&self, operation: &str, request: Value) -> Value {
        self.try_call("admin", operation, &request)
            .unwrap_or_else(|refused| panic!("{operation} {request}: {refused:?}{}", self.said()))
    }

    /// Tells of something that happened, as EventBridge would, which the emulator does not do for services of AWS: finds
    /// the rules that the event matches, and invokes their functions with it.
    #[track_caller]
    pub(crate) fn tell(&self, source: &str, detail_type: &str, detail: &Value) {
        let event = json!({
            "version": "0",
            "id": "6f87d04b-9f74-4f04-a780-7acf4b0a9b38",
            "source": source,
            "account": self.get_text("/account"),
            "region": self.get_text("/region"),
            "time": "2026-01-01T00:00:00Z",
            "resources": [],
            "detail-type": detail_type,
            "detail": detail,
        })
        .to_string();
        let rules = self.aws(&["events", "list-rules"]);
        let rules = rules["Rules"].as_array().unwrap().iter();
        let mut told = 0;
        for rule in rules.filter(|rule| rule["EventPattern"].is_string()) {
            let pattern = rule["EventPattern"].as_str().unwrap();
            let test = ["events", "test-event-pattern", "--event-pattern", pattern, "--event"];
            if self.aws(&[&test[..], &[&event]].concat())["Result"] != true {
                continue;
            }
            let name = rule["Name"].as_str().unwrap();
            let targets = self.aws(&["events", "list-targets-by-rule", "--rule", name]);
            for target in targets["Targets"].as_array().unwrap() {
                self.invoke(target["Arn"].as_str().unwrap(), &event);
                told += 1;
            }
        }
        assert!(told > 0, "no rule of the stack matches {event}");
    }

    #[track_caller]
    fn invoke(&self, function: &str, event: &str) {
        let answer = self.scratch("answers").join(format!("{}.json", function.replace(':', "-")));
        let invoked = self.aws(&[
            "lambda",
            "invoke",
            "--function-name",
            function,
            "--payload",
            event,
            answer.to_str().unwrap(),
        ]);
        let said = std::fs::read_to_string(&answer).unwrap();
        assert!(invoked["FunctionError"].is_null(), "{function} {event}: {said}{}", self.said());
    }

    /// Gets a path of the API that nobody has to sign for.
    pub(crate) fn get_path(&self, path: &str) -> (u16, String) {
        let mut curl = self.curl();
        curl.arg(format!("{}{path}", self.output("ApiUrl")));
        sent(curl, b"")
    }

    /// The name and the port of the API.
    pub(crate) fn api_host(&self) -> (&str, &str) {
        let authority = self.output("ApiUrl").trim_start_matches("https://");
        authority.split_once(':').unwrap_or((authority, "443"))
    }

    /// Where Docker's client finds the engine, if not where it looks anyway.
    pub(crate) fn docker_host(&self) -> Option<&str> {
        self.told["docker_host"].as_str()
    }

    /// curl, which finds the API under the very name that it has on AWS.
    fn curl(&self) -> Command {
        let mut curl = Command::new("curl");
        let (host, port) = self.api_host();
        curl.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "60"])
            .args(["--write-out", "\n%{http_code}", "--cacert", self.get_text("/authority")])
            .args(["--resolve", &format!("{host}:{port}:{}", self.get_text("/address"))]);
        curl
    }

    /// Waits until `look` finds something; `what` says what was waited for. If it does not come, the functions' last
    /// words are shown.
    #[track_caller]
    pub(crate) fn wait_for<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            let is_late = Instant::now() >= deadline;
            assert!(!is_late, "waited {} s for {what}{}", PATIENCE.as_secs(), self.said());
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// The last words of the functions.
    pub(crate) fn said(&self) -> String {
        let mut said = Vec::new();
        for function in Function::ALL {
            let group = self.resource(&format!("{}Log", function.resource()));
            let read = ["logs", "filter-log-events", "--log-group-name", group];
            let read = self.cli("root", &read);
            let events: Value = serde_json::from_slice(&read.stdout).unwrap_or_default();
            for event in events["events"].as_array().into_iter().flatten() {
                let text = event["message"].as_str().unwrap_or_default();
                // What Lambda says of each invocation, metrics, and our own questions explain nothing.
                let is_idle =
                    ["CloudWatchMetrics", "\"answered\""].iter().any(|of| text.contains(of));
                if text.starts_with('{') && !is_idle {
                    let at = event["timestamp"].as_u64().unwrap_or_default();
                    said.push((at, format!("{}: {text}", function.resource())));
                }
            }
        }
        said.sort();
        let last: Vec<_> = said.iter().map(|(_, text)| text.as_str()).rev().take(60).collect();
        let last: Vec<_> = last.into_iter().rev().collect();
        let log = self.get_text("/log");
        format!("\nThe functions said:\n{}\nThe emulator's log is {log}.", last.join("\n"))
    }

    /// Makes an application and its group, both called `name`.
    #[track_caller]
    pub(crate) fn make_group(&self, name: &str, settings: Value) {
        self.call("CreateApplication", json!({ "applicationName": name }));
        let mut request = json!({
            "applicationName": name,
            "deploymentGroupName": name,
            "serviceRoleArn": format!("arn:aws:iam::{}:role/none", self.get_text("/account")),
        });
        request.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        self.call("CreateDeploymentGroup", request);
        let subscription = json!({
            "applicationName": name,
            "deploymentGroupName": name,
            "bucket": self.output("RevisionsBucket"),
            "prefix": format!("{name}/"),
        });
        self.call("Cutover_v1.Subscribe", subscription);
    }

    /// Uploads a bundle to a group, and waits for the deployment that this starts.
    #[track_caller]
    pub(crate) fn deploy(&self, group: &str, name: &str, bytes: &[u8]) -> String {
        let key = format!("{group}/{name}");
        self.upload(&key, bytes);
        let request = json!({ "applicationName": group, "deploymentGroupName": group });
        let upload = self.wait_for(&format!("the upload of {key}"), || {
            let status = self.call("Cutover_v1.GetGroupStatus", request.clone());
            let uploads = status["uploads"].as_array().cloned().unwrap_or_default();
            uploads.into_iter().find(|upload| upload["key"] == key)
        });
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
        self.wait_for(&format!("the end of {id}"), || {
            let info = self.deployment(id);
            let is_over = ["Succeeded", "Failed", "Stopped"].iter().any(|s| info["status"] == *s);
            is_over.then_some(info)
        })
    }
}

#[track_caller]
fn answer(args: &[impl AsRef<OsStr> + std::fmt::Debug], output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "aws {args:?}: {said}");
    if output.stdout.trim_ascii().is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs curl, and gives back the status and the body.
fn sent(mut curl: Command, body: &[u8]) -> (u16, String) {
    let piped = curl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(body).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl: {said}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}
