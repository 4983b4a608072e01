//! HAProxy's answers that a test cannot easily get from the real one, which is tried in the whole-system tests.

use control::ports::{BalancerError, Balancers as _, Standing};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::{Haproxy, HomeTraffic, Outside, Socket};
use super::{World, version};

const STATE: &str =
    "1\n# be_id be_name srv_id srv_name srv_op_state srv_admin_state\n3 web 1 host-1 2 0\n\n";
const STAT: &str =
    "# pxname,svname,scur,status,weight,check_status,last_chk,\nweb,host-1,0,UP,1,L7OK,,\n\n";

/// A HAProxy for every name that the tests use.
fn outside(socket: Socket) -> Outside {
    let names = ["web", "web;shutdown sessions", "web\nquit", ""];
    let haproxy = names.map(|name| (name.to_owned(), Haproxy::new(socket.clone())));
    Outside { haproxy: haproxy.into(), prometheus: None }
}

/// What comes of admitting `host-1` where commands are answered so; none for one that is never answered.
async fn admit(group: &str, answer: fn(&str) -> Option<&'static str>) -> Result<(), BalancerError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = Socket::Tcp(listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let mut silent = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut command = vec![0; 1_000];
            let count = stream.read(&mut command).await.unwrap();
            match answer(&String::from_utf8_lossy(&command[..count])) {
                Some(text) => stream.write_all(text.as_bytes()).await.unwrap(),
                None => silent.push(stream),
            }
        }
    });
    let world = World::new().await;
    let traffic = HomeTraffic { outside: outside(socket), ..world.traffic.clone() };
    let admitted = traffic.admit(group, "host-1", &version("NEW")).await;
    server.abort();
    admitted
}

fn answer(command: &str) -> Option<&'static str> {
    match command {
        "show servers state web\n" => Some(STATE),
        "show stat web 4 -1\n" => Some(STAT),
        "set server web/host-1 health down;set server web/host-1 state ready\n" => Some("\n"),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_command_that_is_answered_with_words_was_refused() {
    admit("haproxy:web", answer).await.unwrap();
    let refuse = |command: &str| match command.strip_prefix("set") {
        Some(_) => Some("Permission denied\n\n"),
        None => answer(command),
    };
    let error = admit("haproxy:web", refuse).await.unwrap_err();
    assert!(matches!(error, BalancerError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("`Permission denied`: add `level admin`"), "{error}");
}

#[tokio::test]
async fn a_server_without_checks_is_not_called_down_as_nothing_would_call_it_up() {
    let unchecked = |command: &str| match command {
        "show stat web 4 -1\n" => {
            Some("# pxname,svname,scur,status,weight,check_status\nweb,host-1,0,no check,1,\n")
        }
        "set server web/host-1 state ready\n" => Some("\n"),
        other => answer(other),
    };
    admit("haproxy:web", unchecked).await.unwrap();
}

#[tokio::test]
async fn a_drain_that_never_ends_holds_a_deployment_for_a_while_only() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = Socket::Tcp(listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut command = vec![0; 1_000];
            let count = stream.read(&mut command).await.unwrap();
            let answer = match &command[..count] {
                b"show servers state web\n" => STATE.replace("host-1 2 0", "host-1 2 8"),
                _ => STAT.replace("host-1,0,UP", "host-1,2,DRAIN"),
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let world = World::new().await;
    let patience = std::time::Duration::from_millis(700);
    let haproxy = Haproxy::new(socket).with_drain(patience);
    let haproxy = [("web".to_owned(), haproxy)].into();
    let outside = Outside { haproxy, prometheus: None };
    let world = World { traffic: HomeTraffic { outside, ..world.traffic.clone() }, ..world };
    let began = std::time::Instant::now();
    assert_eq!(world.standing("haproxy:web", "host-1").await, Standing::Draining);
    world.until("haproxy:web", "host-1", Standing::Out).await;
    assert!(began.elapsed() >= patience);
    server.abort();
}

#[tokio::test]
async fn a_haproxy_that_is_silent_or_gone_is_unavailable() {
    let error = admit("haproxy:web", |_| None).await.unwrap_err();
    assert!(matches!(error, BalancerError::Unavailable { .. }), "{error}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("no answer within 2 s"), "{source}");
    let world = World::new().await;
    let socket = Socket::Unix(world.dir.path().join("admin.sock"));
    let traffic = HomeTraffic { outside: outside(socket), ..world.traffic.clone() };
    let error = traffic.check("haproxy:web").await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("admin.sock of HAProxy cannot be used"), "{source}");
}

#[tokio::test]
async fn a_name_that_would_be_a_command_never_reaches_haproxy() {
    for group in
        ["haproxy:web;shutdown sessions", "haproxy:web\nquit", "haproxy:", "haproxy:web/a b"]
    {
        let error = admit(group, |command| panic!("{command}")).await.unwrap_err();
        assert!(matches!(error, BalancerError::Unknown { .. }), "{group}: {error}");
    }
    let error = admit("haproxy:web/blue-", answer).await.unwrap_err();
    assert!(error.to_string().contains("add `server blue-host-1 ADDRESS:PORT check`"), "{error}");
}
