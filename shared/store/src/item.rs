//! Records as DynamoDB items. Attributes that are not named here are ignored, so that older code reads newer items.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use control::table::{Key, Record};
use engine::Timestamp;
use thiserror::Error;

use crate::scope::Scope;

/// An item by its attributes' names.
pub type Item = HashMap<String, AttributeValue>;

/// The names of the attributes. They are in every stored item, and in `template.yaml`.
pub mod attribute {
    /// The partition key, scope included.
    pub const PARTITION: &str = "pk";
    /// The sort key.
    pub const SORT: &str = "sk";
    /// The schema of the body.
    pub const SCHEMA: &str = "v";
    /// The version of the record, which conditions compare.
    pub const VERSION: &str = "n";
    /// The content, JSON in a string.
    pub const BODY: &str = "body";
    /// The partition key of the index of listed records, scope included.
    pub const LISTED_PARTITION: &str = "lpk";
    /// The sort key of the index of listed records.
    pub const LISTED_SORT: &str = "lsk";
    /// The partition key of the index of waking records, scope included.
    pub const WAKING_PARTITION: &str = "wpk";
    /// The sort key of the index of waking records.
    pub const WAKING_SORT: &str = "wsk";
    /// What tells the conditional write that wrote the item from all others: random, in hex. Not on every item.
    pub const MARK: &str = "m";
    /// When the item may be removed, in seconds since 1970.
    pub const EXPIRES: &str = "ttl";
    /// Whether writing the item wakes a deployment: then it is [`WAKES_VALUE`], else not there. `template.yaml` filters the
    /// table's stream by it.
    pub const WAKES: &str = "b";
    /// The value of [`WAKES`].
    pub const WAKES_VALUE: &str = "1";
}

/// Why an item is no record of ours.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ItemError {
    /// An attribute is not there.
    #[error("the item has no attribute `{0}`; it was not written by Cutover")]
    Missing(&'static str),
    /// An attribute is of another type or out of its range.
    #[error("the item's attribute `{0}` is not of its type; it was not written by Cutover")]
    Wrong(&'static str),
    /// The item belongs to another account or region.
    #[error("the item's key `{0}` is of another account or region")]
    Foreign(String),
}

/// The item of `record`. The moment at which it may be removed is rounded up to whole seconds.
pub fn item_of(scope: &Scope, record: &Record) -> Item {
    let mut item = key_item(scope, &record.key);
    let mut set = |name: &str, value| drop(item.insert(name.to_owned(), value));
    set(attribute::SCHEMA, AttributeValue::N(record.schema.to_string()));
    set(attribute::VERSION, AttributeValue::N(record.version.to_string()));
    set(attribute::BODY, AttributeValue::S(record.body.clone()));
    if let Some(key) = &record.listed {
        set(attribute::LISTED_PARTITION, AttributeValue::S(scope.add(&key.partition)));
        set(attribute::LISTED_SORT, AttributeValue::S(key.sort.clone()));
    }
    if let Some(key) = &record.waking {
        set(attribute::WAKING_PARTITION, AttributeValue::S(scope.add(&key.partition)));
        set(attribute::WAKING_SORT, AttributeValue::S(key.sort.clone()));
    }
    if let Some(Timestamp(ms)) = record.expires_at {
        set(attribute::EXPIRES, AttributeValue::N(ms.div_ceil(1000).to_string()));
    }
    if record.wakes {
        set(attribute::WAKES, AttributeValue::S(attribute::WAKES_VALUE.to_owned()));
    }
    item
}

/// The record of a whole item, such as a query or an image in the table's stream gives it.
///
/// # Errors
/// [`ItemError`], when it is none, or one of another scope.
pub fn record_of(scope: &Scope, item: &Item) -> Result<Record, ItemError> {
    let expires_at = match item.get(attribute::EXPIRES) {
        None => None,
        Some(_) => {
            let seconds: u64 = number(item, attribute::EXPIRES)?;
            let ms = seconds.checked_mul(1000).ok_or(ItemError::Wrong(attribute::EXPIRES))?;
            Some(Timestamp(ms))
        }
    };
    Ok(Record {
        key: key_of(scope, item)?,
        schema: number(item, attribute::SCHEMA)?,
        version: number(item, attribute::VERSION)?,
        body: text(item, attribute::BODY)?.to_owned(),
        listed: place(scope, item, attribute::LISTED_PARTITION, attribute::LISTED_SORT)?,
        waking: place(scope, item, attribute::WAKING_PARTITION, attribute::WAKING_SORT)?,
        expires_at,
        wakes: item.contains_key(attribute::WAKES),
    })
}

/// The key attributes of the record under `key`.
pub(crate) fn key_item(scope: &Scope, key: &Key) -> Item {
    HashMap::from([
        (attribute::PARTITION.to_owned(), AttributeValue::S(scope.add(&key.partition))),
        (attribute::SORT.to_owned(), AttributeValue::S(key.sort.clone())),
    ])
}

/// The key of an item of which at least the key attributes are there.
pub(crate) fn key_of(scope: &Scope, item: &Item) -> Result<Key, ItemError> {
    let key = place(scope, item, attribute::PARTITION, attribute::SORT)?;
    key.ok_or(ItemError::Missing(attribute::PARTITION))
}

fn place(
    scope: &Scope,
    item: &Item,
    partition: &'static str,
    sort: &'static str,
) -> Result<Option<Key>, ItemError> {
    if !item.contains_key(partition) && !item.contains_key(sort) {
        return Ok(None);
    }
    let stored = text(item, partition)?;
    let ours = scope.remove(stored).ok_or_else(|| ItemError::Foreign(stored.to_owned()))?;
    Ok(Some(Key::new(ours, text(item, sort)?)))
}

fn text<'i>(item: &'i Item, name: &'static str) -> Result<&'i str, ItemError> {
    let value = item.get(name).ok_or(ItemError::Missing(name))?;
    value.as_s().map(String::as_str).map_err(|_| ItemError::Wrong(name))
}

fn number<T: std::str::FromStr>(item: &Item, name: &'static str) -> Result<T, ItemError> {
    let value = item.get(name).ok_or(ItemError::Missing(name))?;
    let digits = value.as_n().map_err(|_| ItemError::Wrong(name))?;
    digits.parse().map_err(|_| ItemError::Wrong(name))
}

#[cfg(test)]
mod tests;
