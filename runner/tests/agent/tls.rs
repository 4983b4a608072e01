//! APIs and bundles over TLS, with authorities of the test's own; and what a redirect takes along.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::post;
use engine::lifecycle::Event;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use wire::host::{BatchClaimRequest, BatchKey, HostStatus};

use crate::home::{Deployment, Home, diagnostics};
use crate::push::{end, push, start, terminate};

/// An authority, and a server for `localhost` with its certificate that passes everything on to `to`.
struct Front {
    address: String,
    authority: PathBuf,
    _dir: tempfile::TempDir,
}

async fn front(to: &str) -> Front {
    let dir = tempfile::tempdir().unwrap();
    let authority = dir.path().join("authority.pem");
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(&authority, ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &Issuer::new(ca, ca_key))
        .unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let to = to.strip_prefix("http://").unwrap().to_owned();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, to) = (acceptor.clone(), to.clone());
            tokio::spawn(async move {
                // One whose certificate is refused goes away again.
                let Ok(mut near) = acceptor.accept(stream).await else { return };
                let mut far = TcpStream::connect(to).await.unwrap();
                tokio::io::copy_bidirectional(&mut near, &mut far).await.ok();
            });
        }
    });
    Front { address, authority, _dir: dir }
}

fn deployment(number: u8) -> Deployment {
    Deployment::of(number, "AfterInstall", "", "#!/bin/sh\necho >> \"$HOST_ROOT/ran\"\n")
}

#[tokio::test]
async fn an_api_and_a_bundle_over_tls_are_reached_when_the_systems_authorities_vouch_for_them() {
    let home = Home::new();
    let (api, _server) = home.serve().await;
    let front = front(&api).await;
    home.change(|world| world.bundles = Some(front.address.clone()));
    let id = home.dispatch(deployment(1));
    let mut trusting = push(&home, &front.address, &id);
    let (code, line) = end(trusting.env("SSL_CERT_FILE", &front.authority).spawn().unwrap()).await;
    assert_eq!(code, 0, "{line}");
    let report = home.result(&id).await;
    assert_eq!((report.status, home.world().downloads), (HostStatus::Succeeded, 1));
}

#[tokio::test]
async fn what_no_authority_of_the_system_vouches_for_is_not_told_anything() {
    let home = Home::new();
    let (api, _server) = home.serve().await;
    let (front, other) = (front(&api).await, front(&api).await);
    home.change(|world| world.bundles = Some(front.address.clone()));
    let id = home.dispatch(deployment(1));
    // Another authority than the one that vouches for the API.
    let mut doubting = push(&home, &front.address, &id);
    let child = doubting.env("SSL_CERT_FILE", &other.authority).spawn().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    terminate(&child);
    let (code, line) = end(child).await;
    assert_eq!((code, home.world().commands[&id].claims), (2, 0), "{line}");
    // An API that is trusted, with a bundle where nobody vouches for it.
    assert_eq!(end(start(&home, &api, &id)).await.0, 1);
    let report = home.result(&id).await;
    let found = diagnostics(&report, Event::DownloadBundle);
    assert!(found.message.contains("certificate"), "{found:#?}");
    assert_eq!(home.world().downloads, 0);
}

#[tokio::test]
async fn a_host_without_any_authority_says_so_before_it_asks() {
    let home = Home::new();
    let (api, _server) = home.serve().await;
    let front = front(&api).await;
    let id = home.dispatch(deployment(1));
    let empty = home.dir.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let mut lonely = push(&home, &front.address, &id);
    lonely.env("SSL_CERT_FILE", &empty).env_remove("SSL_CERT_DIR");
    let (code, line) = end(lonely.spawn().unwrap()).await;
    assert_eq!(code, 2);
    assert!(line.contains("ca-certificates"), "{line}");
}

/// What was asked elsewhere: of which batch, and whether with an authorization.
type Seen = Arc<Mutex<Vec<(BatchKey, bool)>>>;

/// An API that leads everybody to another port, where nobody is believed.
async fn redirecting() -> (String, Seen) {
    let seen = Seen::default();
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}/elsewhere", other.local_addr().unwrap());
    let elsewhere = {
        let seen = Arc::clone(&seen);
        async move |headers: HeaderMap, axum::Json(claim): axum::Json<BatchClaimRequest>| {
            seen.lock().unwrap().push((claim.batch, headers.contains_key("authorization")));
            let refusal = serde_json::json!({"code": "Unauthorized", "message": "no bearer"});
            (StatusCode::UNAUTHORIZED, axum::Json(refusal)).into_response()
        }
    };
    let router = axum::Router::new().route("/elsewhere", post(elsewhere));
    tokio::spawn(async move { axum::serve(other, router).await });
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", first.local_addr().unwrap());
    let redirect = async move |headers: HeaderMap| -> Response {
        assert!(headers.contains_key("authorization"));
        Redirect::temporary(&target).into_response()
    };
    let router = axum::Router::new().fallback(redirect);
    tokio::spawn(async move { axum::serve(first, router).await });
    (api, seen)
}

#[tokio::test]
async fn a_redirect_to_another_port_does_not_take_the_secret_along() {
    let home = Home::new();
    let id = home.dispatch(deployment(1));
    let (api, seen) = redirecting().await;
    let (code, line) = end(start(&home, &api, &id)).await;
    assert!(code == 2 && line.contains("no bearer"), "{line}");
    assert_eq!(*seen.lock().unwrap(), [(format!("{id}/12").parse().unwrap(), false)]);
}

#[tokio::test]
async fn a_redirect_from_tls_to_plain_http_is_not_followed() {
    let home = Home::new();
    let id = home.dispatch(deployment(1));
    let (api, seen) = redirecting().await;
    let front = front(&api).await;
    let mut asking = push(&home, &front.address, &id);
    let child = asking.env("SSL_CERT_FILE", &front.authority).spawn().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    terminate(&child);
    assert_eq!(end(child).await.0, 2);
    assert!(seen.lock().unwrap().is_empty());
}
