//! Clients for what is embedded at home: tables in this process, S3 over plain HTTP on loopback, and nothing read from the
//! environment.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Region};
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_http_client::Builder;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;

/// A DynamoDB in this process.
#[async_trait]
pub trait InProcess: fmt::Debug + Send + Sync + 'static {
    /// Answers a request of DynamoDB's JSON protocol with a status and a body.
    async fn answer(&self, operation: &str, body: &[u8]) -> (u16, String);
}

/// Where home's table and buckets are.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// What answers for DynamoDB.
    pub dynamodb: Arc<dyn InProcess>,
    /// The URL of S3, as `http://127.0.0.1:9000`.
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

/// The URL that requests to tables in this process are made out to. Nothing ever connects to it.
const NOWHERE: &str = "http://tables.invalid";

/// Hands requests over to tables in this process.
#[derive(Debug)]
struct Connector(Arc<dyn InProcess>);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let tables = Arc::clone(&self.0);
        HttpConnectorFuture::new(async move {
            let target = request.headers().get("x-amz-target").unwrap_or_default();
            let operation = target.rsplit('.').next().unwrap_or_default();
            let body = request.body().bytes();
            let body = body.ok_or_else(|| ConnectorError::user("the body is a stream".into()))?;
            let (status, body) = tables.answer(operation, body).await;
            let status = status.try_into().map_err(|e| ConnectorError::other(Box::new(e), None))?;
            Ok(HttpResponse::new(status, SdkBody::from(body)))
        })
    }
}

fn in_process(tables: Arc<dyn InProcess>) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(Connector(tables));
    http_client_fn(move |_, _| connector.clone())
}

/// Clients for what is at `endpoints`, which takes requests for `region` signed with `keys`.
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
        .endpoint_url(NOWHERE)
        .http_client(in_process(Arc::clone(&endpoints.dynamodb)))
        .retry_config(retry.clone())
        .timeout_config(
            // No attempt ends before its answer: that would be lost, and the next attempt find what it did.
            timeout.clone().operation_timeout(Duration::from_secs(30)).build(),
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
