//! The cloud by HTTPS: whom the program trusts, and the way through a proxy.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::cloud::Cloud;

/// A name that leads nowhere but through the proxy.
const NAME: &str = "api.example";

/// A server that ends TLS in front of a cloud, and a proxy that leads to it whatever it is asked for.
struct Front {
    port: u16,
    proxy: u16,
    certificate: PathBuf,
    _runtime: tokio::runtime::Runtime,
}

impl Front {
    fn of(cloud: &Cloud) -> Self {
        let names = vec!["localhost".to_owned(), NAME.to_owned()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let certificate = cloud.home().join("authorities.pem");
        fs::write(&certificate, cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listen = || runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let (front, proxy) = (listen(), listen());
        let port = front.local_addr().unwrap().port();
        let proxy_port = proxy.local_addr().unwrap().port();
        let cloud = cloud.url.strip_prefix("http://").unwrap().to_owned();
        runtime.spawn(async move {
            while let Ok((stream, _)) = front.accept().await {
                let (acceptor, cloud) = (acceptor.clone(), cloud.clone());
                tokio::spawn(async move {
                    // A client that trusts nobody goes away here.
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut cloud = TcpStream::connect(cloud).await.unwrap();
                    drop(copy_bidirectional(&mut stream, &mut cloud).await);
                });
            }
        });
        runtime.spawn(async move {
            while let Ok((stream, _)) = proxy.accept().await {
                tokio::spawn(lead(stream, port));
            }
        });
        Self { port, proxy: proxy_port, certificate, _runtime: runtime }
    }

    /// The command with the cloud's services at `host`, trusting the front's certificate.
    fn at<'c>(&self, host: &str, command: &'c mut Command) -> &'c mut Command {
        let url = format!("https://{host}:{}", self.port);
        command.env("AWS_ENDPOINT_URL_CLOUDFORMATION", &url).env("AWS_ENDPOINT_URL_S3", &url);
        command.env("SSL_CERT_FILE", &self.certificate)
    }
}

/// Answers to CONNECT, and leads to the front.
async fn lead(stream: TcpStream, port: u16) {
    let mut stream = BufReader::new(stream);
    let mut asked = String::new();
    while !asked.ends_with("\r\n\r\n") {
        if stream.read_line(&mut asked).await.unwrap() == 0 {
            return;
        }
    }
    assert!(asked.starts_with(&format!("CONNECT {NAME}:{port} ")), "{asked}");
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let mut front = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    drop(copy_bidirectional(&mut stream, &mut front).await);
}

/// Connects and pushes a bundle, by which all three services are asked.
fn push(cloud: &Cloud, adapt: impl Fn(&mut Command)) -> [String; 2] {
    let bundle = cloud.home().join("app");
    fs::create_dir_all(&bundle).unwrap();
    fs::write(bundle.join("appspec.yml"), "version: 0.0\nos: linux\n").unwrap();
    [&["connect", "shop"][..], &["push", "app", "shop"]].map(|arguments| {
        let mut command = cloud.command(arguments);
        adapt(&mut command);
        cloud.see(&mut command)
    })
}

#[test]
fn the_systems_authorities_are_trusted_and_nobody_else() {
    let cloud = Cloud::new();
    let front = Front::of(&cloud);
    let api = format!("https://localhost:{}", front.port);
    cloud.has_stack("CREATE_COMPLETE", &[("ApiUrl", &api), ("RevisionsBucket", "revisions")]);
    let told = push(&cloud, |command| {
        front.at("localhost", command);
    });
    assert!(told.iter().all(|told| told.ends_with("exit 0\n")), "{told:?}");
    assert!(told[0].contains("(version 9.8.7)"), "{}", told[0]);
    assert_eq!(cloud.put().len(), 1);
    let elsewhere = Cloud::new();
    let others = Front::of(&elsewhere).certificate.clone();
    let told = push(&cloud, |command| {
        front.at("localhost", command).env("SSL_CERT_FILE", &others);
    });
    assert!(told.iter().all(|told| told.contains("invalid peer certificate")), "{told:?}");
    assert!(told.iter().all(|told| told.ends_with("exit 3\n")), "{told:?}");
}

#[test]
fn the_users_proxy_leads_to_the_cloud() {
    let cloud = Cloud::new();
    let front = Front::of(&cloud);
    let api = format!("https://{NAME}:{}", front.port);
    cloud.has_stack("CREATE_COMPLETE", &[("ApiUrl", &api), ("RevisionsBucket", "revisions")]);
    let told = push(&cloud, |command| {
        front.at(NAME, command).env("HTTPS_PROXY", format!("http://127.0.0.1:{}", front.proxy));
    });
    assert!(told.iter().all(|told| told.ends_with("exit 0\n")), "{told:?}");
    assert!(told[0].contains("(version 9.8.7)"), "{}", told[0]);
    assert_eq!(cloud.put().len(), 1);
    assert_eq!(cloud.calls().len(), 2);
}
