//! Stored items outlive the code that wrote them: each schema's items stay readable.

use crate::{Item, ItemError, Scope, attribute, item_of, record_of};
use aws_sdk_dynamodb::types::AttributeValue;
use control::table::{Key, Record};
use engine::Timestamp;
use serde_json::Value;

fn item(json: &str) -> Item {
    let value = |typed: &Value| match (typed.get("S"), typed.get("N")) {
        (Some(text), None) => AttributeValue::S(text.as_str().unwrap().to_owned()),
        (None, Some(number)) => AttributeValue::N(number.as_str().unwrap().to_owned()),
        other => panic!("{other:?}"),
    };
    let item: serde_json::Map<String, Value> = serde_json::from_str(json).unwrap();
    item.iter().map(|(name, typed)| (name.clone(), value(typed))).collect()
}

fn scope() -> Scope {
    Scope::new("111122223333", "eu-west-1").unwrap()
}

#[test]
fn an_item_of_schema_1_is_read_and_still_written_the_same() {
    let golden = item(include_str!("../../tests/golden/record-v1.json"));
    let expected = Record {
        key: Key::new("dep#d-ABCDEF123", "meta"),
        schema: 1,
        version: 42,
        body: r#"{"status":"InProgress"}"#.to_owned(),
        listed: Some(Key::new("group#shop/web", "001767225600000#d-ABCDEF123")),
        waking: Some(Key::new("waking", "001767225660000#d-ABCDEF123")),
        expires_at: Some(Timestamp(1_775_001_600_000)),
        wakes: false,
    };
    assert_eq!(record_of(&scope(), &golden).unwrap(), expected);
    assert_eq!(item_of(&scope(), &expected), golden);
}

#[test]
fn attributes_that_are_not_known_are_ignored() {
    let record =
        record_of(&scope(), &item(include_str!("../../tests/golden/record-v1-minimal.json")))
            .unwrap();
    assert_eq!(record.key, Key::new("app#shop", "meta"));
    assert_eq!((record.listed, record.waking, record.expires_at), (None, None, None));
}

#[test]
fn an_unknown_schema_is_handed_on_for_the_reader_to_defer() {
    let mut newer = item(include_str!("../../tests/golden/record-v1.json"));
    newer.insert(attribute::SCHEMA.to_owned(), AttributeValue::N("999".to_owned()));
    assert_eq!(record_of(&scope(), &newer).unwrap().schema, 999);
}

#[test]
fn items_that_are_no_records_are_named_as_such() {
    let golden = item(include_str!("../../tests/golden/record-v1.json"));
    let with = |name: &str, value: AttributeValue| {
        let mut item = golden.clone();
        item.insert(name.to_owned(), value);
        record_of(&scope(), &item).unwrap_err()
    };
    assert_eq!(with("n", AttributeValue::N("-1".to_owned())), ItemError::Wrong("n"));
    assert_eq!(with("n", AttributeValue::S("1".to_owned())), ItemError::Wrong("n"));
    assert_eq!(with("ttl", AttributeValue::N(u64::MAX.to_string())), ItemError::Wrong("ttl"));
    let theirs = "999999999999#eu-west-1#dep#d-ABCDEF123".to_owned();
    let foreign = with("pk", AttributeValue::S(theirs.clone()));
    assert_eq!(foreign, ItemError::Foreign(theirs));
    let mut bodiless = golden.clone();
    bodiless.remove(attribute::BODY);
    assert_eq!(record_of(&scope(), &bodiless), Err(ItemError::Missing("body")));
}

#[test]
fn a_record_is_never_removed_before_its_time() {
    let mut record =
        record_of(&scope(), &item(include_str!("../../tests/golden/record-v1.json"))).unwrap();
    record.expires_at = Some(Timestamp(1_775_001_600_001));
    let stored = item_of(&scope(), &record);
    assert_eq!(stored.get("ttl"), Some(&AttributeValue::N("1775001601".to_owned())));
}
