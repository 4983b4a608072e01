//! What every table must do, as one function for the tests of its implementations.
//!
//! Indexes are expected to be up to date as soon as a write has returned, as those of the embedded and of the
//! simulator's table are.

use futures::future::join_all;

use super::*;

/// Holds `table` against the contract of [`Table`]. It must be empty, and is left with records in it.
///
/// # Panics
/// At the first thing that is not as it must be.
pub async fn check_table(table: &dyn Table) {
    records_come_back_as_they_were_put(table).await;
    each_condition_holds_or_conflicts(table).await;
    a_transaction_does_all_or_nothing(table).await;
    a_page_of_hosts_is_written_under_a_check(table).await;
    exactly_one_of_racing_writers_wins(table).await;
    many_keys_are_read_at_once(table).await;
    pages_cover_a_partition_in_both_directions(table).await;
    ranges_select_by_prefix_or_between(table).await;
    indexes_follow_their_records(table).await;
    pages_hold_their_limit_when_records_are_large(table).await;
    foreign_tokens_are_refused(table).await;
    too_many_writes_are_refused(table).await;
}

async fn records_come_back_as_they_were_put(table: &dyn Table) {
    let key = Key::new("contract#round", "meta");
    assert_eq!(read(table, &key).await, None, "a table begins empty");
    let full = Record {
        key: key.clone(),
        schema: 3,
        version: u64::MAX,
        body: format!("{{\"text\":\"ä \\u0000 🙂 {}\"}}", "x".repeat(300 * 1024)),
        listed: Some(Key::new("contract#group", "1")),
        waking: Some(Key::new("contract#wake", "2")),
        expires_at: Some(Timestamp(4_102_444_800_000)),
        wakes: true,
    };
    write(table, &[Write::Put(full.clone(), Condition::None)]).await;
    assert_eq!(read(table, &key).await.as_ref(), Some(&full), "all of a record is kept");
    let bare = record(key.clone(), 7);
    write(table, &[Write::Put(bare.clone(), Condition::None)]).await;
    assert_eq!(read(table, &key).await.as_ref(), Some(&bare), "a put leaves nothing of the old");
    assert_eq!(all_keys(table, Index::Listed, &prefix("contract#group", "")).await, []);
    write(table, &[Write::Delete(key.clone(), Condition::None)]).await;
    assert_eq!(read(table, &key).await, None);
    write(table, &[Write::Delete(key, Condition::None)]).await;
    write(table, &[]).await;
}

async fn each_condition_holds_or_conflicts(table: &dyn Table) {
    let key = Key::new("contract#conditions", "one");
    let put = |version, condition| Write::Put(record(key.clone(), version), condition);
    let delete = |condition| Write::Delete(key.clone(), condition);
    let check = |condition| Write::Check(key.clone(), condition);

    for condition in [Condition::Exists, Condition::Version(0), Condition::Version(1)] {
        for absent in [put(1, condition), delete(condition), check(condition)] {
            conflict(table, &[absent], &key).await;
        }
    }
    write(table, &[check(Condition::Absent)]).await;
    write(table, &[check(Condition::None)]).await;
    assert_eq!(read(table, &key).await, None, "a check writes nothing");

    write(table, &[put(1, Condition::Absent)]).await;
    for condition in [Condition::Absent, Condition::Version(2)] {
        for there in [put(9, condition), delete(condition), check(condition)] {
            conflict(table, &[there], &key).await;
        }
    }
    for condition in [Condition::None, Condition::Exists, Condition::Version(1)] {
        write(table, &[check(condition)]).await;
    }
    assert_eq!(version_of(table, &key).await, Some(1), "what conflicts writes nothing");
    write(table, &[put(2, Condition::Version(1))]).await;
    write(table, &[put(3, Condition::Exists)]).await;
    // The version is what the writer says it is, not a count.
    write(table, &[put(2, Condition::None)]).await;
    write(table, &[delete(Condition::Version(2))]).await;
    assert_eq!(read(table, &key).await, None);
}

