//! Who this host is to an API that pushes commands: its instance id.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use thiserror::Error;

use crate::client::without_secrets;
use crate::http::{self, Trust};

/// Where cloud-init keeps the instance's id.
pub const INSTANCE_ID_FILE: &str = "/var/lib/cloud/data/instance-id";
/// Where an instance asks about itself.
pub const METADATA_SERVICE: &str = "http://169.254.169.254";

/// How long a name may be.
const NAME_BYTES: usize = 100;
/// How long the metadata service may take to be there, and to answer.
const CONNECT: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(2);
/// How long the token is good for, in seconds; it is used once.
const TOKEN_SECONDS: &str = "60";

/// Where a host's name may stand, the first that says one counts.
#[derive(Debug, Clone)]
pub struct Sources {
    /// What the user said.
    pub said: Option<String>,
    /// What the SSM agent said in `AWS_SSM_INSTANCE_ID`.
    pub ssm: Option<String>,
    /// The file that cloud-init keeps ([`INSTANCE_ID_FILE`]).
    pub file: PathBuf,
    /// The base URL of the instance's metadata service ([`METADATA_SERVICE`]).
    pub metadata_service: String,
}

/// Nobody says who this host is.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// No source has a name.
    #[error(
        "nothing says who this host is: there is no --host, no AWS_SSM_INSTANCE_ID, no `{}`, and no answer from the \
         instance metadata service ({metadata}). Say it with --host, or let the instance use version 2 of that service",
        file.display()
    )]
    Unknown {
        /// The file that is not there.
        file: PathBuf,
        /// What became of the question to the metadata service.
        metadata: String,
    },
    /// A source says something that is no name.
    #[error(
        "`{name}`, which {source_name} says, is no name of a host: one has 1 to 100 letters, digits, `.`, `_` or `-`"
    )]
    Invalid {
        /// What it says.
        name: String,
        /// Which source.
        source_name: &'static str,
    },
}

/// Finds the host's name.
///
/// # Errors
/// [`IdentityError`]: no source has one, or the first that has one is wrong.
pub async fn host_name(sources: &Sources) -> Result<String, IdentityError> {
    let given = [(&sources.said, "--host"), (&sources.ssm, "AWS_SSM_INSTANCE_ID")];
    for (name, source_name) in given {
        if let Some(name) = name.as_deref().filter(|name| !name.is_empty()) {
            return checked(name, source_name);
        }
    }
    if let Some(name) = in_file(&sources.file) {
        return checked(&name, "cloud-init's file");
    }
    match from_metadata(&sources.metadata_service).await {
        Ok(name) => checked(name.trim(), "the instance metadata service"),
        Err(metadata) => Err(IdentityError::Unknown { file: sources.file.clone(), metadata }),
    }
}

fn checked(name: &str, source_name: &'static str) -> Result<String, IdentityError> {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if (1..=NAME_BYTES).contains(&name.len()) && name.bytes().all(is_good) {
        return Ok(name.to_owned());
    }
    let name = name.chars().filter(|c| !c.is_control()).take(NAME_BYTES).collect();
    Err(IdentityError::Invalid { name, source_name })
}

/// What stands in the file, if it is there and not empty.
fn in_file(path: &Path) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(4_096).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Asks as version 2 of the service wants it: a token first.
async fn from_metadata(service: &str) -> Result<String, String> {
    let builder = http::builder(Trust::Nobody).map_err(|error| error.to_string())?;
    let http = builder
        .no_proxy()
        .connect_timeout(CONNECT)
        .timeout(ANSWER)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(without_secrets)?;
    let ask = async |method: Method, path: &str, header: (&str, &str)| {
        let request =
            http.request(method, format!("{}/latest/{path}", service.trim_end_matches('/')));
        let answer = request.header(header.0, header.1).send().await.map_err(without_secrets)?;
        match answer.status() {
            StatusCode::OK => answer.text().await.map_err(without_secrets),
            status => Err(format!("it answered with HTTP {}", status.as_u16())),
        }
    };
    let ttl = ("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS);
    let token = ask(Method::PUT, "api/token", ttl).await?;
    ask(Method::GET, "meta-data/instance-id", ("x-aws-ec2-metadata-token", token.trim())).await
}
