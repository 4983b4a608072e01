//! A service that answers by a script, and the program that talks to it.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use local::dir::Endpoints;
use serde_json::{Value, json};
use serve::sigv4::{self, Keys};

const SECRET: &str = "the-secret";

/// What is answered, and what was asked.
#[derive(Default)]
struct Script {
    /// The answers to each operation in their order; the last one is given again and again.
    answers: BTreeMap<String, VecDeque<Value>>,
    asked: Vec<(String, Value)>,
    put: Vec<(String, Bytes)>,
}

/// A service that runs until it is dropped, and the directory that says where.
pub(crate) struct Service {
    dir: tempfile::TempDir,
    api: String,
    script: Arc<Mutex<Script>>,
    _runtime: tokio::runtime::Runtime,
}

impl Service {
    /// A service with these answers, by operation. One with `__type` is a refusal.
    pub(crate) fn with(answers: &[(&str, &[Value])]) -> Self {
        let answers = answers.iter().map(|(operation, answers)| {
            ((*operation).to_owned(), answers.iter().cloned().collect())
        });
        // What is watched has nothing to tell of ladders and alarms unless a test says so.
        let plain = ("GetProgress".to_owned(), [serde_json::json!({})].into());
        let answers = [plain].into_iter().chain(answers);
        let script =
            Arc::new(Mutex::new(Script { answers: answers.collect(), ..Script::default() }));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(script.clone());
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let service = Self { dir: tempfile::tempdir().unwrap(), api, script, _runtime: runtime };
        service.sign_with(SECRET);
        service
    }

    /// Lets the program use this secret.
    pub(crate) fn sign_with(&self, secret: &str) {
        let endpoints = Endpoints {
            api: self.api.clone(),
            s3: self.api.clone(),
            dynamodb: None,
            region: "us-east-1".to_owned(),
            access_key_id: "KEY".to_owned(),
            secret_access_key: secret.to_owned(),
            bucket: "revisions".to_owned(),
        };
        fs::write(self.dir.path().join("endpoints.json"), serde_json::to_vec(&endpoints).unwrap())
            .unwrap();
    }

    /// Runs the program on this service, and returns what there is to see of it.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let dir = self.dir.path().to_str().unwrap();
        let output = program().args(["--dir", dir]).args(arguments).output().unwrap();
        transcript(&output).replace(&self.api, "[API]").replace(dir, "[DIR]")
    }

    /// Runs the program on this service for its JSON, and returns its exit code with that.
    pub(crate) fn run_for_json(&self, arguments: &[&str]) -> (i32, Value) {
        let output = program()
            .arg("--dir")
            .arg(self.dir.path())
            .args(["--format", "json"])
            .args(arguments)
            .output();
        let output = output.unwrap();
        (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
    }

    /// What an operation was asked with, each time.
    pub(crate) fn asked(&self, operation: &str) -> Vec<Value> {
        let script = self.script.lock().unwrap();
        script
            .asked
            .iter()
            .filter(|(asked, _)| asked == operation)
            .map(|(_, body)| body.clone())
            .collect()
    }

    /// The paths and bodies that were put.
    pub(crate) fn put(&self) -> Vec<(String, Bytes)> {
        self.script.lock().unwrap().put.clone()
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// The program, without the environment of whoever runs the tests.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cutover"));
    command.env_clear();
    command
}

/// What a user sees, with what went to stderr marked, and the exit code.
pub(crate) fn transcript(output: &Output) -> String {
    let mut text = String::from_utf8(output.stdout.clone()).unwrap();
    for line in std::str::from_utf8(&output.stderr).unwrap().lines() {
        text.push_str(format!("2> {line}").trim_end());
        text.push('\n');
    }
    text + &format!("exit {}\n", output.status.code().unwrap())
}

async fn answer(State(script): State<Arc<Mutex<Script>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    if parts.method == Method::PUT {
        assert_eq!(parts.headers["content-length"], body.len().to_string());
        script.lock().unwrap().put.push((parts.uri.path().to_owned(), body));
        return [("etag", "\"0cc175b9c0f1b6a831c399e269772661\"")].into_response();
    }
    let keys = Keys { access_key_id: "KEY".to_owned(), secret_access_key: SECRET.to_owned() };
    if let Err(error) = sigv4::verify(&parts, &body, &keys, sigv4::SERVICE, SystemTime::now()) {
        let refusal = json!({ "__type": error.code(), "message": error.to_string() });
        return (StatusCode::FORBIDDEN, refusal.to_string()).into_response();
    }
    let target = parts.headers["x-amz-target"].to_str().unwrap();
    let operation = target.split_once('.').unwrap().1;
    let mut script = script.lock().unwrap();
    script.asked.push((operation.to_owned(), serde_json::from_slice(&body).unwrap()));
    let answers = script.answers.get_mut(operation);
    let answers = answers.unwrap_or_else(|| panic!("the script has no answer to {operation}"));
    let answer = if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() };
    let status =
        if answer.get("__type").is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    (status, answer.to_string()).into_response()
}
