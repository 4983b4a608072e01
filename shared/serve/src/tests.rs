//! A server with clients that are slow, silent and many.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::{StatusCode, header};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Room, router, serve};

/// How long a client may be silent here.
const PATIENCE: Duration = Duration::from_millis(400);
/// Clearly longer than that.
const LONG: Duration = Duration::from_secs(2);

static IS_GIVEN_UP: AtomicBool = AtomicBool::new(false);

/// Says when it is dropped.
struct GivenUp;

impl Drop for GivenUp {
    fn drop(&mut self) {
        IS_GIVEN_UP.store(true, Ordering::SeqCst);
    }
}

/// An answer without an end.
async fn endless() -> Response {
    let parts = futures::stream::unfold(GivenUp, async |held| {
        Some((Ok::<_, std::io::Error>(Bytes::from(vec![0; 65_536])), held))
    });
    Response::new(Body::from_stream(parts))
}

/// Leaves HTTP, and sends back what it gets.
async fn upgrade(request: Request) -> Response {
    let upgraded = hyper::upgrade::on(request);
    drop(tokio::spawn(async move {
        let mut io = hyper_util::rt::TokioIo::new(upgraded.await.unwrap());
        let mut byte = [0];
        while io.read_exact(&mut byte).await.is_ok() {
            io.write_all(&byte).await.unwrap();
        }
    }));
    let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, "echo")];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

async fn start(room: Arc<Room>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let slow = || async {
        tokio::time::sleep(LONG).await;
        "at last"
    };
    let routes = Router::new()
        .route("/", get(|| async { "here" }))
        .route("/slow", get(slow))
        .route("/length", post(|body: Bytes| async move { body.len().to_string() }))
        .route("/endless", get(endless))
        .route("/upgrade", get(upgrade));
    let never = std::future::pending();
    drop(tokio::spawn(serve(listener, room, router(routes), never, Duration::ZERO)));
    address
}

async fn connect(address: SocketAddr, said: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(said.as_bytes()).await.unwrap();
    stream
}

/// What comes until the server closes the connection, and how long that takes.
async fn until_closed(mut stream: TcpStream) -> (String, Duration) {
    let (began, mut answer) = (Instant::now(), Vec::new());
    let read = stream.read_to_end(&mut answer);
    // One that is closed with bytes unread is reset.
    drop(tokio::time::timeout(Duration::from_secs(20), read).await.expect("it is closed"));
    (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
}

const END: &str = "Host: a\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_client_that_is_silent_is_sent_away_at_any_point_of_a_request() {
    let address = start(Room::with_patience(10, PATIENCE)).await;
    let silent = [
        "",
        "GET / HTTP/1.1\r\nHost:",
        "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        "POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    let closed = silent.map(|said| async move { until_closed(connect(address, said).await).await });
    for (said, (answer, time)) in silent.iter().zip(futures::future::join_all(closed).await) {
        assert!(time >= PATIENCE * 9 / 10, "`{said}` was closed after {time:?}");
        assert_eq!(answer.contains("200 OK"), said.ends_with("a\r\n\r\n"), "`{said}`: {answer}");
    }
}

#[tokio::test]
async fn a_client_that_sends_a_byte_now_and_then_is_not() {
    let address = start(Room::with_patience(10, PATIENCE)).await;
    let head = "POST /length HTTP/1.1\r\nContent-Length: 6\r\n";
    let mut stream = connect(address, "").await;
    for part in [head, END, "a", "b", "c", "d", "e", "f"] {
        tokio::time::sleep(PATIENCE / 2).await;
        stream.write_all(part.as_bytes()).await.unwrap();
    }
    assert!(until_closed(stream).await.0.ends_with("\r\n\r\n6"));
}

#[tokio::test]
async fn whoever_is_owed_an_answer_may_wait_for_it() {
    let address = start(Room::with_patience(10, PATIENCE)).await;
    let stream = connect(address, &format!("GET /slow HTTP/1.1\r\n{END}")).await;
    assert!(until_closed(stream).await.0.ends_with("at last"));
}

#[tokio::test]
async fn an_upgraded_connection_may_be_silent_for_as_long_as_it_likes() {
    let room = Room::with_patience(1, PATIENCE);
    let address = start(room).await;
    let head = "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    let mut stream = connect(address, head).await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    tokio::time::sleep(LONG).await;
    stream.write_u8(b'x').await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'x');
    // It has the only place, until it ends.
    let mut other = connect(address, &format!("GET / HTTP/1.1\r\n{END}")).await;
    let mut byte = [0];
    let early = tokio::time::timeout(LONG, other.read(&mut byte)).await;
    assert!(early.is_err(), "there is no place: {early:?}");
    drop(stream);
    assert!(until_closed(other).await.0.ends_with("here"));
}

#[tokio::test]
async fn a_client_that_takes_no_answer_is_sent_away() {
    let address = start(Room::with_patience(10, PATIENCE)).await;
    let _stream = connect(address, "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let began = Instant::now();
    while !IS_GIVEN_UP.load(Ordering::SeqCst) {
        assert!(began.elapsed() < Duration::from_secs(20), "the answer is still kept");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(began.elapsed() >= PATIENCE);
}

#[tokio::test]
async fn where_it_is_full_the_silent_make_place_and_those_who_wait_for_an_answer_do_not() {
    let patience = Duration::from_secs(600);
    let address = start(Room::with_patience(3, patience)).await;
    let ask = format!("GET / HTTP/1.1\r\n{END}");
    let mut silent = Vec::new();
    for said in [
        "",
        "GET / HTTP/1.1\r\nHost",
        "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na",
    ] {
        silent.push(connect(address, said).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for _ in 0..20 {
        assert!(until_closed(connect(address, &ask).await).await.0.ends_with("here"));
    }
    let slow = format!("GET /slow HTTP/1.1\r\n{END}");
    let served: Vec<_> = futures::future::join_all(
        [&slow, &slow, &slow]
            .map(|said| async move { until_closed(connect(address, said).await).await }),
    )
    .await;
    assert!(served.iter().all(|(answer, _)| answer.ends_with("at last")), "{served:?}");
}
