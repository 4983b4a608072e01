//! How the API, the buckets and the balancers of a home serve HTTP/1.1: as many connections at once as their share of
//! descriptors allows, and none that waits for a client who has sent nothing for a minute. A client is never cut off while
//! an answer is owed to it, nor on a connection that was upgraded. What is answered is not decided here.
//!
//! [`sigv4`] checks who signed a request.

mod connection;
mod room;
pub mod sigv4;
#[cfg(test)]
mod tests;
mod watched;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::extract::Request;
use axum::response::Response;
use futures::future::BoxFuture;
use http::StatusCode;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use connection::Connection;
use room::Place;
pub use room::Room;
use watched::{Asked, Counted, Owed};

/// The pause after a connection could not be accepted, which happens when descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers a request.
pub type Handler = Arc<dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync>;

/// A handler that asks a router.
pub fn router(router: axum::Router) -> Handler {
    Arc::new(move |request| {
        let mut router = router.clone();
        Box::pin(async move {
            // A router is always ready.
            match tower::Service::call(&mut router, request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        })
    })
}

/// Serves until `stop`, and then for at most `grace` what is under way.
pub async fn serve(
    listener: TcpListener,
    room: Arc<Room>,
    handler: Handler,
    stop: impl Future<Output = ()>,
    grace: Duration,
) {
    let mut stop = pin!(stop);
    // Held by each connection's task; the last that ends it lets the server end.
    let (ending, _) = watch::channel(false);
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let (socket, from, place) = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &room) => accepted,
        };
        // Otherwise small answers wait for an acknowledgement that the client delays.
        drop(socket.set_nodelay(true));
        let served = one(socket, from, place, Arc::clone(&handler), ending.subscribe());
        drop(tasks.spawn(served));
    }
    drop(listener);
    ending.send_replace(true);
    let ended = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, ended).await.is_err() {
        tracing::debug!("stopped while requests were under way");
    }
}

/// Resolves when a stop was asked for, or the handle that could ask for it is gone.
pub async fn stop_requested(stop: &mut watch::Receiver<bool>) {
    while !*stop.borrow_and_update() {
        if stop.changed().await.is_err() {
            return;
        }
    }
}

/// The next connection, once there is room for it.
async fn accept(listener: &TcpListener, room: &Arc<Room>) -> (TcpStream, SocketAddr, Place) {
    loop {
        match listener.accept().await {
            // Listeners share the room: none keeps a place for whom it does not have yet.
            Ok((socket, from)) => return (socket, from, Room::enter(room).await),
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted, will try again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection until it ends, is closed for want of a byte or of room, or the server ends.
async fn one(
    socket: TcpStream,
    from: SocketAddr,
    place: Place,
    handler: Handler,
    mut ending: watch::Receiver<bool>,
) {
    let connection = place.connection();
    let io = TokioIo::new(Counted::new(socket, place));
    let answering = Arc::clone(&connection);
    let service = service_fn(move |request| {
        answer(Arc::clone(&answering), Arc::clone(&handler), from, request)
    });
    let http = hyper::server::conn::http1::Builder::new();
    let mut served = pin!(http.serve_connection(io, service).with_upgrades());
    let mut is_ending = false;
    loop {
        tokio::select! {
            ended = &mut served => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                }
                return;
            }
            () = connection.closed() => {
                tracing::debug!(%from, "closed a connection on which the client was silent");
                return;
            }
            () = stop_requested(&mut ending), if !is_ending => {
                is_ending = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn answer(
    connection: Arc<Connection>,
    handler: Handler,
    from: SocketAddr,
    request: http::Request<Incoming>,
) -> Result<Response, Infallible> {
    let owing = connection.owe();
    let mut request = request.map(|body| Asked::watch(body, Arc::clone(&connection)));
    request.extensions_mut().insert(ConnectInfo(from));
    let response = handler(request).await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        connection.upgrade();
    }
    Ok(response.map(|body| Body::new(Owed::new(body, owing))))
}
