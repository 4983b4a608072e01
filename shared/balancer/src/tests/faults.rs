//! What clients see when hosts fail, and what hosts see of what clients send.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use control::ports::{Balancers as _, Standing};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::Totals;
use super::{Load, World, version};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_dies_under_load_costs_at_most_what_it_had() {
    let world = World::new().await;
    let url = world.add(|_| {}).await;
    let (one, two) = (world.app(1), world.app(2));
    for (host, app) in [("host-1", &one), ("host-2", &two)] {
        world.admit("home:web", host, "OLD").await;
        app.does.delay_ms.store(20, Ordering::SeqCst);
    }
    let load = Load::start(&world, &url, 8);
    tokio::time::sleep(Duration::from_millis(600)).await;
    one.kill();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let standing = world.standing("home:web", "host-1").await;
    assert!(matches!(standing, Standing::Starting(Some(_))), "{standing:?}");
    let answers = load.end().await;
    let bad = answers.iter().filter(|answer| answer.is_err()).count();
    assert!(answers.len() > 200, "{}", answers.len());
    // Each of two hosts had about half of eight clients; none asks it a second time in vain.
    assert!(bad <= 8, "{bad} of {} failed", answers.len());
    assert!(answers.iter().all(|answer| !matches!(answer, Err(503))), "one host was there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_whose_health_fails_gets_no_traffic_however_many_requests_it_answers() {
    let world = World::new().await;
    let url = world.add(|_| {}).await;
    let (one, two) = (world.app(1), world.app(2));
    world.admit("home:web", "host-1", "OLD").await;
    world.admit("home:web", "host-2", "OLD").await;
    let load = Load::start(&world, &url, 4);
    one.does.health.store(503, Ordering::SeqCst);
    let said = format!(
        "127.{}.{}.1:{}/health answered 503, which is none of the healthy 200-399",
        world.net[1], world.net[2], world.target_port
    );
    world.until("home:web", "host-1", Standing::Starting(Some(said))).await;
    let (before, other) = (one.began(), two.began());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(one.began() <= before + 4, "it gets no more than what was on its way");
    assert!(two.began() > other + 4, "the other one has it all");
    one.does.health.store(200, Ordering::SeqCst);
    world.until("home:web", "host-1", Standing::In).await;
    assert!(load.end().await.iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_healthy_is_200_to_399_unless_told_otherwise() {
    for (told, status, expected) in [
        (None, 200, true),
        (None, 399, true),
        (None, 404, false),
        (None, 401, false),
        (None, 500, false),
        (Some("200,404"), 404, true),
        (Some("200,404"), 204, false),
        (Some("200-599"), 503, true),
    ] {
        let world = World::new().await;
        world.add(|s| s.health_status = told.map(|t| t.parse().unwrap()).unwrap_or_default()).await;
        let app = world.app(1);
        app.does.health.store(status, Ordering::SeqCst);
        world.traffic.admit("home:web", "host-1", &version("OLD")).await.unwrap();
        if expected {
            world.until("home:web", "host-1", Standing::In).await;
            continue;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let standing = world.standing("home:web", "host-1").await;
        let Standing::Starting(Some(said)) = &standing else { panic!("{status}: {standing:?}") };
        assert!(
            said.contains(&format!("answered {status}, which is none of the healthy")),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_a_host_refused_is_given_to_another_with_its_body() {
    let world = World::new().await;
    let url = world.add(|_| {}).await;
    let (one, _two) = (world.app(1), world.app(2));
    for host in ["host-1", "host-2"] {
        world.admit("home:web", host, "OLD").await;
    }
    one.kill();
    let body: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    for _ in 0..6 {
        let request = world.http.post(format!("{url}/echo")).body(body.clone());
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.bytes().await.unwrap() == body, "the body arrived as another one");
    }
    assert_eq!(world.home().totals("web").unwrap().own_errors, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_the_application_and_of_the_balancer_are_told_apart() {
    let world = World::new().await;
    let url = world.add(|_| {}).await;
    assert_eq!(world.get(&url).await, Err(503), "there is no host");
    let app = world.app(1);
    world.admit("home:web", "host-1", "OLD").await;
    assert!(world.get(&url).await.is_ok());
    app.does.bad_every.store(1, Ordering::SeqCst);
    assert_eq!(world.get(&url).await, Err(500));
    assert_eq!(world.get(&format!("{url}/broken")).await, Err(0), "the answer breaks off");
    let hanging = format!("{url}/reset");
    let hang = world.get(&hanging);
    let kill = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        app.kill();
    };
    let (hung, ()) = tokio::join!(hang, kill);
    assert_eq!(hung, Err(502), "the host died instead of answering");
    assert_eq!(world.get(&url).await, Err(503), "the host refuses");
    let expected = Totals { requests: 6, app_errors: 3, own_errors: 2 };
    assert_eq!(world.home().totals("web"), Some(expected));
    let found = world.home().measured("web", &version("OLD"), Duration::from_secs(60)).unwrap();
    assert_eq!((found.version.requests, found.version.errors, found.own_errors), (4, 3, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_flow_both_ways_while_they_are_written() {
    let world = World::new().await;
    let url = world.add(|_| {}).await;
    let _app = world.app(1);
    world.admit("home:web", "host-1", "OLD").await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let parts = futures::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|part| (part, receiver))
    });
    let body = reqwest::Body::wrap_stream(parts);
    sender.send(Ok(Bytes::from_static(b"first"))).await.unwrap();
    let mut response = world.http.post(format!("{url}/echo")).body(body).send().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().as_deref(), Some(&b"first"[..]));
    sender.send(Ok(Bytes::from_static(b"second"))).await.unwrap();
    assert_eq!(response.chunk().await.unwrap().as_deref(), Some(&b"second"[..]));
    drop(sender);
    assert_eq!(response.chunk().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_sees_who_asked_and_nothing_that_was_for_the_balancer() {
    let world = World::new().await;
    let url = world.add(|_| {}).await;
    let _app = world.app(1);
    world.admit("home:web", "host-1", "OLD").await;
    let request = world
        .http
        .get(format!("{url}/headers"))
        .header("host", "shop.example")
        .header("x-forwarded-for", "203.0.113.7")
        .header("connection", "x-hop")
        .header("x-hop", "secret")
        .header("x-end", "kept");
    let text = request.send().await.unwrap().text().await.unwrap();
    for line in ["host: shop.example", "x-forwarded-for: 203.0.113.7, 127.0.0.1", "x-end: kept"] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("x-hop"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_make_no_sense_are_refused_and_harm_nobody() {
    let world = World::new().await;
    let url = world.add(|_| {}).await;
    let _app = world.app(1);
    world.admit("home:web", "host-1", "OLD").await;
    let address = url.strip_prefix("http://").unwrap();
    let send = async |request: &[u8]| {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        tokio::time::timeout(Duration::from_secs(5), read).await.unwrap().unwrap();
        String::from_utf8_lossy(&answer).chars().take(12).collect::<String>()
    };
    let ask = async |request: &str| send(request.as_bytes()).await;
    let end = "Host: a\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(&format!("OPTIONS * HTTP/1.1\r\n{end}")).await, "HTTP/1.1 400");
    assert_eq!(ask(&format!("CONNECT a:1 HTTP/1.1\r\n{end}")).await, "HTTP/1.1 400");
    assert_eq!(ask("nonsense\r\n\r\n").await, "HTTP/1.1 400");
    assert_eq!(ask(&format!("GET //x?a=%zz|^ HTTP/1.1\r\n{end}")).await.len(), 12);
    assert_eq!(ask(&format!("GET http://other.example/x HTTP/1.1\r\n{end}")).await, "HTTP/1.1 200");
    assert_eq!(ask(&format!("GET http://other.example?x HTTP/1.1\r\n{end}")).await, "HTTP/1.1 200");
    let bytes =
        send(b"GET /\xff\xc3?\xfe HTTP/1.1\r\nHost: \xff\r\nConnection: close\r\n\r\n").await;
    assert!(["HTTP/1.1 200", "HTTP/1.1 400"].contains(&bytes.as_str()), "{bytes}");
    let chunked = format!(
        "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{end}5\r\nhello\r\nnonsense\r\n"
    );
    assert!(!ask(&chunked).await.starts_with("HTTP/1.1 50"));
    let upgrade = "Connection: upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n";
    assert_eq!(ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n")).await, "HTTP/1.1 200");
    assert_eq!(world.get(&url).await.as_deref(), Ok("host-1"));
    let totals = world.home().totals("web").unwrap();
    assert_eq!((totals.app_errors, totals.own_errors), (0, 0), "it was the clients' doing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_nonsense_after_its_answer_began_is_no_error_of_the_version() {
    let world = World::new().await;
    let url = world.add(|_| {}).await;
    let _app = world.app(1);
    world.admit("home:web", "host-1", "NEW").await;
    let mut stream = tokio::net::TcpStream::connect(&url["http://".len()..]).await.unwrap();
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello\r\n") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
    }
    stream.write_all(b"nonsense\r\n").await.unwrap();
    let end = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer));
    drop(end.await.expect("the connection ends"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let found = world.home().measured("web", &version("NEW"), Duration::from_secs(60)).unwrap();
    assert_eq!((found.version.requests, found.version.errors), (1, 0));
}
