//! Control's table on one DynamoDB table with two indexes.
//!
//! Throttling and connection errors are retried by the SDK as its client is configured, and only then reported.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, KeysAndAttributes, Put,
    ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use control::table::{
    Condition, Index, Key, Page, Query, Record, SortRange, TRANSACTION_MAX, Table, TableError,
    Write,
};

use crate::fault::{
    Refusal, Unprocessed, has_found, read_fault, refused, transaction_fault, write_fault,
};
use crate::item::{Item, attribute, item_of, key_item, key_of, record_of};
use crate::limits::{BATCH_GET_ATTEMPTS_MAX, BATCH_GET_BACKOFF, BATCH_GET_MAX};
use crate::schema::{index_keys, index_name};
use crate::scope::Scope;
use crate::token::{ForeignToken, Last};

/// The records of one scope in a DynamoDB table.
#[derive(Debug, Clone)]
pub struct DynamoTable {
    client: Client,
    name: String,
    scope: Scope,
}

impl DynamoTable {
    /// The records of `scope` in the table `name`, which [`crate::create_table`] or a template made.
    pub fn new(client: Client, name: impl Into<String>, scope: Scope) -> Self {
        Self { client, name: name.into(), scope }
    }

    /// Reads up to [`BATCH_GET_MAX`] keys, asking again for those that DynamoDB leaves out.
    async fn get_batch(&self, keys: &[&Key]) -> Result<Vec<Record>, TableError> {
        let wanted = keys.iter().map(|key| key_item(&self.scope, key)).collect();
        let mut left = KeysAndAttributes::builder().consistent_read(true).set_keys(Some(wanted));
        let mut records = Vec::with_capacity(keys.len());
        let mut fruitless = 0;
        loop {
            let request = left.build().map_err(refused)?;
            let request = self.client.batch_get_item().request_items(&self.name, request);
            let answer = request.send().await.map_err(read_fault)?;
            let mut responses = answer.responses.unwrap_or_default();
            let found = responses.remove(&self.name).unwrap_or_default();
            let unprocessed = answer.unprocessed_keys.unwrap_or_default().remove(&self.name);
            fruitless = if found.is_empty() { fruitless + 1 } else { 0 };
            for item in &found {
                records.push(record_of(&self.scope, item).map_err(refused)?);
            }
            let keys = match unprocessed {
                Some(unprocessed) if !unprocessed.keys.is_empty() => unprocessed.keys,
                Some(_) | None => return Ok(records),
            };
            if fruitless == BATCH_GET_ATTEMPTS_MAX {
                return Err(TableError::Unavailable(Box::new(Unprocessed(keys.len()))));
            }
            if fruitless > 0 {
                tokio::time::sleep(BATCH_GET_BACKOFF * (1 << (fruitless - 1))).await;
            }
            left = KeysAndAttributes::builder().consistent_read(true).set_keys(Some(keys));
        }
    }

    /// The items that `query` is about, over as many requests as it takes.
    async fn items(
        &self,
        query: &Query,
        index: Option<Index>,
    ) -> Result<(Vec<Item>, bool), TableError> {
        if query.limit == 0 {
            return Err(refused(Refusal::EmptyPage));
        }
        let after = Last::decode(query, index).map_err(refused)?;
        let mut start = after.map(|last| self.start_key(query, index, &last)).transpose()?;
        let mut items = Vec::new();
        if is_void(&query.range) {
            return Ok((items, false));
        }
        loop {
            let limit = i32::try_from(query.limit - items.len()).unwrap_or(i32::MAX);
            let request = self.query_request(query, index).limit(limit);
            let answer = request.set_exclusive_start_key(start).send().await.map_err(read_fault)?;
            items.extend(answer.items.unwrap_or_default());
            start = answer.last_evaluated_key;
            if start.is_none() || items.len() >= query.limit {
                return Ok((items, start.is_some()));
            }
        }
    }

