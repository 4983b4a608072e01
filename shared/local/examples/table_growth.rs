//! `cargo run --release -p local --example table_growth`: what a write to a home's table costs at first, and after 20,000
//! of them.
#![expect(clippy::print_stdout, reason = "it is a command line tool")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use control::table::{Condition, Key, Record, Table as _, Write};
use store::{DynamoTable, Scope};

const WRITES: usize = 20_000;
/// How many of them make a figure.
const PART: usize = 1_000;
/// About the size of a deployment's row.
const BODY: usize = 2_000;

/// A row that is listed, and one that changes with it.
fn records(number: usize) -> [Record; 2] {
    let body = "x".repeat(BODY);
    let key = Key::new(format!("D#{number:08}"), "META");
    let listed = Some(Key::new("listed", format!("{number:08}")));
    let (schema, version, waking, expires_at) = (1, 1, None, None);
    let row = |key, listed, wakes, body| Record {
        key,
        schema,
        version,
        body,
        listed,
        waking: Clone::clone(&waking),
        expires_at,
        wakes,
    };
    [row(key, listed, true, body.clone()), row(Key::new("group", "STATE"), None, false, body)]
}

fn median(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    times.get(times.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let place = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let place = std::path::Path::new(&place).join(format!("table-growth-{}", std::process::id()));
    std::fs::create_dir(&place)?;
    let server = local::dynamodb::open(&place.join("state.sqlite")).await?;
    let at = store::Endpoints { dynamodb: Arc::new(server.tables()), s3: "http://none".to_owned() };
    let keys = store::Keys { id: "key".to_owned(), secret: "secret".to_owned() };
    let clients = store::home_clients(&at, &keys, "us-east-1");
    store::create_table(&clients.dynamodb, "cutover").await?;
    let scope = Scope::new("000000000000", "us-east-1")?;
    let table = DynamoTable::new(clients.dynamodb, "cutover", scope);
    let mut times = Vec::with_capacity(WRITES);
    for number in 0..WRITES {
        let [row, state] = records(number);
        let writes = [Write::Put(row, Condition::Absent), Write::Put(state, Condition::None)];
        let began = Instant::now();
        table.write(&writes).await?;
        times.push(began.elapsed());
    }
    let (first, last) = (times.get(..PART), times.get(WRITES - PART..));
    println!("{WRITES} writes of two rows each, median of a thousand");
    println!("the first thousand  {:>8.3} ms", median(first.unwrap_or_default()));
    println!("the last thousand   {:>8.3} ms", median(last.unwrap_or_default()));
    server.stop().await?;
    std::fs::remove_dir_all(&place)?;
    Ok(())
}