async fn a_transaction_does_all_or_nothing(table: &dyn Table) {
    let key = |sort: &str| Key::new("contract#transaction", sort);
    let (a, b, c) = (key("a"), key("b"), key("c"));
    write(table, &[Write::Put(record(b.clone(), 5), Condition::Absent)]).await;
    let writes = |version| {
        [
            Write::Put(record(a.clone(), 1), Condition::Absent),
            Write::Put(record(b.clone(), 6), Condition::Version(version)),
            Write::Check(c.clone(), Condition::Absent),
        ]
    };
    conflict(table, &writes(4), &b).await;
    assert_eq!(version_of(table, &a).await, None, "nothing of a failed transaction is written");
    assert_eq!(version_of(table, &b).await, Some(5));
    write(table, &writes(5)).await;
    assert_eq!(version_of(table, &a).await, Some(1));
    assert_eq!(version_of(table, &b).await, Some(6));
    let moved = [
        Write::Delete(a.clone(), Condition::Version(1)),
        Write::Put(record(c.clone(), 1), Condition::Absent),
        Write::Check(b.clone(), Condition::None),
    ];
    write(table, &moved).await;
    assert_eq!(version_of(table, &a).await, None);
    conflict(table, &moved, &a).await;
}

async fn a_page_of_hosts_is_written_under_a_check(table: &dyn Table) {
    let meta = Key::new("contract#enrol", "meta");
    write(table, &[Write::Put(record(meta.clone(), 1), Condition::Absent)]).await;
    let page = |version| {
        let host = |at: usize| record(Key::new("contract#enrol", format!("host#{at:05}")), 1);
        let mut writes = vec![Write::Check(meta.clone(), Condition::Version(version))];
        writes.extend((1..TRANSACTION_MAX).map(|at| Write::Put(host(at), Condition::Absent)));
        writes
    };
    conflict(table, &page(2), &meta).await;
    write(table, &page(1)).await;
    let hosts = all(table, &prefix("contract#enrol", "host#")).await;
    assert_eq!(hosts.len(), TRANSACTION_MAX - 1);
    // Replayed, the page erases nothing.
    conflict(table, &page(1), &Key::new("contract#enrol", "host#00001")).await;
}

async fn exactly_one_of_racing_writers_wins(table: &dyn Table) {
    let key = Key::new("contract#race", "row");
    let other = |writer: usize| Key::new("contract#race", format!("own#{writer}"));
    write(table, &[Write::Put(record(key.clone(), 1), Condition::Absent)]).await;
    for round in 1..=5 {
        let racers = (0..8).map(|writer| {
            let mut next = record(key.clone(), round + 1);
            next.body = format!("{{\"writer\":{writer}}}");
            let mut writes = vec![Write::Put(next, Condition::Version(round))];
            if writer % 2 == 1 {
                writes.push(Write::Put(record(other(writer), round), Condition::None));
            }
            async move { (writer, table.write(&writes).await) }
        });
        let mut winners = Vec::new();
        for (writer, outcome) in join_all(racers).await {
            match outcome {
                Ok(()) => winners.push(writer),
                Err(TableError::Conflict(at)) => {
                    assert!(at == key || at == other(writer), "a conflict names what was written");
                }
                Err(error) => panic!("a racing write failed: {error:?}"),
            }
        }
        let row = read(table, &key).await;
        let [winner] = winners.as_slice() else { panic!("{winners:?} all won round {round}") };
        let body = row.map(|row| (row.version, row.body));
        assert_eq!(body, Some((round + 1, format!("{{\"writer\":{winner}}}"))));
    }
}

async fn many_keys_are_read_at_once(table: &dyn Table) {
    let key = |at: usize| Key::new(format!("contract#many#{}", at % 7), format!("{at:04}"));
    put_all(table, (0..250).map(|at| record(key(at), 1))).await;
    let mut wanted: Vec<Key> = (0..260).map(key).collect();
    wanted.push(key(3));
    let mut found: Vec<Key> = match table.get_many(&wanted).await {
        Ok(records) => records.into_iter().map(|record| record.key).collect(),
        Err(error) => panic!("reading many keys failed: {error:?}"),
    };
    found.sort();
    let mut expected: Vec<Key> = (0..250).map(key).collect();
    expected.sort();
    assert_eq!(found, expected, "each record once, those that are not there left out");
    assert!(matches!(table.get_many(&[]).await, Ok(none) if none.is_empty()));
}

async fn pages_cover_a_partition_in_both_directions(table: &dyn Table) {
    let sorts: Vec<String> = (0..250).map(|at| format!("{at:04}")).collect();
    let key = |sort: &String| Key::new("contract#pages", sort);
    put_all(
        table,
        sorts.iter().map(|sort| {
            let mut record = record(key(sort), 1);
            record.listed = Some(Key::new("contract#pages-listed", format!("at#{sort}")));
            record
        }),
    )
    .await;
    let forward: Vec<Key> = sorts.iter().map(key).collect();
    let backward: Vec<Key> = sorts.iter().rev().map(key).collect();
    for (descending, expected) in [(false, forward), (true, backward)] {
        for limit in [1000, 100, 50, 7] {
            let query = |partition: &str, text: &str| Query {
                limit,
                descending,
                ..prefix(partition, text)
            };
            let found = all(table, &query("contract#pages", "")).await;
            let keys: Vec<Key> = found.into_iter().map(|record| record.key).collect();
            assert_eq!(keys, expected, "limit {limit}, descending {descending}");
            let listed = query("contract#pages-listed", "at#");
            assert_eq!(all_keys(table, Index::Listed, &listed).await, expected);
        }
    }
    assert_eq!(all(table, &prefix("contract#nobody", "")).await, []);
}

