//! A client of a home: signed calls of its API and its bucket.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use runner::http::{self as tls, Trust};
use serde_json::Value;

/// Where a home is, and its keys: the content of `endpoints.json`.
#[derive(Clone)]
pub(crate) struct Client {
    endpoints: Value,
}

/// An answer that is no success.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The HTTP status; 0 if nothing answered.
    pub(crate) status: u16,
    /// The exception's name, without a namespace.
    pub(crate) name: String,
    /// What was answered.
    pub(crate) body: String,
}

impl Client {
    pub(crate) fn new(endpoints: Value) -> Self {
        Self { endpoints }
    }

    /// One member of `endpoints.json`.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.endpoints[name].as_str().unwrap()
    }

    /// The same client with other keys.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut endpoints = self.endpoints.clone();
        endpoints[name] = value.into();
        Self { endpoints }
    }

    /// Calls an operation of CodeDeploy's, or one of Cutover's own (`Cutover_v1.…`).
    pub(crate) fn try_call(&self, operation: &str, request: &Value) -> Result<Value, Refused> {
        let target = if operation.contains('.') {
            operation.to_owned()
        } else {
            format!("CodeDeploy_20141006.{operation}")
        };
        let url = format!("{}/", self.get("api"));
        let headers =
            [("content-type", "application/x-amz-json-1.1".to_owned()), ("x-amz-target", target)];
        let body = request.to_string().into_bytes();
        let answer = self.send("POST", &url, "codedeploy", &headers, body)?;
        Ok(if answer.is_empty() { Value::Null } else { serde_json::from_slice(&answer).unwrap() })
    }

    /// Calls an operation that succeeds.
    #[track_caller]
    pub(crate) fn call(&self, operation: &str, request: Value) -> Value {
        self.try_call(operation, &request)
            .unwrap_or_else(|refused| panic!("{operation} {request}: {refused:?}"))
    }

    /// Calls an operation of DynamoDB.
    #[track_caller]
    pub(crate) fn dynamodb(&self, operation: &str, request: &Value) -> Value {
        let url = format!("{}/", self.get("dynamodb"));
        let target = format!("DynamoDB_20120810.{operation}");
        let headers =
            [("content-type", "application/x-amz-json-1.0".to_owned()), ("x-amz-target", target)];
        let body = request.to_string().into_bytes();
        let answer = self.send("POST", &url, "dynamodb", &headers, body);
        let answer = answer.unwrap_or_else(|refused| panic!("{operation} {request}: {refused:?}"));
        serde_json::from_slice(&answer).unwrap()
    }

    /// Puts an object into the revisions' bucket.
    pub(crate) fn try_put(&self, key: &str, bytes: &[u8]) -> Result<(), Refused> {
        let url = format!("{}/{}/{key}", self.get("s3"), self.get("bucket"));
        self.send("PUT", &url, "s3", &[], bytes.to_vec()).map(drop)
    }

    /// Puts an object into the revisions' bucket, which succeeds.
    #[track_caller]
    pub(crate) fn put(&self, key: &str, bytes: &[u8]) {
        self.try_put(key, bytes).unwrap_or_else(|refused| panic!("PUT {key}: {refused:?}"));
    }

    /// Deletes an object of the revisions' bucket.
    #[track_caller]
    pub(crate) fn delete(&self, key: &str) {
        let url = format!("{}/{}/{key}", self.get("s3"), self.get("bucket"));
        self.send("DELETE", &url, "s3", &[], Vec::new()).unwrap();
    }

    fn send(
        &self,
        method: &str,
        url: &str,
        service: &str,
        headers: &[(&str, String)],
        body: Vec<u8>,
    ) -> Result<Vec<u8>, Refused> {
        let request = self.signed(method, url, service, headers, body);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(async {
            let http = http_client()?;
            let answer = http.execute(request).await?;
            let status = answer.status();
            Ok::<_, reqwest::Error>((status.as_u16(), answer.bytes().await?.to_vec()))
        });
        match answer {
            Ok((status, body)) if (200..300).contains(&status) => Ok(body),
            Ok((status, body)) => Err(refused(status, &body)),
            Err(error) => {
                Err(Refused { status: 0, name: String::new(), body: format!("{error:?}") })
            }
        }
    }

    /// A call as it came from elsewhere, signed for this home: by way of the name of its operation.
    pub(crate) fn passed_on(&self, target: &str, body: Vec<u8>) -> reqwest::Request {
        let operation = target.split_once('.').unwrap().1;
        let url = format!("{}/codedeploy/{operation}", self.get("api"));
        self.signed("POST", &url, "codedeploy", &[("x-amz-target", target.to_owned())], body)
    }

    fn signed(
        &self,
        method: &str,
        url: &str,
        service: &str,
        headers: &[(&str, String)],
        body: Vec<u8>,
    ) -> reqwest::Request {
        let (id, secret) = (self.get("access_key_id"), self.get("secret_access_key"));
        let identity = Credentials::new(id, secret, None, None, "test").into();
        let mut settings = SigningSettings::default();
        if service == "s3" {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(self.get("region"))
            .name(service)
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let mut request = http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let mut request = request.body(body).unwrap();
        let named: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let signable = SignableRequest::new(
            method,
            url,
            named.into_iter(),
            SignableBody::Bytes(request.body()),
        );
        let (instructions, _) = sign(signable.unwrap(), &parameters).unwrap().into_parts();
        instructions.apply_to_request_http1x(&mut request);
        request.try_into().unwrap()
    }
}

/// A client for what listens on this machine.
pub(crate) fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    tls::builder(Trust::Nobody).unwrap().no_proxy().build()
}

fn refused(status: u16, body: &[u8]) -> Refused {
    let text = String::from_utf8_lossy(body).into_owned();
    let parsed: Value = serde_json::from_str(&text).unwrap_or_default();
    let name = parsed["__type"].as_str().unwrap_or_default();
    Refused { status, name: name.rsplit('#').next().unwrap_or_default().to_owned(), body: text }
}
