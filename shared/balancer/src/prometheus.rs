//! Alarms that are expressions of PromQL. One fires as an alerting rule would: when the expression has a result now.

use std::time::Duration;

use control::ports::Reading;
use engine::DeploymentId;
use serde::Deserialize;
use serde::de::IgnoredAny;
use thiserror::Error;

/// How long Prometheus may take, from the connection to the last byte of its answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read, in bytes. An alarm needs one element.
const ANSWER_MAX: usize = 4 << 20;
/// The longest expression, in bytes.
const EXPRESSION_MAX: usize = 16 << 10;
/// What stands for the deployment in an expression.
const VERSION: &str = "$version";

/// A Prometheus, or anything else that answers its queries.
#[derive(Debug, Clone)]
pub struct Prometheus {
    http: reqwest::Client,
    query: reqwest::Url,
}

/// The address of a Prometheus cannot be one.
#[derive(Debug, Error)]
#[error("`{url}` cannot be the address of a Prometheus: give one like http://127.0.0.1:9090")]
pub struct PrometheusUrlError {
    url: String,
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    data: Option<Data>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<IgnoredAny>),
    Scalar((f64, String)),
    Matrix(IgnoredAny),
    String(IgnoredAny),
}

impl Prometheus {
    /// The Prometheus at `url`, which may have a path in front of `/api/v1`, asked through `http`.
    ///
    /// # Errors
    /// When `url` is no address for HTTP.
    pub fn new(http: reqwest::Client, url: &str) -> Result<Self, PrometheusUrlError> {
        let refused = || PrometheusUrlError { url: url.to_owned() };
        let mut query: reqwest::Url = url.parse().map_err(|_| refused())?;
        let is_plain = query.query().is_none() && query.fragment().is_none();
        if !["http", "https"].contains(&query.scheme()) || !query.has_host() || !is_plain {
            return Err(refused());
        }
        let path = format!("{}/api/v1/query", query.path().trim_end_matches('/'));
        query.set_path(&path);
        Ok(Self { http, query })
    }

    /// Its address, without the path of queries.
    pub(super) fn url(&self) -> String {
        let whole = self.query.as_str();
        whole.strip_suffix("/api/v1/query").unwrap_or(whole).to_owned()
    }

    /// Whether it answers queries; why not otherwise.
    pub(super) async fn check(&self) -> Result<(), String> {
        self.evaluate("1").await.map(drop)
    }

    /// What the alarm says, given what follows `prometheus:`. `$version` in it stands for the deployment's id.
    pub(super) async fn read(&self, expression: &str, version: &DeploymentId) -> Reading {
        let query = expression.replace(VERSION, version.as_str());
        let said = if query.trim().is_empty() {
            Err("it is empty: write an expression of PromQL after `prometheus:`".to_owned())
        } else if query.len() > EXPRESSION_MAX {
            Err(format!(
                "it is longer than {EXPRESSION_MAX} bytes: shorten it, or record it by a rule"
            ))
        } else {
            self.evaluate(&query).await
        };
        said.unwrap_or_else(|reason| {
            Reading::Unreadable(format!(
                "the alarm `prometheus:{expression}` cannot be read: {reason}"
            ))
        })
    }

    /// What a query says.
    async fn evaluate(&self, query: &str) -> Result<Reading, String> {
        let asked = tokio::time::timeout(TIMEOUT, self.ask(query)).await;
        let late = || format!("{} did not answer within {} s", self.query, TIMEOUT.as_secs());
        asked.unwrap_or_else(|_| Err(late())).and_then(|text| judge(&text))
    }