async fn ranges_select_by_prefix_or_between(table: &dyn Table) {
    let sorts = ["a", "a#1", "a#2", "b", "b#1", "é"];
    let partition = "contract#ranges";
    put_all(table, sorts.map(|sort| record(Key::new(partition, sort), 1))).await;
    // A longer partition with the same beginning is another one.
    put_all(table, [record(Key::new("contract#ranges#a", "a"), 1)]).await;
    let between = |low: &str, high: &str| SortRange::Between(low.to_owned(), high.to_owned());
    let cases = [
        (SortRange::Prefix(String::new()), &sorts[..]),
        (SortRange::Prefix("a".to_owned()), &["a", "a#1", "a#2"]),
        (SortRange::Prefix("a#".to_owned()), &["a#1", "a#2"]),
        (SortRange::Prefix("é".to_owned()), &["é"]),
        (SortRange::Prefix("c".to_owned()), &[]),
        (between("a#2", "b"), &["a#2", "b"]),
        (between("b", "b"), &["b"]),
        (between("", "a"), &["a"]),
        (between("a#3", "az"), &[]),
        (between("b", "a"), &[]),
        (between("", ""), &[]),
    ];
    for (range, expected) in cases {
        let query = Query { range, ..prefix(partition, "") };
        let found = all(table, &query).await;
        let found: Vec<&str> = found.iter().map(|record| record.key.sort.as_str()).collect();
        assert_eq!(found, expected, "{:?}", query.range);
    }
}

async fn indexes_follow_their_records(table: &dyn Table) {
    let key = Key::new("contract#indexed", "meta");
    let listed = prefix("contract#index-group", "");
    let waking = |until: &str| Query {
        range: SortRange::Between(String::new(), until.to_owned()),
        ..prefix("contract#index-waking", "")
    };
    let mut row = record(key.clone(), 1);
    row.listed = Some(Key::new("contract#index-group", "2026"));
    row.waking = Some(Key::new("contract#index-waking", "0100"));
    write(table, &[Write::Put(row.clone(), Condition::Absent)]).await;
    // Two records at one place of an index are both found.
    let mut twin = record(Key::new("contract#indexed", "twin"), 1);
    twin.listed.clone_from(&row.listed);
    write(table, &[Write::Put(twin.clone(), Condition::Absent)]).await;
    let mut found = all_keys(table, Index::Listed, &listed).await;
    found.sort();
    let here = [key.clone()];
    assert_eq!(found, [key.clone(), twin.key]);
    assert_eq!(all_keys(table, Index::Waking, &waking("0099")).await, []);
    assert_eq!(all_keys(table, Index::Waking, &waking("0100")).await, here);

    row.waking = Some(Key::new("contract#index-waking", "0200"));
    write(table, &[Write::Put(row.clone(), Condition::Exists)]).await;
    assert_eq!(all_keys(table, Index::Waking, &waking("0199")).await, []);
    assert_eq!(all_keys(table, Index::Waking, &waking("0200")).await, here);
    row.waking = None;
    write(table, &[Write::Put(row, Condition::Exists)]).await;
    assert_eq!(all_keys(table, Index::Waking, &waking("9")).await, []);
    write(table, &[Write::Delete(key, Condition::Exists)]).await;
    assert_eq!(all_keys(table, Index::Listed, &listed).await.len(), 1);
}

async fn pages_hold_their_limit_when_records_are_large(table: &dyn Table) {
    for at in 0..8 {
        let mut large = record(Key::new("contract#large", format!("{at}")), 1);
        large.body = format!("\"{}\"", "y".repeat(300 * 1024));
        write(table, &[Write::Put(large, Condition::Absent)]).await;
    }
    let query = Query { limit: 6, ..prefix("contract#large", "") };
    let first = page(table, &query).await;
    assert_eq!(first.items.len(), 6, "a page is not cut short by its size");
    let rest = page(table, &Query { after: first.next, ..query }).await;
    let sorts: Vec<&str> = rest.items.iter().map(|record| record.key.sort.as_str()).collect();
    assert_eq!((sorts.as_slice(), rest.next), (["6", "7"].as_slice(), None));
    let keys: Vec<Key> = (0..8).map(|at| Key::new("contract#large", format!("{at}"))).collect();
    assert!(matches!(table.get_many(&keys).await, Ok(all) if all.len() == 8));
}

