//! Who a host is, as its sources say.

use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, put};
use runner::identity::{Sources, host_name};

type Seen = Arc<Mutex<Vec<String>>>;

/// A metadata service of version 2.
async fn metadata_service(id: &'static str) -> (String, Seen) {
    let seen = Seen::default();
    let token = async |State(seen): State<Seen>, headers: HeaderMap| {
        let ttl = headers["x-aws-ec2-metadata-token-ttl-seconds"].to_str().unwrap().to_owned();
        seen.lock().unwrap().push(ttl);
        "t0ken"
    };
    let instance = async move |headers: HeaderMap| {
        let known = headers.get("x-aws-ec2-metadata-token").is_some_and(|token| token == "t0ken");
        if known { Ok(id) } else { Err(StatusCode::UNAUTHORIZED) }
    };
    let router = axum::Router::new()
        .route("/latest/api/token", put(token))
        .route("/latest/meta-data/instance-id", get(instance))
        .with_state(Arc::clone(&seen));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, seen)
}

fn sources(file: &Path, metadata_service: &str) -> Sources {
    let metadata_service = metadata_service.to_owned();
    Sources { said: None, ssm: None, file: file.to_owned(), metadata_service }
}

#[tokio::test]
async fn the_first_source_that_says_a_name_counts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("instance-id");
    let (service, seen) = metadata_service("i-metadata").await;
    let mut sources = sources(&file, &service);
    assert_eq!(host_name(&sources).await.unwrap(), "i-metadata");
    assert_eq!(*seen.lock().unwrap(), ["60"]);
    std::fs::write(&file, "\n i-file\n").unwrap();
    assert_eq!(host_name(&sources).await.unwrap(), "i-file");
    sources.ssm = Some("mi-ssm".to_owned());
    assert_eq!(host_name(&sources).await.unwrap(), "mi-ssm");
    sources.said = Some("said".to_owned());
    assert_eq!(host_name(&sources).await.unwrap(), "said");
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_source_that_says_no_name_is_named_and_none_at_all_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("instance-id");
    std::fs::write(&file, "<html>captive portal</html>").unwrap();
    let error = host_name(&sources(&file, "http://127.0.0.1:1")).await.unwrap_err().to_string();
    assert!(error.contains("cloud-init") && error.contains("captive"), "{error}");
    std::fs::remove_file(&file).unwrap();
    let error = host_name(&sources(&file, "http://127.0.0.1:1")).await.unwrap_err().to_string();
    assert!(error.contains("--host") && error.contains("127.0.0.1:1"), "{error}");
}