    /// The text of the answer. Prometheus says what is wrong with a query in it, whatever its status.
    async fn ask(&self, query: &str) -> Result<Vec<u8>, String> {
        let timeout = format!("{}s", TIMEOUT.as_secs());
        let form = [("query", query), ("timeout", timeout.as_str())];
        let failed = |error: reqwest::Error| {
            let error = error.without_url();
            let causes =
                std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
            let causes: Vec<String> = causes.map(ToString::to_string).collect();
            format!("{} does not answer: {}", self.query, causes.join(": "))
        };
        let body: String = encode(&form);
        let request = self.http.post(self.query.clone()).body(body);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if text.len() + chunk.len() > ANSWER_MAX {
                let hint = "aggregate it, for example with `count(…) > 0`";
                return Err(format!("its result is longer than {ANSWER_MAX} bytes: {hint}"));
            }
            text.extend_from_slice(&chunk);
        }
        let is_prometheus = serde_json::from_slice::<Answer>(&text).is_ok();
        if status.is_success() || is_prometheus {
            Ok(text)
        } else {
            Err(format!("{} answers {status}: check the address", self.query))
        }
    }
}

fn encode(form: &[(&str, &str)]) -> String {
    let encode =
        |text| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC);
    let pairs = form.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// What an answer says.
fn judge(text: &[u8]) -> Result<Reading, String> {
    let answer: Answer = serde_json::from_slice(text).map_err(|error| {
        format!("the answer is not one of Prometheus ({error}): check the address")
    })?;
    let ("success", Some(data)) = (answer.status.as_str(), answer.data) else {
        return Err(answer.error.unwrap_or_else(|| "it gives no reason".to_owned()));
    };
    // A warning says that a part of the data is missing, so neither answer can be trusted.
    if !answer.warnings.is_empty() {
        return Err(format!("Prometheus warns: {}", answer.warnings.join("; ")));
    }
    let fires = match data {
        Data::Vector(elements) => !elements.is_empty(),
        Data::Scalar((_, value)) => {
            let number = value.parse::<f64>().ok().filter(|number| !number.is_nan());
            number.ok_or_else(|| {
                format!("its value is `{value}`, which neither fires nor does not")
            })? != 0.0
        }
        Data::Matrix(_) => return Err(kind("range vector")),
        Data::String(_) => return Err(kind("string")),
    };
    Ok(if fires { Reading::Firing } else { Reading::Quiet })
}

fn kind(found: &str) -> String {
    format!("it gives a {found}: write an expression that gives an instant vector or a scalar")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_fires_if_it_has_an_element() {
        let judge =
            |data: &str| judge(format!(r#"{{"status":"success","data":{data}}}"#).as_bytes());
        let vector =
            |elements: &str| judge(&format!(r#"{{"resultType":"vector","result":[{elements}]}}"#));
        let scalar =
            |value: &str| judge(&format!(r#"{{"result":[1.5,"{value}"],"resultType":"scalar"}}"#));
        assert_eq!(vector(""), Ok(Reading::Quiet));
        assert_eq!(vector(r#"{"metric":{},"value":[1,"0"]}"#), Ok(Reading::Firing));
        assert_eq!(scalar("0"), Ok(Reading::Quiet));
        assert_eq!(scalar("+Inf"), Ok(Reading::Firing));
        assert!(scalar("NaN").unwrap_err().contains("NaN"));
        let matrix = judge(r#"{"resultType":"matrix","result":[]}"#);
        assert!(matrix.unwrap_err().contains("a range vector"));
    }

    #[test]
    fn what_cannot_be_trusted_is_not_read() {
        let reason = |text: &str| judge(text.as_bytes()).unwrap_err();
        let error =
            r#"{"status":"error","errorType":"bad_data","error":"parse error: unexpected x"}"#;
        assert_eq!(reason(error), "parse error: unexpected x");
        let warned = r#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["a store is gone"]}"#;
        assert_eq!(reason(warned), "Prometheus warns: a store is gone");
        assert!(reason("<html>").contains("check the address"));
        assert!(reason(r#"{"status":"success"}"#).contains("no reason"));
    }

    #[test]
    fn only_addresses_of_servers_are_taken() {
        for url in ["", "localhost", "file:///etc", "http://", "http://a?b", "ftp://a"] {
            let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
            let tls = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            let http = reqwest::Client::builder().tls_backend_preconfigured(tls).build().unwrap();
            assert!(Prometheus::new(http, url).is_err(), "{url}");
        }
    }
}
