//! `cutover shop`: the application of the demo and the benchmarks, a small web server that says its version and errs as
//! often as it is told to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use tokio::net::TcpListener;

use crate::failure::Exit;

/// The header in which the application says its version, so that its own errors are known from those of others.
pub(crate) const VERSION_HEADER: &str = "x-shop-version";

/// How often it tries to listen, and how long it waits in between.
const BIND_TRIES: u32 = 200;
const BIND_PAUSE: Duration = Duration::from_millis(10);
/// How often it looks whether the home is there still.
const LOOK: Duration = Duration::from_millis(500);
/// After so many looks in vain it ends.
const LOOKS_IN_VAIN: u32 = 6;

/// Serves the demo's shop
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// The version to say
    #[arg(long, value_name = "VERSION")]
    version: String,
    /// Answer each so many requests with an error; 0 for none
    #[arg(long, value_name = "N", default_value_t = 0)]
    errs_each: u64,
    /// End when this home's API is not there any more
    #[arg(long, value_name = "ADDRESS:PORT")]
    home: Option<SocketAddr>,
}

struct Shop {
    version: String,
    errs_each: u64,
    served: AtomicU64,
}

/// Serves until it is ended, or its home is gone.
pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let listener = listen(args.listen).await?;
    let shop = Arc::new(Shop {
        version: args.version,
        errs_each: args.errs_each,
        served: AtomicU64::new(0),
    });
    let router = axum::Router::new()
        .route("/health", axum::routing::get(|| async { "healthy\n" }))
        .fallback(serve)
        .with_state(shop);
    tokio::select! {
        served = async { axum::serve(listener, router).await } => {
            served.context("the shop cannot serve any more")?;
        }
        () = is_gone(args.home) => {}
    }
    Ok(Exit::Done)
}

/// Listens as soon as the version before has let go of the port.
async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let mut tries = 0;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(_) if tries < BIND_TRIES => {
                tries += 1;
                tokio::time::sleep(BIND_PAUSE).await;
            }
            Err(error) => {
                return Err(error).with_context(|| format!("the shop cannot listen on {address}"));
            }
        }
    }
}

async fn serve(State(shop): State<Arc<Shop>>) -> impl IntoResponse {
    let number = shop.served.fetch_add(1, Ordering::Relaxed) + 1;
    let errs = shop.errs_each > 0 && number.is_multiple_of(shop.errs_each);
    let (status, words) = if errs {
        (StatusCode::INTERNAL_SERVER_ERROR, "the shop is broken")
    } else {
        (StatusCode::OK, "welcome to the shop")
    };
    let body = format!("{words}, version {}\n", shop.version);
    (status, [(VERSION_HEADER, shop.version.clone())], body)
}

/// Waits until nobody listens at `home` any more.
async fn is_gone(home: Option<SocketAddr>) {
    let Some(home) = home else { return std::future::pending().await };
    let mut in_vain = 0;
    while in_vain < LOOKS_IN_VAIN {
        tokio::time::sleep(LOOK).await;
        match tokio::net::TcpStream::connect(home).await {
            Ok(_) => in_vain = 0,
            Err(_) => in_vain += 1,
        }
    }
}
