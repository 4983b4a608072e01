//! `proxy`: who is let in, what is passed on, and how a command runs behind it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use expect_test::expect;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::cloud::Cloud;

const TARGET: &str = "CodeDeploy_20141006.ListApplications";

/// A proxy that runs, and is killed when the test is over.
struct Proxy {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Proxy {
    fn start(command: &mut Command) -> Self {
        // In a process group of its own, as no terminal's.
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// The next line that it says.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// How it ends, and what it had to say until then.
    fn end(mut self) -> (i32, String) {
        drop(self.child.stdin.take());
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut said = String::new();
        self.stdout.read_to_string(&mut said).unwrap();
        (status.code().unwrap(), said)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The variables that a proxy for signatures prints.
struct Printed(Value);

impl Printed {
    fn of(proxy: &mut Proxy) -> Self {
        Self(serde_json::from_str(&proxy.line()).unwrap())
    }

    fn get(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap()
    }

    fn authority(&self) -> &str {
        self.get("AWS_ENDPOINT_URL_CODEDEPLOY").strip_prefix("http://").unwrap()
    }

    /// A call that is signed as AWS's clients do it.
    fn signed(&self) -> Request {
        let (id, secret) = (self.get("AWS_ACCESS_KEY_ID"), self.get("AWS_SECRET_ACCESS_KEY"));
        Request::new(self.authority()).signed_by(id, secret, "codedeploy", SystemTime::now())
    }
}

/// A request, written by hand so that it can be as wrong as it likes.
#[derive(Clone)]
struct Request {
    authority: String,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Request {
    fn new(authority: &str) -> Self {
        let headers = [("host", authority), ("x-amz-target", TARGET)];
        Self {
            authority: authority.to_owned(),
            method: "POST".to_owned(),
            path: "/".to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            body: "{}".to_owned(),
        }
    }

    /// A call at a URL.
    fn at(url: &str) -> Self {
        let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        Self { path: format!("/{path}"), ..Self::new(authority) }
    }

    fn signed_by(mut self, id: &str, secret: &str, service: &str, at: SystemTime) -> Self {
        let identity = Credentials::new(id, secret, None, None, "test").into();
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region("eu-central-1")
            .name(service)
            .time(at)
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let url = format!("http://{}{}", self.authority, self.path);
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let body = SignableBody::Bytes(self.body.as_bytes());
        let signable = SignableRequest::new(&self.method, &url, headers, body).unwrap();
        let (instructions, _) = sign(signable, &parameters).unwrap().into_parts();
        for (name, value) in instructions.headers() {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The status, the headers and the body of the answer.
    fn send(&self) -> (u16, String, Value) {
        let mut stream = TcpStream::connect(&self.authority).unwrap();
        let mut head = format!("{} {} HTTP/1.1\r\nconnection: close\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", self.body.len()));
        // The answer may come before all is written.
        drop(stream.write_all((head + &self.body).as_bytes()));
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), serde_json::from_str(body).unwrap_or_default())
    }

    /// The name of the exception that the request is refused with.
    #[track_caller]
    fn refused(&self) -> String {
        let (status, _, body) = self.send();
        assert_eq!(status, 403, "{body}");
        assert!(body["message"].as_str().unwrap().contains("`cutover proxy"), "{body}");
        body["__type"].as_str().unwrap().to_owned()
    }
}

#[test]
fn who_signs_with_the_keys_of_the_run_is_passed_on_and_answered_as_the_cloud_answers() {
    let cloud = Cloud::connected();
    let mut proxy = Proxy::start(&mut cloud.command(&["proxy", "--format", "json"]));
    let printed = Printed::of(&mut proxy);
    assert_eq!(printed.get("AWS_REGION"), "eu-central-1");
    cloud.answers("ListApplications", 200, &json!({ "applications": ["shop"] }));
    let (status, head, body) = printed.signed().send();
    assert_eq!((status, body), (200, json!({ "applications": ["shop"] })));
    assert!(head.contains("apigw-requestid: its-id="), "{head}");
    let refusal = json!({ "__type": "InvalidNextTokenException", "message": "no" });
    cloud.answers("ListApplications", 400, &refusal);
    let (status, _, body) = printed.signed().send();
    assert_eq!((status, body), (400, refusal));
    cloud.answers("ListApplications", 403, &json!({ "message": "Forbidden" }));
    let (status, _, body) = printed.signed().send();
    assert_eq!((status, body), (403, json!({ "message": "Forbidden" })));
    let calls = cloud.calls();
    assert!(calls.iter().all(|call| call.access_key_id == "AKIDUSER"), "{calls:?}");
    assert_eq!(calls.len(), 3);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.end().0, 0);
}

#[test]
fn who_was_not_told_the_keys_is_refused_and_nothing_is_passed_on() {
    let cloud = Cloud::connected();
    let mut proxy = Proxy::start(&mut cloud.command(&["proxy", "--format", "json"]));
    let printed = Printed::of(&mut proxy);
    let now = SystemTime::now();
    let hour = Duration::from_secs(3600);
    let (id, secret) = (printed.get("AWS_ACCESS_KEY_ID"), printed.get("AWS_SECRET_ACCESS_KEY"));
    let unsigned = Request::new(printed.authority());
    let by = |id, secret, service, at| unsigned.clone().signed_by(id, secret, service, at);
    let good = printed.signed();
    for (request, name) in [
        (unsigned.clone(), "MissingAuthenticationToken"),
        (by("AKIDUSER", "the-secret", "codedeploy", now), "UnrecognizedClientException"),
        (by(id, "another", "codedeploy", now), "InvalidSignatureException"),
        (by(id, secret, "execute-api", now), "InvalidSignatureException"),
        (by(id, secret, "codedeploy", now - hour), "RequestExpired"),
        (by(id, secret, "codedeploy", now + hour), "RequestExpired"),
        // Changed after they were signed.
        (
            Request { body: "{\"nextToken\":\"1\"}".to_owned(), ..good.clone() },
            "InvalidSignatureException",
        ),
        (
            good.clone().with("x-amz-target", "CodeDeploy_20141006.DeleteApplication"),
            "InvalidSignatureException",
        ),
        (Request { method: "GET".to_owned(), ..good.clone() }, "InvalidSignatureException"),
        (Request { path: "/?a=1".to_owned(), ..good.clone() }, "InvalidSignatureException"),
        (Request { path: "/x".to_owned(), ..good.clone() }, "AccessDeniedException"),
    ] {
        assert_eq!(request.refused(), name, "{} {:?}", request.path, request.headers);
    }
    // A name of its own that leads here, as a page in a browser can have one.
    let mut rebound = unsigned.with("host", "evil.example");
    rebound = rebound.signed_by(id, secret, "codedeploy", now);
    assert_eq!(rebound.refused(), "AccessDeniedException");
    assert!(cloud.calls().is_empty());
    assert_eq!(good.send().0, 200, "the others were refused for what was wrong with them");
}

#[test]
fn a_command_is_let_in_by_its_path_only() {
    let cloud = Cloud::connected();
    let mut command =
        cloud.command(&["proxy", "--", "sh", "-c", "echo $AWS_ENDPOINT_URL_CODEDEPLOY; cat"]);
    let mut proxy = Proxy::start(&mut command);
    let url = proxy.line();
    let good = Request::at(&url);
    assert_eq!(good.path.len(), 66);
    assert_eq!(good.send().0, 200);
    let signed = good.clone().signed_by("AKIDUSER", "the-secret", "codedeploy", SystemTime::now());
    assert_eq!(signed.send().0, 200, "whatever it is signed with");
    assert_eq!(cloud.calls().len(), 2);
    let other = good.path.chars().map(|c| if c == '/' { c } else { 'a' }).collect::<String>();
    let longer = format!("{}x", good.path);
    for path in ["/", "/codedeploy/ListApplications", &other, &good.path[..64], &longer] {
        let refused = Request { path: path.to_owned(), ..good.clone() };
        assert_eq!(refused.refused(), "AccessDeniedException", "{path}");
    }
    let without_slash = good.path[..65].to_owned();
    assert_eq!(Request { path: without_slash, ..good.clone() }.send().0, 200);
    assert_eq!(good.clone().with("host", "evil.example").refused(), "AccessDeniedException");
    let port = good.authority.split_once(':').unwrap().1.to_owned();
    assert_eq!(good.clone().with("host", &format!("localhost:{port}")).send().0, 200);
    assert_eq!(proxy.end(), (0, String::new()));
    assert!(TcpStream::connect(&good.authority).is_err(), "the proxy ends with its command");
}

#[test]
fn what_is_no_call_of_an_operation_is_not_passed_on() {
    let cloud = Cloud::connected();
    let mut command =
        cloud.command(&["proxy", "--", "sh", "-c", "echo $AWS_ENDPOINT_URL_CODEDEPLOY; cat"]);
    let mut proxy = Proxy::start(&mut command);
    let good = Request::at(&proxy.line());
    for (request, name) in [
        (good.clone().with("x-amz-target", "DynamoDB_20120810.Scan"), "UnknownOperationException"),
        (
            good.clone().with("x-amz-target", "CodeDeploy_20141006.a/../b"),
            "UnknownOperationException",
        ),
        (Request { method: "GET".to_owned(), ..good.clone() }, "UnknownOperationException"),
        (Request { body: " ".repeat(1024 * 1024 + 1), ..good.clone() }, "SerializationException"),
    ] {
        let (status, _, body) = request.send();
        assert_eq!((status, &body["__type"]), (400, &json!(name)));
    }
    assert!(cloud.calls().is_empty());
    let largest = format!("{{\"nextToken\":\"{}\"}}", "x".repeat(1024 * 1024 - 16));
    assert_eq!(largest.len(), 1024 * 1024);
    assert_eq!(Request { body: largest, ..good }.send().0, 200);
}

#[test]
fn a_command_has_the_users_environment_and_the_proxy_ends_as_it_does() {
    let cloud = Cloud::connected();
    let show = "echo $AWS_ACCESS_KEY_ID $AWS_REGION $AWS_DEFAULT_REGION ${AWS_IGNORE_CONFIGURED_ENDPOINT_URLS-unset} $NO_PROXY $AWS_ENDPOINT_URL $AWS_ENDPOINT_URL_DYNAMODB";
    let mut command = cloud.command(&["proxy", "--", "sh", "-c", show]);
    command.env_remove("AWS_REGION").env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
    command.env("HTTP_PROXY", "http://127.0.0.1:1").env("NO_PROXY", "internal");
    // Whoever has endpoints of their own means them.
    command.env("AWS_ENDPOINT_URL", "http://all").env("AWS_ENDPOINT_URL_DYNAMODB", "http://table");
    let told = cloud.see(&mut command);
    assert_eq!(
        told,
        "AKIDUSER eu-central-1 eu-central-1 unset internal,127.0.0.1 http://all http://table\nexit 0\n"
    );
    let ended = |arguments: &[&str]| {
        cloud
            .command(&[&["proxy", "--"], arguments].concat())
            .output()
            .unwrap()
            .status
            .code()
            .unwrap()
    };
    assert_eq!(ended(&["sh", "-c", "exit 7"]), 7);
    assert_eq!(ended(&["sh", "-c", "kill -9 $$"]), 137);
    assert_eq!(ended(&["there-is-no-such-program"]), 127);
    assert_eq!(ended(&["/"]), 126);
}

#[test]
fn signals_are_handed_on_and_the_command_decides() {
    let cloud = Cloud::connected();
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::HUP, "HUP")] {
        let script = format!(
            "trap 'echo got {name}; exit 5' {name}; echo ready; while :; do sleep 0.02; done"
        );
        let mut proxy = Proxy::start(&mut cloud.command(&["proxy", "--", "sh", "-c", &script]));
        assert_eq!(proxy.line(), "ready");
        proxy.signal(signal);
        assert_eq!(proxy.end(), (5, format!("got {name}\n")));
    }
}

#[test]
fn a_proxy_that_cannot_work_says_so_at_once() {
    let cloud = Cloud::connected();
    let home = cloud.home().join("home");
    fs::create_dir(&home).unwrap();
    let endpoints = json!({
        "api": "http://127.0.0.1:1", "s3": "", "region": "us-east-1",
        "access_key_id": "K", "secret_access_key": "S", "bucket": "revisions",
    });
    fs::write(home.join("endpoints.json"), endpoints.to_string()).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let told = [
        cloud.run(&["--dir", "home", "proxy", "--", "true"]),
        cloud.see(&mut cloud.command_without_keys(&["proxy", "--", "true"])),
        cloud.run(&["proxy", "--port", &port]).replace(&port, "[PORT]"),
    ];
    expect![[r#"
        2> error: this Cutover is none in the cloud, and needs no proxy
        2>
        2> hint: `cutover env -- CMD` runs a command with a home's keys; `cutover connect STACK` connects to the cloud
        exit 2

        2> error: no AWS credentials are found
        2>
        2> hint: `aws configure` or `aws configure sso` sets them up; AWS_PROFILE chooses between several
        exit 2

        2> error: port [PORT] cannot be listened on: Address already in use (os error 98)
        2>
        2> hint: end what uses it, or choose another one with --port
        exit 2
    "#]].assert_eq(&told.join("\n"));
}

#[test]
fn without_a_command_there_are_lines_for_a_shell() {
    let cloud = Cloud::connected();
    let mut proxy = Proxy::start(&mut cloud.command(&["proxy"]));
    let mut lines: Vec<_> = (0..6).map(|_| proxy.line()).collect();
    proxy.signal(Signal::INT);
    assert_eq!(proxy.end(), (0, String::new()));
    for (line, name) in
        [(1, "AWS_ENDPOINT_URL_CODEDEPLOY"), (4, "AWS_ACCESS_KEY_ID"), (5, "AWS_SECRET_ACCESS_KEY")]
    {
        let shown = lines[line].strip_prefix(&format!("export {name}='")).unwrap();
        assert!(shown.len() > 20 && shown.ends_with('\''), "{shown}");
        lines[line] = format!("export {name}='[..]'");
    }
    expect![[r#"
        unset AWS_PROFILE AWS_DEFAULT_PROFILE AWS_SESSION_TOKEN AWS_SECURITY_TOKEN AWS_IGNORE_CONFIGURED_ENDPOINT_URLS AWS_ROLE_ARN AWS_WEB_IDENTITY_TOKEN_FILE AWS_CONTAINER_CREDENTIALS_RELATIVE_URI AWS_CONTAINER_CREDENTIALS_FULL_URI
        export AWS_ENDPOINT_URL_CODEDEPLOY='[..]'
        export AWS_REGION='eu-central-1'
        export AWS_DEFAULT_REGION='eu-central-1'
        export AWS_ACCESS_KEY_ID='[..]'
        export AWS_SECRET_ACCESS_KEY='[..]'
    "#]].assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn keys_that_expire_are_renewed_while_the_proxy_runs() {
    let cloud = Cloud::connected();
    let aws = cloud.home().join(".aws");
    fs::create_dir(&aws).unwrap();
    // Each time it is asked, the program has new keys, which are good for two seconds.
    let program = cloud.home().join("keys.sh");
    let script = "n=$(cat count 2>/dev/null || echo 0); echo $((n + 1)) >count\n\
                  until=$(date -u -d '+2 seconds' +%Y-%m-%dT%H:%M:%SZ)\n\
                  echo \"{\\\"Version\\\": 1, \\\"AccessKeyId\\\": \\\"AKID$n\\\", \\\"SecretAccessKey\\\": \\\"s$n\\\", \
                  \\\"SessionToken\\\": \\\"t\\\", \\\"Expiration\\\": \\\"$until\\\"}\"\n";
    fs::write(&program, script).unwrap();
    let config = format!("[default]\ncredential_process = /bin/sh {}\n", program.display());
    fs::write(aws.join("config"), config).unwrap();
    for n in 0..5 {
        cloud.know(&format!("AKID{n}"), &format!("s{n}"));
    }
    let mut command = cloud.command_without_keys(&[
        "proxy",
        "--",
        "sh",
        "-c",
        "echo $AWS_ENDPOINT_URL_CODEDEPLOY; cat",
    ]);
    let mut proxy = Proxy::start(&mut command);
    let call = Request::at(&proxy.line());
    assert_eq!(call.send().0, 200);
    std::thread::sleep(Duration::from_millis(2_100));
    assert_eq!(call.send().0, 200);
    let calls = cloud.calls();
    assert_ne!(calls[0].access_key_id, calls[1].access_key_id);
    assert_eq!(calls[1].token.as_deref(), Some("t"));
    // What cannot be renewed is told to the client, with what to do.
    fs::write(&program, "exit 1").unwrap();
    std::thread::sleep(Duration::from_millis(2_100));
    let (status, _, body) = call.send();
    assert_eq!((status, &body["__type"]), (403, &json!("AccessDeniedException")));
    assert!(body["message"].as_str().unwrap().contains("renew them"), "{body}");
}

#[test]
fn a_cloud_that_does_not_answer_is_one_to_try_again() {
    let cloud = Cloud::connected();
    let file = cloud.home().join(".cutover/cloud.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(&cloud.url, "http://127.0.0.1:1")).unwrap();
    let mut proxy = Proxy::start(&mut cloud.command(&["proxy", "--format", "json"]));
    let (status, _, body) = Printed::of(&mut proxy).signed().send();
    assert_eq!((status, &body["__type"]), (503, &json!("ServiceUnavailable")));
}
