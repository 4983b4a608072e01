//! The table as it is created at home and in tests; in the cloud `template.yaml` says the same, and adds the stream that
//! wakes the stepper there.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata};
use aws_sdk_dynamodb::operation::describe_table::DescribeTableOutput;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, IndexStatus, KeySchemaElement, KeyType,
    Projection, ProjectionType, ScalarAttributeType, TableStatus, TimeToLiveSpecification,
    TimeToLiveStatus,
};
use control::table::Index;
use thiserror::Error;

use crate::item::attribute;
use crate::limits::TABLE_ACTIVE_TIMEOUT;

/// Why there is no table.
#[derive(Debug, Error)]
pub enum CreateError {
    /// DynamoDB did not answer, or refused.
    #[error("the table `{table}` could not be made ready")]
    Call {
        /// The table's name.
        table: String,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The table exists, but is not one of ours.
    #[error("the table `{table}` has no index `{index}`; use another name, or remove it")]
    Unfit {
        /// The table's name.
        table: String,
        /// What it lacks.
        index: &'static str,
    },
    /// The table was created, and is not usable yet.
    #[error("the table `{table}` is still being created; try again in a minute")]
    Slow {
        /// The table's name.
        table: String,
    },
}

/// The name of an index.
pub fn index_name(index: Index) -> &'static str {
    match index {
        Index::Listed => "listed",
        Index::Waking => "waking",
    }
}

/// The attributes with an index's partition and sort key.
pub(crate) fn index_keys(index: Index) -> (&'static str, &'static str) {
    match index {
        Index::Listed => (attribute::LISTED_PARTITION, attribute::LISTED_SORT),
        Index::Waking => (attribute::WAKING_PARTITION, attribute::WAKING_SORT),
    }
}

/// Makes the table `name` if it does not exist, and waits until it can be used.
///
/// # Errors
/// [`CreateError`]. What was made stays, and calling again goes on from there.
pub async fn create_table(client: &Client, name: &str) -> Result<(), CreateError> {
    let there = describe(client, name).await?;
    if there.is_none() {
        create(client, name).await?;
    }
    wait_active(client, name, there).await?;
    expire(client, name).await
}

async fn create(client: &Client, name: &str) -> Result<(), CreateError> {
    let request = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_attribute_definitions(Some(definitions().map_err(call(name))?))
        .set_key_schema(Some(
            key_schema(attribute::PARTITION, attribute::SORT).map_err(call(name))?,
        ))
        .global_secondary_indexes(index_of(Index::Listed).map_err(call(name))?)
        .global_secondary_indexes(index_of(Index::Waking).map_err(call(name))?);
    match request.send().await {
        Ok(_) => Ok(()),
        // Somebody else was faster.
        Err(error) if error.code() == Some("ResourceInUseException") => Ok(()),
        Err(error) => Err(call(name)(error)),
    }
}

/// Waits for the table and its indexes; `seen` is what was already read about it.
async fn wait_active(
    client: &Client,
    name: &str,
    mut seen: Option<DescribeTableOutput>,
) -> Result<(), CreateError> {
    let mut waited = Duration::ZERO;
    let mut pause = Duration::from_millis(20);
    loop {
        let answer = match seen.take() {
            Some(answer) => Some(answer),
            None => describe(client, name).await?,
        };
        if let Some(table) = answer.and_then(|answer| answer.table) {
            let indexes = table.global_secondary_indexes();
            for index in [Index::Listed, Index::Waking].map(index_name) {
                if !indexes.iter().any(|there| there.index_name() == Some(index)) {
                    return Err(CreateError::Unfit { table: name.to_owned(), index });
                }
            }
            let usable =
                matches!(table.table_status(), Some(TableStatus::Active | TableStatus::Updating));
            let indexed =
                |index: &IndexStatus| matches!(index, IndexStatus::Active | IndexStatus::Updating);
            if usable && indexes.iter().all(|index| index.index_status().is_none_or(indexed)) {
                return Ok(());
            }
        }
        if waited >= TABLE_ACTIVE_TIMEOUT {
            return Err(CreateError::Slow { table: name.to_owned() });
        }
        tokio::time::sleep(pause).await;
        waited += pause;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

async fn describe(client: &Client, name: &str) -> Result<Option<DescribeTableOutput>, CreateError> {
    match client.describe_table().table_name(name).send().await {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(None),
        Err(error) => Err(call(name)(error)),
    }
}

/// Lets DynamoDB remove expired items, if it does not do so already.
async fn expire(client: &Client, name: &str) -> Result<(), CreateError> {
    let answer =
        client.describe_time_to_live().table_name(name).send().await.map_err(call(name))?;
    let status = answer.time_to_live_description.and_then(|found| found.time_to_live_status);
    if matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)) {
        return Ok(());
    }
    let expiry = TimeToLiveSpecification::builder()
        .enabled(true)
        .attribute_name(attribute::EXPIRES)
        .build()
        .map_err(call(name))?;
    let request = client.update_time_to_live().table_name(name).time_to_live_specification(expiry);
    request.send().await.map(drop).map_err(call(name))
}

fn definitions() -> Result<Vec<AttributeDefinition>, BuildError> {
    let names = [
        attribute::PARTITION,
        attribute::SORT,
        attribute::LISTED_PARTITION,
        attribute::LISTED_SORT,
        attribute::WAKING_PARTITION,
        attribute::WAKING_SORT,
    ];
    let definition = |name| {
        let builder = AttributeDefinition::builder().attribute_name(name);
        builder.attribute_type(ScalarAttributeType::S).build()
    };
    names.into_iter().map(definition).collect()
}

fn key_schema(partition: &str, sort: &str) -> Result<Vec<KeySchemaElement>, BuildError> {
    let element =
        |name, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    Ok(vec![element(partition, KeyType::Hash)?, element(sort, KeyType::Range)?])
}

fn index_of(index: Index) -> Result<GlobalSecondaryIndex, BuildError> {
    let (partition, sort) = index_keys(index);
    GlobalSecondaryIndex::builder()
        .index_name(index_name(index))
        .set_key_schema(Some(key_schema(partition, sort)?))
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
        .build()
}

fn call<E>(table: &str) -> impl Fn(E) -> CreateError + '_
where
    E: std::error::Error + Send + Sync + 'static,
{
    |error| CreateError::Call { table: table.to_owned(), source: Box::new(error) }
}
