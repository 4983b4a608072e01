//! A cloud in front of a home: CloudFormation, which knows one stack, and a gateway that checks signatures for itself as
//! API Gateway does, and hands calls on to the home's API.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serve::sigv4::{self, Keys};
use tempfile::TempDir;

use super::client::{Client, http_client};
use super::home::{Home, program};

/// The region of the stack.
pub(crate) const REGION: &str = "eu-central-1";

/// What the gateway works with.
struct Gateway {
    http: reqwest::Client,
    home: Client,
    /// The operations that were called.
    called: Mutex<Vec<String>>,
}

/// A cloud that runs until it is dropped, and a folder of a user whose keys are those of the home, since its bucket is
/// the cloud's.
pub(crate) struct Cloud {
    place: TempDir,
    url: String,
    home: Client,
    gateway: Arc<Gateway>,
    _runtime: tokio::runtime::Runtime,
}

impl Cloud {
    /// A cloud in front of `home`, which the user's folder is connected to.
    #[track_caller]
    pub(crate) fn connected(home: &Home) -> Self {
        let home = home.client().clone();
        let http = http_client().unwrap();
        let gateway = Arc::new(Gateway { http, home: home.clone(), called: Mutex::default() });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state((gateway.clone(), url.clone()));
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let place = tempfile::tempdir().unwrap();
        let cloud = Self { place, url, home, gateway, _runtime: runtime };
        cloud.succeeds(&mut cloud.cutover(&["connect", "shop"]));
        cloud
    }

    /// The user's folder.
    #[cfg(feature = "tools")]
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.place.path()
    }

    /// The operations that were called so far.
    pub(crate) fn called(&self) -> Vec<String> {
        self.gateway.called.lock().unwrap().clone()
    }

    /// The command line as the user runs it.
    pub(crate) fn cutover(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        self.set_up(&mut command);
        command.args(args);
        command
    }

    /// Gives a program the user's environment, in which nothing of the tester's own leads elsewhere.
    pub(crate) fn set_up(&self, command: &mut Command) {
        command.current_dir(self.place.path()).stdin(Stdio::null());
        command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_PAGER", "");
        command.env("AWS_REGION", REGION).env("AWS_DEFAULT_REGION", REGION);
        command.env("AWS_ACCESS_KEY_ID", self.home.get("access_key_id"));
        command.env("AWS_SECRET_ACCESS_KEY", self.home.get("secret_access_key"));
        command.env("AWS_ENDPOINT_URL_CLOUDFORMATION", &self.url);
        command.env("AWS_ENDPOINT_URL_S3", self.home.get("s3"));
        for name in ["AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_CODEDEPLOY"] {
            command.env_remove(name);
        }
    }

    /// Runs a command that succeeds, and returns what it printed.
    #[track_caller]
    pub(crate) fn succeeds(&self, command: &mut Command) -> String {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that fails, and returns what it said about that.
    #[cfg(feature = "tools")]
    #[track_caller]
    pub(crate) fn fails(&self, command: &mut Command) -> String {
        let output = command.output().unwrap();
        assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }
}

async fn answer(
    State((gateway, url)): State<(Arc<Gateway>, String)>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 2 << 20).await.unwrap();
    if parts.uri.path() == "/" {
        return Response::new(Body::from(stack(&url, gateway.home.get("bucket"))));
    }
    let Some(operation) = parts.uri.path().strip_prefix("/codedeploy/") else {
        return said(StatusCode::NOT_FOUND, "{\"message\":\"Not Found\"}");
    };
    let keys = Keys {
        access_key_id: gateway.home.get("access_key_id").to_owned(),
        secret_access_key: gateway.home.get("secret_access_key").to_owned(),
    };
    let signed = sigv4::verify(&parts, &body, &keys, "execute-api", SystemTime::now());
    if signed.is_ok_and(|identity| identity.region == REGION) {
        gateway.called.lock().unwrap().push(operation.to_owned());
        let target = parts.headers["x-amz-target"].to_str().unwrap();
        let request = gateway.home.passed_on(target, body.to_vec());
        let answer = gateway.http.execute(request).await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut response = Response::new(Body::from(answer.bytes().await.unwrap()));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        return response;
    }
    said(StatusCode::FORBIDDEN, "{\"message\":\"Forbidden\"}")
}

fn said(status: StatusCode, text: &str) -> Response {
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() = status;
    response
}

/// What CloudFormation says of the stack.
fn stack(api: &str, bucket: &str) -> String {
    let output = |key: &str, value: &str| {
        format!("<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>")
    };
    format!(
        "<DescribeStacksResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><DescribeStacksResult>\
         <Stacks><member><StackName>shop</StackName><CreationTime>2026-11-23T09:00:00Z</CreationTime>\
         <StackStatus>CREATE_COMPLETE</StackStatus><Outputs>{}{}</Outputs></member></Stacks></DescribeStacksResult>\
         <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></DescribeStacksResponse>",
        output("ApiUrl", api),
        output("RevisionsBucket", bucket),
    )
}
