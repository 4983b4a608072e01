//! What a home is told of is tried before it starts, and what is wrong is said with what to do.

use axum::Router;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;

use super::super::{Haproxy, Outside, Prometheus, Socket};
use super::http;

/// Why a HAProxy with a backend `web` that has one server, whose socket is of that level, is refused for a backend.
async fn refused(level: &'static str, backend: &str) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut command = vec![0; 1_000];
            let count = stream.read(&mut command).await.unwrap();
            let answer = match String::from_utf8_lossy(&command[..count]).trim() {
                "show cli level" => level,
                "show servers state web" => {
                    "1\n# be_id be_name srv_id srv_name srv_op_state srv_admin_state\n3 web 1 host-1 2 0\n"
                }
                "show stat web 4 -1" => "# pxname,svname,scur,status,weight\nweb,host-1,0,UP,1\n",
                _ => "Can't find backend.\n",
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let said = check_haproxy(backend, Socket::Unix(path)).await;
    server.abort();
    said
}

async fn check_haproxy(backend: &str, socket: Socket) -> Option<String> {
    let haproxy = [(backend.to_owned(), Haproxy::new(socket))].into();
    check(&Outside { haproxy, prometheus: None }).await
}

/// What is said with all causes, as users read it.
async fn check(outside: &Outside) -> Option<String> {
    let error = outside.check().await.err()?;
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
    Some(causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

#[tokio::test]
async fn a_haproxy_is_taken_if_it_has_the_backend_and_lets_it_be_changed() {
    assert_eq!(check(&Outside::default()).await, None);
    assert_eq!(refused("admin\n", "web").await, None);
    let said = refused("operator\n", "web").await.unwrap();
    assert!(said.contains("(operator): add `level admin`"), "{said}");
    let said = refused("admin\n", "shop").await.unwrap();
    assert!(said.contains("add a section `backend shop` to haproxy.cfg"), "{said}");
    let said = refused("admin\n", "a;b").await.unwrap();
    assert!(said.contains("`a;b` cannot be the name of a backend"), "{said}");
}

#[tokio::test]
async fn a_socket_that_is_none_is_said_with_its_path_and_its_backend() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nothing.sock");
    let said = check_haproxy("web", Socket::Unix(path)).await.unwrap();
    for part in ["nothing.sock", "for the backend `web`", "start HAProxy", "No such file"] {
        assert!(said.contains(part), "{said}");
    }
    let path = dir.path().join("file");
    std::fs::write(&path, "").unwrap();
    let said = check_haproxy("web", Socket::Unix(path)).await.unwrap();
    assert!(said.contains("Connection refused"), "{said}");
}

#[tokio::test]
async fn a_prometheus_is_taken_if_it_answers_a_query() {
    let check_at = async |router: Router| {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/prom", listener.local_addr().unwrap());
        let server = tokio::spawn(async { axum::serve(listener, router).await });
        let prometheus = Some(Prometheus::new(http(), &url).unwrap());
        let said = check(&Outside { prometheus, ..Outside::default() }).await;
        server.abort();
        said.map(|said| said.replace(&url, "URL"))
    };
    let scalar =
        || async { r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"1"]}}"# };
    let path = "/prom/api/v1/query";
    assert_eq!(check_at(Router::new().route(path, axum::routing::post(scalar))).await, None);
    let said = check_at(Router::new()).await.unwrap();
    assert!(said.contains("the Prometheus at URL cannot be used: start it"), "{said}");
    assert!(said.contains("404 Not Found: check the address"), "{said}");
    let nobody = "http://127.0.0.1:1";
    let prometheus = Some(Prometheus::new(http(), nobody).unwrap());
    let said = check(&Outside { prometheus, ..Outside::default() }).await.unwrap();
    assert!(said.contains("does not answer") && said.contains("Connection refused"), "{said}");
}
