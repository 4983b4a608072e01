//! DynamoDB's JSON protocol over the library's functions: an operation and a body in, a status and a body out.

use dynoxide::actions::transact_write_items::{
    TransactWriteItemsRequest, TransactWriteItemsResponse,
};
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What the library was asked, and what it answered: both as DynamoDB writes them.
pub(super) fn answer(database: &Database, operation: &str, body: &[u8]) -> (u16, String) {
    let answered = match operation {
        "BatchGetItem" => ask(body, |request| database.batch_get_item(request)),
        "CreateTable" => ask(body, |request| database.create_table(request)),
        "DeleteItem" => ask(body, |request| database.delete_item(request)),
        "DescribeTable" => ask(body, |request| database.describe_table(request)),
        "DescribeTimeToLive" => ask(body, |request| database.describe_time_to_live(request)),
        "GetItem" => ask(body, |request| database.get_item(request)),
        "PutItem" => ask(body, |request| database.put_item(request)),
        "Query" => ask(body, |request| database.query(request)),
        "Scan" => ask(body, |request| database.scan(request)),
        "TransactWriteItems" => ask(body, |request| transact(database, request)),
        "UpdateTimeToLive" => ask(body, |request| database.update_time_to_live(request)),
        other => {
            let message = format!("`{other}` is no operation of a home's tables");
            return refusal(400, "com.amazon.coral.service#UnknownOperationException", &message);
        }
    };
    match answered {
        Ok(answer) => (200, answer),
        Err(error) => (error.status_code(), error.to_json()),
    }
}

/// Without the token by which a request that is sent again would be known: the library looks through all tokens of the last
/// ten minutes at each write. In this process no answer is lost, so none is sent again after it was performed.
fn transact(
    database: &Database,
    mut request: TransactWriteItemsRequest,
) -> dynoxide::Result<TransactWriteItemsResponse> {
    request.client_request_token = None;
    database.transact_write_items(request)
}

/// An answer that lets AWS's clients try again.
pub(super) fn unavailable(message: &str) -> (u16, String) {
    refusal(500, "com.amazonaws.dynamodb.v20120810#InternalServerError", message)
}

/// An error in DynamoDB's form.
pub(super) fn refusal(status: u16, name: &str, message: &str) -> (u16, String) {
    (status, serde_json::json!({ "__type": name, "message": message }).to_string())
}

fn ask<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    run: impl FnOnce(Q) -> dynoxide::Result<A>,
) -> dynoxide::Result<String> {
    let request = serde_json::from_slice(body)
        .map_err(|error| DynoxideError::SerializationException(error.to_string()))?;
    let answer = run(request)?;
    serde_json::to_string(&answer)
        .map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}
