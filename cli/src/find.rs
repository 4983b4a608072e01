//! Finds the Cutover that a command talks to: by `--dir`, else by the AWS_* variables, else in `.cutover`. In a directory
//! there is a running home, or a connection to a cloud installation.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use local::dir::{self, DirError, Endpoints};
use thiserror::Error;

use crate::cloud::{self, Cloud, CloudError, Keys};
use crate::failure::{Exit, Failure};

/// Where a home or a connection is if nobody says otherwise.
pub(crate) const DEFAULT_DIR: &str = ".cutover";
/// How long a home is waited for that starts.
const START_PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const DEFAULT_REGION: &str = "us-east-1";
/// The bucket that revisions are pushed to if nothing names another.
const DEFAULT_BUCKET: &str = "revisions";

/// Everything that is needed to talk to a Cutover.
#[derive(Clone)]
pub(crate) struct Connection {
    /// The URL of the API.
    pub(crate) api: String,
    /// The bucket that revisions are pushed to.
    pub(crate) bucket: String,
    /// The URL of that bucket, if it is known where S3 is.
    pub(crate) bucket_url: Option<String>,
    /// The region to sign for.
    pub(crate) region: String,
    /// Whose keys sign.
    pub(crate) keys: Keys,
    /// How it was found.
    pub(crate) origin: Origin,
}

/// How a Cutover was found; what to do when it does not answer depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In the directory of a home.
    Dir(PathBuf),
    /// In the environment.
    Environment,
    /// In a directory that is connected to a cloud installation.
    Stack {
        /// The directory.
        dir: PathBuf,
        /// The stack's name.
        stack: String,
    },
}

impl Origin {
    /// What to do when nothing answers.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Dir(dir) if dir == Path::new(DEFAULT_DIR) => {
                "start it with `cutover up`, or name the directory of another one with --dir".to_owned()
            }
            Self::Dir(dir) => format!("start it with `cutover up --dir {}`", dir.display()),
            Self::Environment => {
                "check AWS_ENDPOINT_URL_CODEDEPLOY and that the service runs; unset it to use `.cutover`".to_owned()
            }
            Self::Stack { stack, .. } => format!(
                "check the network; if the stack was made anew, `cutover connect {stack}` finds its new address"
            ),
        }
    }

    /// The directory, if it was found in one.
    pub(crate) fn dir(&self) -> Option<&Path> {
        match self {
            Self::Dir(dir) | Self::Stack { dir, .. } => Some(dir),
            Self::Environment => None,
        }
    }

    /// Whether API Gateway answers, which identifies callers itself and wants each operation under its name.
    pub(crate) fn is_cloud(&self) -> bool {
        matches!(self, Self::Stack { .. })
    }
}

/// The AWS_* variables that matter here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    api: Option<String>,
    s3: Option<String>,
    every_service: Option<String>,
    ignores_endpoints: bool,
    region: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    session_token: Option<String>,
    /// Whether it says whose keys to use, in one of the ways that AWS's libraries know.
    names_keys: bool,
    has_proxy: bool,
    no_proxy: String,
}

/// What of the user's environment matters for that of a command that is run.
#[derive(Debug, Clone, Default)]
pub(crate) struct UserVariables {
    /// Whether it names a region.
    pub(crate) has_region: bool,
    /// Whether it names a proxy for HTTP.
    pub(crate) has_proxy: bool,
    /// The hosts that no proxy is for.
    pub(crate) no_proxy: String,
}

/// The variables by which AWS's libraries find keys.
const OF_KEYS: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// The variables by which a proxy for HTTP is named.
const OF_PROXIES: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];

impl Environment {
    /// Reads them from the environment of this process.
    pub(crate) fn read() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is where the binary starts")]
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let ignores = variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
        Self {
            api: variable("AWS_ENDPOINT_URL_CODEDEPLOY"),
            s3: variable("AWS_ENDPOINT_URL_S3"),
            every_service: variable("AWS_ENDPOINT_URL"),
            ignores_endpoints: ignores.is_some_and(|value| value.eq_ignore_ascii_case("true")),
            region: variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")),
            access_key_id: variable("AWS_ACCESS_KEY_ID"),
            secret_access_key: variable("AWS_SECRET_ACCESS_KEY"),
            session_token: variable("AWS_SESSION_TOKEN"),
            names_keys: OF_KEYS.iter().any(|name| variable(name).is_some()),
            has_proxy: OF_PROXIES.iter().any(|name| variable(name).is_some()),
            no_proxy: variable("no_proxy").or_else(|| variable("NO_PROXY")).unwrap_or_default(),
        }
    }

    /// What of it matters for a command that is run.
    pub(crate) fn of_user(&self) -> UserVariables {
        UserVariables {
            has_region: self.region.is_some(),
            has_proxy: self.has_proxy,
            no_proxy: self.no_proxy.clone(),
        }
    }

    /// Where S3 is, as AWS's libraries understand it.
    fn s3_of_aws(&self) -> Option<&String> {
        self.s3.as_ref().or(self.every_service.as_ref()).filter(|_| !self.ignores_endpoints)
    }

    /// The profile to look for keys in: the one that is remembered, unless the environment says whose keys to use.
    fn profile(&self, remembered: Option<String>) -> Option<String> {
        remembered.filter(|_| !self.names_keys)
    }
}