    fn query_request(&self, query: &Query, index: Option<Index>) -> QueryFluentBuilder {
        let (partition, sort) = match index {
            None => (attribute::PARTITION, attribute::SORT),
            Some(index) => index_keys(index),
        };
        let request = self
            .client
            .query()
            .table_name(&self.name)
            .set_index_name(index.map(|index| index_name(index).to_owned()))
            .set_consistent_read(index.is_none().then_some(true))
            .scan_index_forward(!query.descending)
            .expression_attribute_names("#p", partition)
            .expression_attribute_values(":p", AttributeValue::S(self.scope.add(&query.partition)));
        let value = |text: &str| AttributeValue::S(text.to_owned());
        match &query.range {
            SortRange::Prefix(prefix) if prefix.is_empty() => {
                request.key_condition_expression("#p = :p")
            }
            SortRange::Prefix(prefix) => request
                .key_condition_expression("#p = :p AND begins_with(#s, :prefix)")
                .expression_attribute_names("#s", sort)
                .expression_attribute_values(":prefix", value(prefix)),
            SortRange::Between(low, high) if low.is_empty() => request
                .key_condition_expression("#p = :p AND #s <= :high")
                .expression_attribute_names("#s", sort)
                .expression_attribute_values(":high", value(high)),
            SortRange::Between(low, high) => request
                .key_condition_expression("#p = :p AND #s BETWEEN :low AND :high")
                .expression_attribute_names("#s", sort)
                .expression_attribute_values(":low", value(low))
                .expression_attribute_values(":high", value(high)),
        }
    }

    fn start_key(
        &self,
        query: &Query,
        index: Option<Index>,
        last: &Last,
    ) -> Result<Item, TableError> {
        let Some(index) = index else {
            return Ok(key_item(&self.scope, &Key::new(&query.partition, &last.sort)));
        };
        let key = last.key().ok_or_else(|| refused(ForeignToken))?;
        let mut item = key_item(&self.scope, &key);
        let (partition, sort) = index_keys(index);
        let stored = self.scope.add(&query.partition);
        drop(item.insert(partition.to_owned(), AttributeValue::S(stored)));
        drop(item.insert(sort.to_owned(), AttributeValue::S(last.sort.clone())));
        Ok(item)
    }

    async fn write_one(&self, write: &Write) -> Result<(), TableError> {
        match write {
            Write::Put(record, condition) => self.put(write, record, *condition).await,
            Write::Delete(key, Condition::None) => {
                let delete = self.client.delete_item().table_name(&self.name);
                let deleted = delete.set_key(Some(key_item(&self.scope, key))).send().await;
                deleted.map(drop).map_err(|error| write_fault(error, write))
            }
            // What is gone carries no mark. A transaction has a token, by which DynamoDB knows it again.
            Write::Delete(..) | Write::Check(..) => self.transact(&[write]).await,
        }
    }

