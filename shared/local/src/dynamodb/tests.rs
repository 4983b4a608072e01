//! Home's DynamoDB through the AWS SDK, in this process and over the network.

use std::path::Path;
use std::sync::Arc;

use super::{DynamoDb, Error, Network, open, serve};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::AttributeValue;
use dynoxide::Database;
use serde_json::json;
use serve::sigv4::Keys;
use store::InProcess as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const SECRET: &str = "secret";

fn keys() -> Keys {
    Keys { access_key_id: "KEY".to_owned(), secret_access_key: SECRET.to_owned() }
}

fn client(server: &DynamoDb) -> Client {
    let s3 = "http://127.0.0.1:1".to_owned();
    let at = store::Endpoints { dynamodb: Arc::new(server.tables()), s3 };
    let keys = store::Keys { id: "KEY".to_owned(), secret: SECRET.to_owned() };
    store::home_clients(&at, &keys, "us-east-1").dynamodb
}

async fn on_network(server: &DynamoDb) -> Network {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    serve(server.tables(), keys(), listener).unwrap()
}

fn client_of(network: &Network, secret: &str) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("KEY", secret, None, None, "test"))
        .endpoint_url(network.endpoint_url())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

/// An item whose key is not there yet.
async fn put(client: &Client, key: &str) -> Result<(), aws_sdk_dynamodb::Error> {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let put = client.put_item().table_name("cutover").item("pk", text(key)).item("sk", text("a"));
    put.condition_expression("attribute_not_exists(pk)").send().await.map(drop).map_err(Into::into)
}

#[tokio::test]
async fn items_and_conditions_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.sqlite");
    let server = open(&file).await.unwrap();
    store::create_table(&client(&server), "cutover").await.unwrap();
    put(&client(&server), "one").await.unwrap();
    server.stop().await.unwrap();

    let server = open(&file).await.unwrap();
    let refused = put(&client(&server), "one").await.unwrap_err();
    assert_eq!(refused.code(), Some("ConditionalCheckFailedException"));
    let client = client(&server);
    server.stop().await.unwrap();
    assert!(put(&client, "two").await.is_err(), "it has stopped");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.sqlite");
    std::fs::write(&file, [7; 4096]).unwrap();
    assert!(matches!(open(&file).await, Err(Error::Open { .. })));
}

#[tokio::test]
async fn whoever_asks_the_table_over_the_network_has_signed() {
    let directory = tempfile::tempdir().unwrap();
    let server = open(&directory.path().join("state.sqlite")).await.unwrap();
    let network = on_network(&server).await;
    let good = client_of(&network, SECRET);
    store::create_table(&good, "cutover").await.unwrap();
    put(&good, "one").await.unwrap();
    assert!(put(&client(&server), "one").await.is_err(), "it is the same table");
    let refused = put(&client_of(&network, "another"), "two").await.unwrap_err();
    assert_eq!(refused.code(), Some("InvalidSignatureException"));
    let refused = good.list_tables().send().await.unwrap_err();
    assert_eq!(refused.code(), Some("UnknownOperationException"));
    let everywhere = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused = serve(server.tables(), keys(), everywhere);
    assert!(matches!(refused, Err(Error::NotLoopback(_))));
}

#[tokio::test]
async fn a_web_page_can_neither_ask_nor_read() {
    let directory = tempfile::tempdir().unwrap();
    let server = open(&directory.path().join("state.sqlite")).await.unwrap();
    let network = on_network(&server).await;
    store::create_table(&client(&server), "cutover").await.unwrap();
    let at = network.endpoint_url();
    let at = at.strip_prefix("http://").unwrap();
    for method in ["OPTIONS", "GET", "POST"] {
        let body = json!({ "TableName": "cutover" }).to_string();
        // The authorization is what the library takes for a signature.
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: {at}\r\nOrigin: http://page.example\r\nConnection: close\r\n\
             Access-Control-Request-Method: POST\r\nX-Amz-Target: DynamoDB_20120810.Scan\r\n\
             X-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 \
             Credential=a/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-date, Signature=0\r\n\
             Content-Type: application/x-amz-json-1.0\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(!answer.to_lowercase().contains("access-control"), "no other origin is let in");
        assert!(answer.contains("#UnrecognizedClientException"), "{answer}");
    }
}

/// How many stream records a file has, and how large it is.
fn recorded(file: &Path) -> (i64, u64) {
    let connection = rusqlite::Connection::open(file).unwrap();
    let count = connection.query_row("SELECT COUNT(*) FROM _stream_records", [], |row| row.get(0));
    (count.unwrap(), file.metadata().unwrap().len())
}

#[tokio::test]
async fn a_table_of_an_earlier_version_loses_its_stream_and_keeps_its_items() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.sqlite");
    let server = open(&file).await.unwrap();
    store::create_table(&client(&server), "cutover").await.unwrap();
    server.stop().await.unwrap();
    {
        let database = Database::new(file.to_str().unwrap()).unwrap();
        let stream = json!({
            "TableName": "cutover",
            "StreamSpecification": { "StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES" },
        });
        database.update_table(serde_json::from_value(stream).unwrap()).unwrap();
        for n in 0..50 {
            let item = json!({ "pk": { "S": n.to_string() }, "sk": { "S": "a" }, "b": { "S": "x".repeat(100_000) } });
            let put = json!({ "TableName": "cutover", "Item": item });
            database.put_item(serde_json::from_value(put).unwrap()).unwrap();
        }
    }
    let (records, size) = recorded(&file);
    assert_eq!(records, 50);

    let server = open(&file).await.unwrap();
    put(&client(&server), "new").await.unwrap();
    assert!(put(&client(&server), "7").await.is_err(), "what there was is there");
    let get = json!({ "TableName": "cutover", "Key": { "pk": { "S": "7" }, "sk": { "S": "a" } } });
    let (status, found) = server.tables().answer("GetItem", get.to_string().as_bytes()).await;
    assert_eq!((status, found.len() > 100_000), (200, true));
    server.stop().await.unwrap();
    let (records, smaller) = recorded(&file);
    assert_eq!(records, 0);
    assert!(smaller < size * 2 / 3, "{size} bytes became {smaller}");
}

#[tokio::test]
async fn what_has_expired_is_removed_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.sqlite");
    let server = open(&file).await.unwrap();
    let client = client(&server);
    store::create_table(&client, "cutover").await.unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let seconds = |at: u64| AttributeValue::N(at.to_string());
    for n in 0..120 {
        let put = client.put_item().table_name("cutover").item("pk", text(&format!("old \"{n}")));
        put.item("sk", text("a")).item("ttl", seconds(now - 1 - n)).send().await.unwrap();
    }
    for (key, expires) in [("later", Some(now + 1_000)), ("never", None)] {
        let put = client.put_item().table_name("cutover").item("pk", text(key));
        let put = put.item("sk", text("a"));
        let put = match expires {
            Some(at) => put.item("ttl", seconds(at)),
            None => put,
        };
        put.send().await.unwrap();
    }
    // Twice: the second time the index is there, and nothing is left to do.
    for _ in 0..2 {
        super::sweep(&server.tables(), &file).await;
        let left = client.scan().table_name("cutover").send().await.unwrap().items.unwrap();
        let mut left: Vec<_> = left.iter().map(|item| item["pk"].as_s().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["later", "never"]);
    }
}