/// Why no Cutover was found.
#[derive(Debug, Error)]
pub(crate) enum FindError {
    /// No home runs there.
    #[error("no Cutover runs in `{}`", .0.display())]
    NotRunning(PathBuf),
    /// The directory cannot be used.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// The connection in it cannot be used.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// The environment names an endpoint, but no keys.
    #[error("AWS_ENDPOINT_URL_CODEDEPLOY is set, but {0} is not")]
    NoKeys(&'static str),
}

/// Finds it.
pub(crate) fn find(dir: Option<&Path>, environment: &Environment) -> Result<Connection, FindError> {
    match (dir, &environment.api) {
        (Some(dir), _) => in_dir(dir, environment),
        (None, Some(api)) => in_environment(api, environment),
        (None, None) => in_dir(Path::new(DEFAULT_DIR), environment),
    }
}

fn in_dir(dir: &Path, environment: &Environment) -> Result<Connection, FindError> {
    if let Some(cloud) = Cloud::read(dir)? {
        return Ok(in_cloud(dir, cloud, environment));
    }
    let found = of_home(dir)?.ok_or_else(|| FindError::NotRunning(dir.to_owned()))?;
    let keys = given(found.access_key_id, found.secret_access_key, None);
    Ok(Connection {
        api: found.api,
        bucket_url: Some(bucket_at(&found.s3, &found.bucket)),
        bucket: found.bucket,
        region: found.region,
        keys,
        origin: Origin::Dir(dir.to_owned()),
    })
}

/// Where the home in `dir` is found. One that starts is waited for: it answers before it says so.
pub(crate) fn of_home(dir: &Path) -> Result<Option<Endpoints>, DirError> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        // In this order: what was held before there were endpoints may have them by now.
        let is_held = dir::is_held(dir);
        match Endpoints::read(dir)? {
            None if is_held && Instant::now() < deadline => std::thread::sleep(LOOK_AGAIN),
            found => return Ok(found),
        }
    }
}

fn in_cloud(dir: &Path, cloud: Cloud, environment: &Environment) -> Connection {
    let Cloud { stack, region, profile, api_url, revisions_bucket: bucket, .. } = cloud;
    let bucket_url = match environment.s3_of_aws() {
        Some(endpoint) => bucket_at(endpoint, &bucket),
        None => bucket_in(&region, &bucket),
    };
    Connection {
        api: api_url,
        bucket_url: Some(bucket_url),
        bucket,
        keys: Keys::of_user(environment.profile(profile), region.clone()),
        region,
        origin: Origin::Stack { dir: dir.to_owned(), stack },
    }
}

fn in_environment(api: &str, environment: &Environment) -> Result<Connection, FindError> {
    let key = |value: &Option<String>, name| value.clone().ok_or(FindError::NoKeys(name));
    let keys = given(
        key(&environment.access_key_id, "AWS_ACCESS_KEY_ID")?,
        key(&environment.secret_access_key, "AWS_SECRET_ACCESS_KEY")?,
        environment.session_token.clone(),
    );
    Ok(Connection {
        api: api.to_owned(),
        bucket_url: environment.s3.as_ref().map(|s3| bucket_at(s3, DEFAULT_BUCKET)),
        bucket: DEFAULT_BUCKET.to_owned(),
        region: environment.region.clone().unwrap_or_else(|| DEFAULT_REGION.to_owned()),
        keys,
        origin: Origin::Environment,
    })
}

fn given(id: String, secret: String, session_token: Option<String>) -> Keys {
    Keys::Given(Credentials::new(id, secret, session_token, None, "cutover"))
}

/// A bucket of a server whose buckets are folders.
fn bucket_at(s3: &str, bucket: &str) -> String {
    format!("{}/{bucket}", s3.trim_end_matches('/'))
}

