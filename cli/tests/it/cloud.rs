//! A cloud that answers by a script: CloudFormation, an API Gateway that checks signatures as AWS does, and S3.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use serve::sigv4::{self, Keys};
use sha2::Digest as _;

use crate::service::{program, transcript};

pub(crate) const REGION: &str = "eu-central-1";

/// A call that came through the gateway.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) operation: String,
    pub(crate) body: Value,
    pub(crate) access_key_id: String,
    pub(crate) token: Option<String>,
}

/// What is answered, and what was asked.
#[derive(Default)]
struct Script {
    /// What CloudFormation says.
    stack: (u16, String),
    /// The secrets of the access keys that AWS knows.
    secrets: BTreeMap<String, String>,
    /// The answer to each operation; `{}` to those without.
    answers: BTreeMap<String, (u16, String)>,
    calls: Vec<Call>,
    put: Vec<(String, Bytes)>,
}

/// A cloud that runs until it is dropped, and a user with a home directory who works in a folder.
pub(crate) struct Cloud {
    place: tempfile::TempDir,
    pub(crate) url: String,
    script: Arc<Mutex<Script>>,
    _runtime: tokio::runtime::Runtime,
}

impl Cloud {
    /// A cloud with a stack, and a user whose key `AKIDUSER` stands in the environment.
    pub(crate) fn new() -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(script.clone());
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let cloud = Self { place: tempfile::tempdir().unwrap(), url, script, _runtime: runtime };
        cloud.know("AKIDUSER", "the-secret");
        cloud.has_stack(
            "CREATE_COMPLETE",
            &[("ApiUrl", &cloud.url), ("RevisionsBucket", "shop-revisions")],
        );
        cloud
    }

    /// A cloud that the folder is connected to.
    pub(crate) fn connected() -> Self {
        let cloud = Self::new();
        let told = cloud.run(&["connect", "shop"]);
        assert!(told.ends_with("exit 0\n"), "{told}");
        cloud
    }

    pub(crate) fn know(&self, id: &str, secret: &str) {
        self.script.lock().unwrap().secrets.insert(id.to_owned(), secret.to_owned());
    }

    pub(crate) fn has_stack(&self, status: &str, outputs: &[(&str, &str)]) {
        let outputs: String = outputs
            .iter()
            .map(|(key, value)| {
                format!("<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>")
            })
            .collect();
        let text = format!(
            "<DescribeStacksResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><DescribeStacksResult>\
             <Stacks><member><StackName>shop</StackName><CreationTime>2026-11-23T09:00:00Z</CreationTime>\
             <StackStatus>{status}</StackStatus><Outputs>{outputs}</Outputs></member></Stacks></DescribeStacksResult>\
             <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></DescribeStacksResponse>"
        );
        self.script.lock().unwrap().stack = (200, text);
    }

    pub(crate) fn refuses_stack(&self, status: u16, code: &str, message: &str) {
        let text = format!(
            "<ErrorResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><Error><Type>Sender</Type>\
             <Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
        );
        self.script.lock().unwrap().stack = (status, text);
    }

    pub(crate) fn answers(&self, operation: &str, status: u16, body: &Value) {
        let answer = (status, body.to_string());
        self.script.lock().unwrap().answers.insert(operation.to_owned(), answer);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.script.lock().unwrap().calls.clone()
    }

    /// The paths and bodies that were put into S3.
    pub(crate) fn put(&self) -> Vec<(String, Bytes)> {
        self.script.lock().unwrap().put.clone()
    }

    /// The user's home directory, in which the user also works.
    pub(crate) fn home(&self) -> &Path {
        self.place.path()
    }

    /// The program as the user runs it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command_without_keys(arguments);
        command.env("AWS_ACCESS_KEY_ID", "AKIDUSER").env("AWS_SECRET_ACCESS_KEY", "the-secret");
        command
    }

    /// The program as it runs for who has no keys in the environment.
    pub(crate) fn command_without_keys(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.home());
        command.env("AWS_REGION", REGION).env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_ENDPOINT_URL_CLOUDFORMATION", &self.url);
        command.env("AWS_ENDPOINT_URL_S3", &self.url);
        command.args(arguments).current_dir(self.home());
        command
    }

    /// Runs the program, and returns what there is to see of it.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        self.see(&mut self.command(arguments))
    }

    /// Runs a command, and returns what there is to see of it.
    pub(crate) fn see(&self, command: &mut Command) -> String {
        let output = command.output().unwrap();
        let home = self.home().to_str().unwrap();
        transcript(&output).replace(&self.url, "[CLOUD]").replace(home, "[HOME]")
    }
}

async fn answer(State(script): State<Arc<Mutex<Script>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 2 << 20).await.unwrap();
    let mut script = script.lock().unwrap();
    let path = parts.uri.path().to_owned();
    let respond = |(status, text): (u16, String)| {
        (StatusCode::from_u16(status).unwrap(), [("apigw-requestid", "its-id=")], text)
            .into_response()
    };
    if parts.method == Method::GET && path == "/cutover/v1/health" {
        return respond((200, json!({ "version": "9.8.7" }).to_string()));
    }
    let service = match parts.method {
        Method::PUT => "s3",
        _ if path == "/" => "cloudformation",
        _ => "execute-api",
    };
    let Some(access_key_id) = signer(&script, &parts, &body, service) else {
        return respond((403, json!({ "message": "Forbidden" }).to_string()));
    };
    if service == "s3" {
        script.put.push((path, body));
        let stored =
            [("etag", "\"0cc175b9c0f1b6a831c399e269772661\""), ("x-amz-version-id", "v-1")];
        return stored.into_response();
    }
    if service == "cloudformation" {
        let asked = String::from_utf8(body.to_vec()).unwrap();
        assert!(
            asked.contains("Action=DescribeStacks") && asked.contains("StackName=shop"),
            "{asked}"
        );
        return respond(script.stack.clone());
    }
    let operation = path.strip_prefix("/codedeploy/").unwrap().to_owned();
    let target = parts.headers["x-amz-target"].to_str().unwrap();
    assert_eq!(target.split_once('.').unwrap().1, operation);
    let token = parts.headers.get("x-amz-security-token");
    script.calls.push(Call {
        operation: operation.clone(),
        body: serde_json::from_slice(&body).unwrap(),
        access_key_id,
        token: token.map(|token| token.to_str().unwrap().to_owned()),
    });
    let answer = script.answers.get(&operation).cloned();
    respond(answer.unwrap_or_else(|| (200, "{}".to_owned())))
}

/// Whose key signed the request for `service` in the stack's region.
fn signer(script: &Script, parts: &Parts, body: &[u8], service: &str) -> Option<String> {
    let header = parts.headers.get("authorization")?.to_str().unwrap();
    let id = header.split_once("Credential=")?.1.split_once('/')?.0.to_owned();
    let secret_access_key = script.secrets.get(&id)?.clone();
    if service == "s3" {
        // S3 has a canonical form of its own, which only a home's S3 checks; here it is the scope and the digest.
        let scope = format!("/{REGION}/s3/aws4_request");
        let digest = hex::encode(sha2::Sha256::digest(body));
        return (header.contains(&scope)
            && parts.headers["x-amz-content-sha256"] == digest.as_str())
        .then_some(id);
    }
    let keys = Keys { access_key_id: id.clone(), secret_access_key };
    let identity = sigv4::verify(parts, body, &keys, service, SystemTime::now()).ok()?;
    let signs_token = header.contains("x-amz-security-token");
    assert_eq!(signs_token, parts.headers.contains_key("x-amz-security-token"));
    (identity.region == REGION).then_some(id)
}
