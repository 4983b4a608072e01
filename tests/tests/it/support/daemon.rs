//! HAProxy and Prometheus of Debian as processes of a test, and what they stand before.

use std::fs::File;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use axum::Router;
use balancer::{Balancers, HomeTraffic, Outside};

pub(crate) use super::free_port;

/// A process that ends with the test.
pub(crate) struct Daemon(Child);

impl Daemon {
    /// Starts a program that was installed by `cargo xtask test`; what it writes goes to a file in `dir`.
    pub(crate) fn start(dir: &Path, program: &str, args: &[&str]) -> Self {
        Self::start_at(dir, Path::new(program), args)
    }

    /// The same for a program at a path.
    pub(crate) fn start_at(dir: &Path, program: &Path, args: &[&str]) -> Self {
        let name = program.file_name().unwrap().display();
        let log = File::create(dir.join(format!("{name}.log"))).unwrap();
        let path = format!("{}:/usr/sbin", std::env::var_os("PATH").unwrap().display());
        let mut command = Command::new("env");
        command.arg(format!("PATH={path}")).arg(program).args(args).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// An application that listens on loopback until it is dropped; its connections break then.
pub(crate) struct Application {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Application {
    pub(crate) fn start(router: Router) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), router)
    }

    pub(crate) fn start_at(address: SocketAddr, router: Router) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
        Self { address, runtime: Some(runtime) }
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A home's traffic without balancers of its own.
pub(crate) async fn traffic(dir: &Path) -> HomeTraffic {
    let nobody = |_: &str| -> Option<IpAddr> { None };
    let home = Balancers::open(dir, Arc::new(nobody), 200).await.unwrap();
    HomeTraffic { home, outside: Outside::default() }
}