/// A bucket at AWS. A name with dots is none that the certificate of S3 covers.
fn bucket_in(region: &str, bucket: &str) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    if bucket.contains('.') {
        return format!("https://s3.{region}.{domain}/{bucket}");
    }
    format!("https://{bucket}.s3.{region}.{domain}")
}

impl From<FindError> for Failure {
    fn from(error: FindError) -> Self {
        let message = error.to_string();
        match error {
            FindError::NotRunning(dir) => {
                let hint = format!(
                    "{}; `cutover connect STACK` connects to one in the cloud",
                    Origin::Dir(dir).hint()
                );
                Self::new(Exit::Unreachable, message).hint(hint)
            }
            FindError::Dir(_) => Self::new(Exit::Unreachable, message),
            FindError::Cloud(error) => error.into(),
            FindError::NoKeys(_) => Self::new(Exit::WrongUse, message)
                .hint("`eval \"$(cutover env)\"` sets all of them for a home"),
        }
    }
}

impl From<CloudError> for Failure {
    fn from(error: CloudError) -> Self {
        let failure = Self::new(Exit::WrongUse, error.to_string());
        match error {
            CloudError::File { .. } => {
                failure.hint("check the disk, and that the directory belongs to this user")
            }
            CloudError::Damaged { path, .. } => failure.hint(format!(
                "remove `{}` and run `cutover connect STACK` again, or use a newer `cutover`",
                path.display()
            )),
            CloudError::Home(dir) => failure.hint(format!(
                "choose another directory for the connection, such as --dir {}-cloud",
                dir.display()
            )),
        }
    }
}

/// Refuses a directory that is connected to a cloud installation, for a home to start in.
pub(crate) fn refuse_connected(dir: &Path) -> Result<(), Failure> {
    let Some(cloud) = Cloud::read(dir)? else { return Ok(()) };
    let file = cloud::file(dir);
    let message = format!("`{}` is connected to the stack `{}`", dir.display(), cloud.stack);
    Err(Failure::new(Exit::WrongUse, message).hint(format!(
        "choose another directory with --dir, or end the connection by removing `{}`",
        file.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected(profile: Option<&str>) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let cloud = Cloud::new(
            "shop".to_owned(),
            "eu-central-1".to_owned(),
            profile.map(str::to_owned),
            "https://api.example".to_owned(),
            "shop-revisions".to_owned(),
        );
        cloud.write(place.path()).unwrap();
        place
    }

    #[test]
    fn a_connected_directory_leads_to_its_stack_with_the_remembered_profile() {
        let place = connected(Some("prod"));
        let found = find(Some(place.path()), &Environment::default()).unwrap();
        assert_eq!(
            (found.api.as_str(), found.region.as_str()),
            ("https://api.example", "eu-central-1")
        );
        assert!(found.origin.is_cloud());
        let Keys::User(keys) = found.keys else { panic!("the keys are given") };
        assert_eq!(keys.profile(), Some("prod"));
    }

    #[test]
    fn the_environment_beats_the_remembered_profile() {
        let place = connected(Some("prod"));
        let environment = Environment { names_keys: true, ..Environment::default() };
        let found = find(Some(place.path()), &environment).unwrap();
        let Keys::User(keys) = found.keys else { panic!("the keys are given") };
        assert_eq!(keys.profile(), None);
    }

    #[test]
    fn a_bucket_lies_in_the_region_of_its_stack_unless_the_environment_says_where_s3_is() {
        for (region, bucket, url) in [
            ("eu-central-1", "shop", "https://shop.s3.eu-central-1.amazonaws.com"),
            ("eu-central-1", "a.b", "https://s3.eu-central-1.amazonaws.com/a.b"),
            ("cn-north-1", "shop", "https://shop.s3.cn-north-1.amazonaws.com.cn"),
        ] {
            assert_eq!(bucket_in(region, bucket), url);
        }
        let place = connected(None);
        let one = Some("http://127.0.0.1:1/".to_owned());
        let all = Some("http://127.0.0.1:2".to_owned());
        for (s3, every_service, url) in [
            (&one, &all, "http://127.0.0.1:1/shop-revisions"),
            (&None, &all, "http://127.0.0.1:2/shop-revisions"),
            (&None, &None, "https://shop-revisions.s3.eu-central-1.amazonaws.com"),
        ] {
            let (s3, every_service) = (s3.clone(), every_service.clone());
            let environment = Environment { s3, every_service, ..Environment::default() };
            let found = find(Some(place.path()), &environment).unwrap();
            assert_eq!(found.bucket_url.as_deref(), Some(url));
        }
    }
}
