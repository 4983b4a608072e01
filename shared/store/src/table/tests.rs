//! The table against the embedded DynamoDB.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::{
    Clients, CreateError, DynamoTable, Endpoints, InProcess, Keys, Scope, create_table,
    home_clients,
};
use control::table::contract::check_table;
use control::table::{Condition, Index, Key, Query, Record, Table, TableError, Write};
use dynoxide::Database;
use serde_json::Value;

const TABLE: &str = "cutover";

struct Server {
    clients: Clients,
}

struct Embedded(Database);

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Embedded")
    }
}

#[async_trait::async_trait]
impl InProcess for Embedded {
    async fn answer(&self, operation: &str, body: &[u8]) -> (u16, String) {
        let body: Value = serde_json::from_slice(body).unwrap();
        macro_rules! ask {
            ($method:ident) => {
                self.0
                    .$method(serde_json::from_value(body).unwrap())
                    .map(|answer| serde_json::to_string(&answer).unwrap())
            };
        }
        let answer = match operation {
            "CreateTable" => ask!(create_table),
            "DescribeTable" => ask!(describe_table),
            "DescribeTimeToLive" => ask!(describe_time_to_live),
            "UpdateTimeToLive" => ask!(update_time_to_live),
            "GetItem" => ask!(get_item),
            "BatchGetItem" => ask!(batch_get_item),
            "Query" => ask!(query),
            "PutItem" => ask!(put_item),
            "DeleteItem" => ask!(delete_item),
            "TransactWriteItems" => ask!(transact_write_items),
            other => panic!("the table is asked for {other}"),
        };
        answer.map_or_else(|error| (error.status_code(), error.to_json()), |answer| (200, answer))
    }
}

/// A table that breaks down whatever is asked.
#[derive(Debug)]
struct Broken;

