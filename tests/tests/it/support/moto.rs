//! moto: a server that keeps what it is told of AWS's services, and tells it again.

use std::process::Command;
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::Builder;
use aws_types::SdkConfig;
use aws_types::region::Region;
use serde_json::Value;

use super::PATIENCE;
use super::daemon::{Daemon, free_port};
use super::tools::tool;

const REGION: &str = "eu-central-1";

/// A server of its own.
pub(crate) struct Moto {
    /// What clients are made of.
    pub(crate) config: SdkConfig,
    endpoint: String,
    _server: Daemon,
    _dir: tempfile::TempDir,
}

impl Moto {
    /// Starts a server, and waits until it answers.
    pub(crate) async fn start() -> Self {
        Self::start_taught("").await
    }

    /// Starts a server that a Python program has taught what moto does not know, and waits until it answers.
    pub(crate) async fn start_taught(lesson: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let program = format!("{lesson}\nfrom moto.server import main\nmain()\n");
        let args = ["-c", &program, "-H", "127.0.0.1", "-p", &port.to_string()];
        let server = Daemon::start_at(dir.path(), &tool("python"), &args);
        let endpoint = format!("http://127.0.0.1:{port}");
        let config = SdkConfig::builder()
            .region(Region::new(REGION))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "k", "s", None, None, "test",
            )))
            .endpoint_url(&endpoint)
            .http_client(Builder::new().build_http())
            .build();
        let began = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(began.elapsed() < PATIENCE, "moto does not answer");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Self { config, endpoint, _server: server, _dir: dir }
    }

    /// Runs a Python program with boto3 on it, and gives what it has left in `result`.
    pub(crate) fn python(&self, program: &str) -> Value {
        let program = format!("import boto3, json\n{program}\nprint(json.dumps(result))\n");
        let mut command = Command::new(tool("python"));
        command.args(["-c", &program]).env("AWS_ENDPOINT_URL", &self.endpoint);
        command.env("AWS_ACCESS_KEY_ID", "k").env("AWS_SECRET_ACCESS_KEY", "s");
        command.env("AWS_DEFAULT_REGION", REGION).env("AWS_CONFIG_FILE", "/dev/null");
        command.env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null").env("NO_PROXY", "*");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}
