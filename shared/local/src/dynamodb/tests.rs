//! Home's DynamoDB through the AWS SDK.

use std::path::Path;

use super::{DynamoDb, Error, serve};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType,
};
use tokio::net::TcpListener;

async fn start(file: &Path) -> (DynamoDb, Client) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = serve(file, listener).await.unwrap();
    let http = aws_smithy_http_client::Builder::new().build_http();
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("any", "any", None, None, "test"))
        .endpoint_url(server.endpoint_url())
        .http_client(http)
        .build();
    (server, Client::from_conf(config))
}

async fn create_table(client: &Client) {
    let name = AttributeDefinition::builder().attribute_name("id");
    let key = KeySchemaElement::builder().attribute_name("id");
    let table = client.create_table().table_name("things");
    let table =
        table.attribute_definitions(name.attribute_type(ScalarAttributeType::S).build().unwrap());
    let table = table.key_schema(key.key_type(KeyType::Hash).build().unwrap());
    table.billing_mode(BillingMode::PayPerRequest).send().await.unwrap();
}

#[tokio::test]
async fn items_and_conditions_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.sqlite");
    let (server, client) = start(&file).await;
    create_table(&client).await;
    let put = |client: &Client| {
        let put = client.put_item().table_name("things");
        let put = put.item("id", AttributeValue::S("one".to_owned()));
        put.condition_expression("attribute_not_exists(id)").send()
    };
    put(&client).await.unwrap();
    server.stop().await.unwrap();

    let (server, client) = start(&file).await;
    let refused = put(&client).await.unwrap_err();
    assert_eq!(refused.code(), Some("ConditionalCheckFailedException"));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_and_a_public_address_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.sqlite");
    std::fs::write(&file, [7; 4096]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert!(matches!(serve(&file, listener).await, Err(Error::Open { .. })));
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let open = serve(&directory.path().join("other"), listener).await;
    assert!(matches!(open, Err(Error::NotLoopback(_))));
}