#[async_trait::async_trait]
impl InProcess for Broken {
    async fn answer(&self, _operation: &str, _body: &[u8]) -> (u16, String) {
        (500, r#"{"__type":"InternalServerError","message":"the disk is gone"}"#.to_owned())
    }
}

/// A table that does what it is asked, of which one answer to a write does not arrive, and what it was asked to write.
#[derive(Debug)]
struct Forgetful {
    table: Embedded,
    forgets: AtomicBool,
    asked: Mutex<Vec<Value>>,
}

#[async_trait::async_trait]
impl InProcess for Arc<Forgetful> {
    async fn answer(&self, operation: &str, body: &[u8]) -> (u16, String) {
        let answer = self.table.answer(operation, body).await;
        if ["PutItem", "DeleteItem", "TransactWriteItems"].contains(&operation) {
            self.asked.lock().unwrap().push(serde_json::from_slice(body).unwrap());
            if self.forgets.swap(false, Ordering::SeqCst) {
                return Broken.answer(operation, body).await;
            }
        }
        answer
    }
}

fn clients(dynamodb: impl InProcess) -> Clients {
    let s3 = "http://127.0.0.1:1".to_owned();
    let endpoints = Endpoints { dynamodb: Arc::new(dynamodb), s3 };
    let keys = Keys { id: "key".to_owned(), secret: "secret".to_owned() };
    home_clients(&endpoints, &keys, "eu-west-1")
}

async fn serve() -> Server {
    let clients = clients(Embedded(Database::memory().unwrap()));
    create_table(&clients.dynamodb, TABLE).await.unwrap();
    Server { clients }
}

fn table(server: &Server, region: &str) -> DynamoTable {
    let scope = Scope::new("000000000000", region).unwrap();
    DynamoTable::new(server.clients.dynamodb.clone(), TABLE, scope)
}

fn record(sort: &str, body: String) -> Record {
    let key = Key::new("part", sort);
    let (listed, waking) = (Some(Key::new("list", sort)), None);
    Record { key, schema: 1, version: 1, body, listed, waking, expires_at: None, wakes: false }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_keeps_its_contract() {
    let server = serve().await;
    check_table(&table(&server, "eu-west-1")).await;
}

#[tokio::test]
async fn scopes_in_one_table_do_not_see_each_other() {
    let server = serve().await;
    let (here, there) = (table(&server, "eu-west-1"), table(&server, "eu-west-2"));
    let mine = record("a", "{}".to_owned());
    here.write(&[Write::Put(mine.clone(), Condition::Absent)]).await.unwrap();
    assert_eq!(there.get(&mine.key).await.unwrap(), None);
    assert_eq!(there.query(&Query::prefix("part", "", 10)).await.unwrap().items, []);
    let listed = Query::prefix("list", "", 10);
    assert_eq!(there.query_index(Index::Listed, &listed).await.unwrap().items, []);
    let found = here.query_index(Index::Listed, &listed).await.unwrap().items;
    assert_eq!(found, std::slice::from_ref(&mine.key));
    there.write(&[Write::Put(mine, Condition::Absent)]).await.unwrap();
}

#[tokio::test]
async fn a_record_that_is_too_large_is_refused_alone_and_in_a_transaction() {
    let server = serve().await;
    let table = table(&server, "eu-west-1");
    let large = Write::Put(record("large", "z".repeat(401 << 10)), Condition::None);
    let small = Write::Put(record("small", "{}".to_owned()), Condition::None);
    for writes in [&[large.clone()][..], &[small.clone(), large]] {
        let outcome = table.write(writes).await;
        assert!(matches!(outcome, Err(TableError::Refused(_))), "{outcome:?}");
    }
    let mut nameless = record("", "{}".to_owned());
    nameless.listed = None;
    let outcome = table.write(&[Write::Put(nameless, Condition::None)]).await;
    assert!(matches!(outcome, Err(TableError::Refused(_))), "{outcome:?}");
    assert_eq!(table.query(&Query::prefix("part", "", 10)).await.unwrap().items, []);
    let none = table.query(&Query::prefix("part", "", 0)).await;
    assert!(matches!(none, Err(TableError::Refused(_))), "{none:?}");
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_known_again_as_ones_own() {
    let server = Arc::new(Forgetful {
        table: Embedded(Database::memory().unwrap()),
        forgets: AtomicBool::new(false),
        asked: Mutex::default(),
    });
    let clients = clients(Arc::clone(&server));
    create_table(&clients.dynamodb, TABLE).await.unwrap();
    let scope = Scope::new("000000000000", "eu-west-1").unwrap();
    let table = DynamoTable::new(clients.dynamodb.clone(), TABLE, scope);
    let version = |version| Record { version, ..record("a", "{}".to_owned()) };
    let (key, other) = (version(1).key, record("b", "{}".to_owned()));
    let gone = other.key.clone();
    for writes in [
        vec![Write::Put(version(1), Condition::Absent)],
        vec![Write::Put(version(2), Condition::Version(1))],
        vec![Write::Put(version(3), Condition::Exists)],
        vec![Write::Put(version(4), Condition::None)],
        vec![Write::Put(version(5), Condition::Version(4)), Write::Put(other, Condition::Absent)],
        vec![Write::Delete(gone, Condition::Exists)],
        vec![Write::Delete(key.clone(), Condition::Version(5))],
        vec![Write::Delete(key.clone(), Condition::None)],
    ] {
        server.asked.lock().unwrap().clear();
        server.forgets.store(true, Ordering::SeqCst);
        table.write(&writes).await.unwrap_or_else(|error| panic!("{writes:?}: {error:?}"));
        let asked = server.asked.lock().unwrap().clone();
        let [first, second] = asked.as_slice() else { panic!("asked {} times", asked.len()) };
        assert_eq!(first, second, "it is the same request, with the same token or mark");
    }
    assert_eq!(table.get(&key).await.unwrap(), None);
    // What somebody else has written is a conflict, also with equal content.
    table.write(&[Write::Put(version(1), Condition::Absent)]).await.unwrap();
    for condition in [Condition::Absent, Condition::Version(0)] {
        for write in [Write::Put(version(1), condition), Write::Delete(key.clone(), condition)] {
            let outcome = table.write(&[write]).await;
            assert!(matches!(&outcome, Err(TableError::Conflict(at)) if *at == key), "{outcome:?}");
        }
    }
    assert_eq!(table.get(&key).await.unwrap(), Some(version(1)), "and its mark is no part of it");
}

#[tokio::test]
async fn a_table_that_breaks_down_is_unavailable() {
    let clients = clients(Broken);
    let scope = Scope::new("000000000000", "eu-west-1").unwrap();
    let table = DynamoTable::new(clients.dynamodb.clone(), TABLE, scope);
    let record = record("a", "{}".to_owned());
    let key = record.key.clone();
    let read = table.get(&key).await;
    assert!(matches!(read, Err(TableError::Unavailable(_))), "{read:?}");
    let check = Write::Check(Key::new("other", "b"), Condition::Absent);
    let write = table.write(&[Write::Put(record, Condition::None), check]).await;
    assert!(matches!(write, Err(TableError::Unavailable(_))), "{write:?}");
    let many = table.get_many(&[key]).await;
    assert!(matches!(many, Err(TableError::Unavailable(_))), "{many:?}");
    let created = create_table(&clients.dynamodb, TABLE).await;
    assert!(matches!(created, Err(CreateError::Call { .. })), "{created:?}");
}

#[tokio::test]
async fn a_table_is_created_once_with_indexes_and_expiry() {
    let server = serve().await;
    let client = &server.clients.dynamodb;
    let kept = table(&server, "eu-west-1");
    let record = record("a", "{}".to_owned());
    kept.write(&[Write::Put(record.clone(), Condition::Absent)]).await.unwrap();
    create_table(client, TABLE).await.unwrap();
    assert_eq!(kept.get(&record.key).await.unwrap(), Some(record));

    let made = client.describe_table().table_name(TABLE).send().await.unwrap().table.unwrap();
    assert_eq!(made.stream_specification, None, "at home nobody reads a stream");
    let mut indexes: Vec<_> =
        made.global_secondary_indexes.unwrap().into_iter().filter_map(|i| i.index_name).collect();
    indexes.sort();
    assert_eq!(indexes, ["listed", "waking"]);
    let expiry = client.describe_time_to_live().table_name(TABLE).send().await.unwrap();
    let expiry = expiry.time_to_live_description.unwrap();
    assert_eq!(expiry.attribute_name.as_deref(), Some("ttl"));

    let scope = Scope::new("000000000000", "eu-west-1").unwrap();
    let missing = DynamoTable::new(client.clone(), "missing", scope);
    let outcome = missing.get(&Key::new("a", "b")).await;
    assert!(matches!(outcome, Err(TableError::Refused(_))), "{outcome:?}");
}
