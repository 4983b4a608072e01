//! The emulated cloud: ministack, which checks signatures and policies as AWS does, over TLS.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::docker::Engine;
use crate::place::Place;
use crate::run::{Command, Running};

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The region and the account that it emulates.
pub(crate) const REGION: &str = "us-east-1";
pub(crate) const ACCOUNT: &str = "123456789012";

/// Who may do everything in it, and the secret: its own, since nobody else can reach it.
pub(crate) const ROOT: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "root"), ("AWS_SECRET_ACCESS_KEY", "emulated")];

/// A cloud that answers.
pub(crate) struct Emulator {
    /// Where all services are but the HTTP APIs of stacks, which are where AWS has them too.
    pub(crate) endpoint: String,
    /// The certificate to check it by.
    pub(crate) authority: PathBuf,
    /// What it and the functions say.
    pub(crate) log: PathBuf,
    home: PathBuf,
    _running: Running,
}

impl Emulator {
    /// Starts one that containers reach, too.
    pub(crate) fn start(place: &Place, engine: &Engine, scratch: &Path) -> Result<Self> {
        certify(place, engine, scratch)?;
        let address = engine.gateway.to_string();
        let port = TcpListener::bind((engine.gateway, 0))?.local_addr()?.port().to_string();
        let endpoint = format!("https://{address}:{port}");
        let authority = scratch.join("authority.pem");
        for dir in ["home", "tmp"] {
            std::fs::create_dir_all(scratch.join(dir))?;
        }
        let log = scratch.join("ministack.log");
        // What functions find in their environment they have from it, so nothing of the user's may be in there.
        let command = Command::new(place, place.cloud_venv().join("bin/ministack"))
            .bare(place)
            .env("HOME", scratch.join("home"))
            .env("TMPDIR", scratch.join("tmp"))
            .env("BIND_HOST", &address)
            .env("GATEWAY_PORT", port)
            // So that an API has the address that the stack's outputs tell, as on AWS.
            .env("MINISTACK_HOST", format!("{REGION}.amazonaws.com"))
            .env("MINISTACK_REGION", REGION)
            .env("MINISTACK_ACCOUNT_ID", ACCOUNT)
            .env("USE_SSL", "1")
            .env("MINISTACK_SSL_CERT", scratch.join("server.pem"))
            .env("MINISTACK_SSL_KEY", scratch.join("server.key"))
            .env("AUTH", "true")
            .env("CLOUDTRAIL_RECORDING", "1")
            .env("CLOUDTRAIL_MAX_EVENTS", "1000000")
            .env("IOT_MTLS_ENABLED", "0")
            .env("LAMBDA_EXECUTOR", "local")
            // For the functions.
            .env("AWS_ENDPOINT_URL", &endpoint)
            .env("SSL_CERT_FILE", &authority)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
            .env("AWS_LAMBDA_LOG_LEVEL", "INFO");
        let command = ROOT.iter().fold(command, |command, (name, value)| command.env(name, value));
        let mut running = engine.for_client(command).start(&log)?.gently();
        let ready = format!("{endpoint}/_ministack/ready");
        let began = Instant::now();
        while !curl(place, &authority).unshown().args([&ready]).succeeds() {
            let see = || format!("see `{}`", log.display());
            ensure!(!running.has_ended()?, "ministack ended; {}", see());
            ensure!(began.elapsed() < PATIENCE, "ministack does not answer; {}", see());
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(Self { endpoint, authority, log, home: scratch.join("home"), _running: running })
    }

    /// A program of AWS's for this cloud, as its root.
    pub(crate) fn client(&self, place: &Place, program: &str) -> Command {
        let command = Command::new(place, place.venv().join("bin").join(program))
            .bare(place)
            .env("HOME", &self.home)
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_CA_BUNDLE", &self.authority)
            .env("AWS_DEFAULT_REGION", REGION)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_PAGER", "")
            .env("SAM_CLI_TELEMETRY", "0");
        ROOT.iter().fold(command, |command, (name, value)| command.env(name, value))
    }

    /// Runs the AWS CLI as root and reads what it answers.
    pub(crate) fn aws(&self, place: &Place, args: &[&str]) -> Result<serde_json::Value> {
        let told = self.client(place, "aws").args(args).args(["--output", "json"]).output()?;
        if told.trim().is_empty() {
            return Ok(serde_json::Value::Null);
        }
        serde_json::from_str(&told).with_context(|| format!("the AWS CLI answered `{told}`"))
    }
}

fn curl(place: &Place, authority: &Path) -> Command {
    let silent = ["--silent", "--fail", "--noproxy", "*", "--max-time", "5"];
    Command::new(place, "curl").args(silent).arg_path("--cacert", authority)
}

/// Makes an authority, and a certificate of it for the names that the cloud answers to.
fn certify(place: &Place, engine: &Engine, scratch: &Path) -> Result<()> {
    let request = |name: &str, subject: &str, extensions: &[&str]| {
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let extensions = extensions.iter().flat_map(|extension| ["-addext", extension]);
        Command::new(place, "openssl")
            .args(["req", "-x509", "-days", "2", "-subj", subject])
            .args(key)
            .arg_path("-keyout", &scratch.join(format!("{name}.key")))
            .arg_path("-out", &scratch.join(format!("{name}.pem")))
            .args(extensions)
    };
    request(
        "authority",
        "/CN=Cutover's tests",
        &["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"],
    )
    .run()?;
    let names =
        format!("subjectAltName=IP:{},DNS:*.execute-api.{REGION}.amazonaws.com", engine.gateway);
    request("server", "/CN=an emulated cloud", &["basicConstraints=critical,CA:FALSE", &names])
        .arg_path("-CA", &scratch.join("authority.pem"))
        .arg_path("-CAkey", &scratch.join("authority.key"))
        .run()
}