async fn foreign_tokens_are_refused(table: &dyn Table) {
    let query = Query { limit: 10, ..prefix("contract#pages", "") };
    let listed = Query { limit: 10, ..prefix("contract#pages-listed", "") };
    let token = page(table, &query).await.next;
    assert!(token.is_some());
    let elsewhere = Query { after: token.clone(), ..prefix("contract#enrol", "") };
    let nonsense = Query { after: Some("nonsense".to_owned()), ..query.clone() };
    let empty = Query { after: Some(String::new()), ..query };
    for foreign in [elsewhere, nonsense.clone(), empty] {
        let outcome = table.query(&foreign).await;
        assert!(matches!(outcome, Err(TableError::Refused(_))), "{outcome:?}");
    }
    for after in [token, nonsense.after] {
        let outcome = table.query_index(Index::Listed, &Query { after, ..listed.clone() }).await;
        assert!(matches!(outcome, Err(TableError::Refused(_))), "{outcome:?}");
    }
}

async fn too_many_writes_are_refused(table: &dyn Table) {
    let key = |at: usize| Key::new("contract#too-many", format!("{at}"));
    let put = |at| Write::Put(record(key(at), 1), Condition::None);
    let writes: Vec<Write> = (0..=TRANSACTION_MAX).map(put).collect();
    let outcome = table.write(&writes).await;
    assert!(matches!(outcome, Err(TableError::Refused(_))), "{outcome:?}");
    let twice = table.write(&[put(1), put(1)]).await;
    assert!(matches!(twice, Err(TableError::Refused(_))), "{twice:?}");
    assert_eq!(all(table, &prefix("contract#too-many", "")).await, []);
}

fn record(key: Key, version: u64) -> Record {
    let body = "{}".to_owned();
    let (listed, waking, expires_at) = (None, None, None);
    Record { key, schema: 1, version, body, listed, waking, expires_at, wakes: false }
}

fn prefix(partition: &str, prefix: &str) -> Query {
    Query::prefix(partition, prefix, 1000)
}

async fn read(table: &dyn Table, key: &Key) -> Option<Record> {
    match table.get(key).await {
        Ok(record) => record,
        Err(error) => panic!("reading {key:?} failed: {error:?}"),
    }
}

async fn version_of(table: &dyn Table, key: &Key) -> Option<u64> {
    read(table, key).await.map(|record| record.version)
}

async fn write(table: &dyn Table, writes: &[Write]) {
    if let Err(error) = table.write(writes).await {
        panic!("{:?} failed: {error:?}", writes.first());
    }
}

async fn put_all(table: &dyn Table, records: impl IntoIterator<Item = Record>) {
    let put = |record| Write::Put(record, Condition::Absent);
    let writes: Vec<Write> = records.into_iter().map(put).collect();
    for part in writes.chunks(TRANSACTION_MAX) {
        write(table, part).await;
    }
}

async fn conflict(table: &dyn Table, writes: &[Write], key: &Key) {
    match table.write(writes).await {
        Err(TableError::Conflict(at)) => assert_eq!(at, *key, "the conflict names the record"),
        outcome => panic!("no conflict at {key:?} but {outcome:?}"),
    }
}

async fn page(table: &dyn Table, query: &Query) -> Page<Record> {
    match table.query(query).await {
        Ok(page) => page,
        Err(error) => panic!("{query:?} failed: {error:?}"),
    }
}

/// All pages of a query of the table.
async fn all(table: &dyn Table, query: &Query) -> Vec<Record> {
    let mut query = query.clone();
    let mut found = Vec::new();
    loop {
        let page = page(table, &query).await;
        assert!(page.items.len() <= query.limit, "a page holds its limit");
        found.extend(page.items);
        if page.next.is_none() {
            return found;
        }
        query.after = page.next;
    }
}

/// All pages of a query of an index.
async fn all_keys(table: &dyn Table, index: Index, query: &Query) -> Vec<Key> {
    let mut query = query.clone();
    let mut found = Vec::new();
    loop {
        let page = match table.query_index(index, &query).await {
            Ok(page) => page,
            Err(error) => panic!("{query:?} failed: {error:?}"),
        };
        assert!(page.items.len() <= query.limit, "a page holds its limit");
        found.extend(page.items);
        if page.next.is_none() {
            return found;
        }
        query.after = page.next;
    }
}
