//! What the functions asked of AWS, as the emulated CloudTrail has recorded it.

use std::collections::{BTreeMap, BTreeSet};

use functions::permissions::Function;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::cloud::Cloud;

/// Demands that the table of permissions has every call that a function has made until now.
#[track_caller]
pub(crate) fn are_all_in_the_table(cloud: &Cloud) {
    let made = made(cloud);
    assert!(!made.is_empty(), "no call of a function was recorded");
    let missing: Vec<_> = made
        .iter()
        .filter(|(function, service, operation)| !function.makes(service, operation))
        .collect();
    assert!(missing.is_empty(), "functions/src/permissions.rs does not have {missing:?}");
}

/// The calls of the functions: service and operation.
pub(crate) fn made(cloud: &Cloud) -> BTreeSet<(Function, String, String)> {
    let functions = by_key(cloud);
    let mut made = BTreeSet::new();
    for event in cloud.recorded() {
        let event: Value =
            serde_json::from_str(event["CloudTrailEvent"].as_str().unwrap()).unwrap();
        let key = event["userIdentity"]["accessKeyId"].as_str().unwrap();
        let Some(function) = functions.get(key) else {
            // A session that no function has would be a call of a function that we cannot tell apart.
            assert!(!key.starts_with("ASIA"), "whose key is {key}? {event:#}");
            continue;
        };
        let source = event["eventSource"].as_str().unwrap();
        let service = source.trim_end_matches(".amazonaws.com").to_owned();
        // Services with the query protocol have the operation in the request.
        let operation = event["requestParameters"]["Action"].as_str();
        let operation = operation.or_else(|| event["eventName"].as_str()).unwrap();
        // What the emulator takes all requests about one alias for.
        let is_alias = (service.as_str(), operation) == ("lambda", "ListAliases");
        let operation = if is_alias { "GetAlias" } else { operation }.to_owned();
        made.insert((*function, service, operation));
    }
    made
}

/// The key that each function signs with. The emulator makes it of the ARNs of the function and its role.
fn by_key(cloud: &Cloud) -> BTreeMap<String, Function> {
    let listed = cloud.aws(&["lambda", "list-functions"]);
    let listed = listed["Functions"].as_array().unwrap();
    let key_of = |function: Function| {
        let name = cloud.resource(function.resource());
        let found = listed.iter().find(|listed| listed["FunctionName"] == name).unwrap();
        let [arn, role] = ["FunctionArn", "Role"].map(|member| found[member].as_str().unwrap());
        let digest = hex::encode_upper(Sha256::digest(format!("{arn}:{role}")));
        format!("ASIA{}", &digest[..16])
    };
    Function::ALL.into_iter().map(|function| (key_of(function), function)).collect()
}