    /// Puts one item. If the answer of an attempt was lost, the next one finds what that has written: its mark tells so.
    async fn put(
        &self,
        write: &Write,
        record: &Record,
        condition: Condition,
    ) -> Result<(), TableError> {
        let test = Test::of(condition);
        let mark = new_mark().filter(|_| condition != Condition::None);
        let mut item = item_of(&self.scope, record);
        item.extend(mark.clone().map(|mark| (attribute::MARK.to_owned(), mark)));
        let put = self.client.put_item().table_name(&self.name);
        let put = put
            .set_item(Some(item))
            .set_condition_expression(test.expression)
            .set_expression_attribute_names(test.names)
            .set_expression_attribute_values(test.values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await {
            Err(error) if !mark.is_some_and(|mark| has_found(&error, &mark)) => {
                Err(write_fault(error, write))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn transact(&self, writes: &[&Write]) -> Result<(), TableError> {
        let items: Result<Vec<_>, _> =
            writes.iter().map(|write| self.transact_item(write)).collect();
        let request = self.client.transact_write_items();
        let request = request.set_transact_items(Some(items.map_err(refused)?));
        request.send().await.map(drop).map_err(|error| transaction_fault(error, writes))
    }

    fn transact_item(&self, write: &Write) -> Result<TransactWriteItem, BuildError> {
        let item = TransactWriteItem::builder();
        let item = match write {
            Write::Put(record, condition) => {
                let test = Test::of(*condition);
                let put = Put::builder()
                    .table_name(&self.name)
                    .set_item(Some(item_of(&self.scope, record)))
                    .set_condition_expression(test.expression)
                    .set_expression_attribute_names(test.names)
                    .set_expression_attribute_values(test.values);
                item.put(put.build()?)
            }
            Write::Delete(key, condition) => {
                let test = Test::of(*condition);
                let delete = Delete::builder()
                    .table_name(&self.name)
                    .set_key(Some(key_item(&self.scope, key)))
                    .set_condition_expression(test.expression)
                    .set_expression_attribute_names(test.names)
                    .set_expression_attribute_values(test.values);
                item.delete(delete.build()?)
            }
            Write::Check(key, condition) => {
                let test = Test::of(*condition);
                let check = ConditionCheck::builder()
                    .table_name(&self.name)
                    .set_key(Some(key_item(&self.scope, key)))
                    .set_condition_expression(test.expression)
                    .set_expression_attribute_names(test.names)
                    .set_expression_attribute_values(test.values);
                item.condition_check(check.build()?)
            }
        };
        Ok(item.build())
    }
}

#[async_trait]
impl Table for DynamoTable {
    async fn get(&self, key: &Key) -> Result<Option<Record>, TableError> {
        let request = self.client.get_item().table_name(&self.name).consistent_read(true);
        let request = request.set_key(Some(key_item(&self.scope, key)));
        let answer = request.send().await.map_err(read_fault)?;
        answer.item.map(|item| record_of(&self.scope, &item).map_err(refused)).transpose()
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Record>, TableError> {
        // DynamoDB refuses a batch that names a key twice.
        let distinct: Vec<&Key> = keys.iter().collect::<BTreeSet<_>>().into_iter().collect();
        let mut records = Vec::with_capacity(distinct.len());
        for batch in distinct.chunks(BATCH_GET_MAX) {
            records.extend(self.get_batch(batch).await?);
        }
        Ok(records)
    }

    async fn query(&self, query: &Query) -> Result<Page<Record>, TableError> {
        let (items, more) = self.items(query, None).await?;
        let records: Result<Vec<_>, _> =
            items.iter().map(|item| record_of(&self.scope, item)).collect();
        let items = records.map_err(refused)?;
        let next = match items.last() {
            Some(last) if more => {
                Some(Last::of_table(query, &last.key.sort).encode().map_err(refused)?)
            }
            Some(_) | None => None,
        };
        Ok(Page { items, next })
    }

    async fn query_index(&self, index: Index, query: &Query) -> Result<Page<Key>, TableError> {
        let (items, more) = self.items(query, Some(index)).await?;
        let keys: Result<Vec<_>, _> = items.iter().map(|item| key_of(&self.scope, item)).collect();
        let keys = keys.map_err(refused)?;
        let next = match (items.last(), keys.last()) {
            (Some(item), Some(key)) if more => {
                let sort = item.get(index_keys(index).1).and_then(|value| value.as_s().ok());
                let sort = sort.ok_or_else(|| refused(ForeignToken))?;
                let last = Last::of_index(index, query, sort, key.clone());
                Some(last.encode().map_err(refused)?)
            }
            (_, _) => None,
        };
        Ok(Page { items: keys, next })
    }

    async fn write(&self, writes: &[Write]) -> Result<(), TableError> {
        if writes.len() > TRANSACTION_MAX {
            return Err(refused(Refusal::TooManyWrites(writes.len())));
        }
        // A check that always holds is none, and DynamoDB takes no check without an expression.
        let idle = |write: &&Write| matches!(write, Write::Check(_, Condition::None));
        let writes: Vec<&Write> = writes.iter().filter(|write| !idle(write)).collect();
        match *writes.as_slice() {
            [] => Ok(()),
            [write] => self.write_one(write).await,
            _ => self.transact(&writes).await,
        }
    }
}

/// A mark that no other write has; none if there are no random bytes, without which a write goes on as well.
fn new_mark() -> Option<AttributeValue> {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).ok()?;
    Some(AttributeValue::S(hex::encode(bytes)))
}

/// A condition as DynamoDB takes it.
struct Test {
    expression: Option<String>,
    names: Option<HashMap<String, String>>,
    values: Option<HashMap<String, AttributeValue>>,
}

impl Test {
    fn of(condition: Condition) -> Self {
        let name = |name: &str| Some(HashMap::from([("#a".to_owned(), name.to_owned())]));
        match condition {
            Condition::None => Self { expression: None, names: None, values: None },
            Condition::Absent => Self {
                expression: Some("attribute_not_exists(#a)".to_owned()),
                names: name(attribute::PARTITION),
                values: None,
            },
            Condition::Exists => Self {
                expression: Some("attribute_exists(#a)".to_owned()),
                names: name(attribute::PARTITION),
                values: None,
            },
            Condition::Version(version) => Self {
                expression: Some("#a = :a".to_owned()),
                names: name(attribute::VERSION),
                values: Some(HashMap::from([(
                    ":a".to_owned(),
                    AttributeValue::N(version.to_string()),
                )])),
            },
        }
    }
}

/// Whether no key can lie in `range`: DynamoDB refuses to be asked.
fn is_void(range: &SortRange) -> bool {
    match range {
        SortRange::Prefix(_) => false,
        SortRange::Between(low, high) => high.is_empty() || low > high,
    }
}

#[cfg(test)]
mod tests;
