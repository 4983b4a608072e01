//! Clients for the servers that are embedded at home: plain HTTP on loopback, and nothing read from the environment.

use std::fmt;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Region};
use aws_smithy_http_client::Builder;

/// Where home's servers listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// The URL of DynamoDB, as `http://127.0.0.1:8000`.
    pub dynamodb: String,
    /// The URL of S3.
    pub s3: String,
}

/// The key that requests are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// The access key's id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The clients that the adapters are made of.
#[derive(Debug, Clone)]
pub struct Clients {
    /// For [`crate::DynamoTable`].
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// For [`crate::S3Bundles`].
    pub s3: aws_sdk_s3::Client,
}

/// Clients for the servers at `endpoints`, which take requests for `region` signed with `keys`.
pub fn home_clients(endpoints: &Endpoints, keys: &Keys, region: &str) -> Clients {
    let http = Builder::new().build_http();
    let credentials = Credentials::new(&keys.id, &keys.secret, None, None, "home");
    let region = Region::new(region.to_owned());
    // A server on loopback that does not answer at once is starting, busy or gone.
    let retry = RetryConfig::standard()
        .with_max_attempts(4)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_secs(1));
    let timeout = TimeoutConfig::builder().connect_timeout(Duration::from_secs(1));
    let dynamodb = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(region.clone())
        .credentials_provider(credentials.clone())
        .endpoint_url(&endpoints.dynamodb)
        .http_client(http.clone())
        .retry_config(retry.clone())
        .timeout_config(
            timeout
                .clone()
                .operation_attempt_timeout(Duration::from_secs(10))
                .operation_timeout(Duration::from_secs(30))
                .build(),
        )
        .build();
    // How long an object may take depends on its size: see the requests for bundles.
    let s3 = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(region)
        .credentials_provider(credentials)
        .endpoint_url(&endpoints.s3)
        .force_path_style(true)
        .http_client(http)
        .retry_config(retry)
        .timeout_config(timeout.build())
        .build();
    Clients {
        dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb),
        s3: aws_sdk_s3::Client::from_conf(s3),
    }
}
