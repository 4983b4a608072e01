//! The roles in `template.yaml` against the table of what the functions call: no right is missing, and none is spare.

use std::collections::BTreeSet;
use std::fs;

use functions::permissions::{CALLS, Function, Place, UNBOUNDED};
use serde_json::{Value, json};

use crate::house::root;
use crate::support::template::{Template, texts};

/// The statements of a function's role.
fn statements(template: &Template, function: Function) -> Vec<Value> {
    let name = function.resource();
    let role = template.at(&format!("/Resources/{name}/Properties/Role"));
    assert_eq!(*role, json!({ "Fn::GetAtt": [format!("{name}Role"), "Arn"] }), "{name}");
    let policies = template.at(&format!("/Resources/{name}Role/Properties/Policies"));
    let policies = policies.as_array().unwrap().iter();
    policies
        .map(chosen)
        .flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().unwrap())
        .cloned()
        .collect()
}

/// The policy; where a condition decides whether there is one, that one. The table has what a role can be given at most.
fn chosen(policy: &Value) -> &Value {
    let Some(parts) = policy["Fn::If"].as_array() else { return policy };
    assert_eq!(parts[2], json!({ "Ref": "AWS::NoValue" }), "either there is this policy, or none");
    &parts[1]
}

/// The condition of a statement, as the table writes it.
fn condition(statement: &Value) -> String {
    let Some(operators) = statement["Condition"].as_object() else { return String::new() };
    let mut conditions = Vec::new();
    for (operator, keys) in operators {
        for (key, value) in keys.as_object().unwrap() {
            conditions.push(format!("{operator} {key} {}", texts(value).join(" ")));
        }
    }
    conditions.join("; ")
}

/// The rights that a role gives, in the order of its statements.
fn given(template: &Template, function: Function) -> Vec<(String, Place)> {
    let mut rights = Vec::new();
    for statement in statements(template, function) {
        assert_eq!(statement["Effect"], "Allow", "{statement}");
        let condition = condition(&statement);
        for action in texts(&statement["Action"]) {
            for resource in texts(&statement["Resource"]) {
                let place = Place { resource, condition: condition.clone() };
                rights.push((action.clone(), place));
            }
        }
    }
    rights
}

#[test]
fn each_role_allows_what_its_function_calls_and_nothing_else() {
    let template = Template::read();
    for function in Function::ALL {
        let given = given(&template, function);
        let once: BTreeSet<_> = given.iter().cloned().collect();
        assert_eq!(once.len(), given.len(), "{function:?} is given a right twice: {given:#?}");
        let needed: BTreeSet<_> = function
            .rights()
            .into_iter()
            .map(|(action, place)| (action.to_owned(), place))
            .collect();
        let missing: Vec<_> = needed.difference(&once).collect();
        let spare: Vec<_> = once.difference(&needed).collect();
        assert!(
            missing.is_empty() && spare.is_empty(),
            "the role of {function:?}: missing {missing:#?}, spare {spare:#?}"
        );
    }
}

#[test]
fn there_is_one_role_for_each_function_and_only_lambda_takes_it() {
    let template = Template::read();
    let roles: BTreeSet<_> = template.resources("AWS::IAM::Role").map(|(name, _)| name).collect();
    let functions: Vec<_> =
        Function::ALL.iter().map(|function| format!("{}Role", function.resource())).collect();
    assert_eq!(roles, functions.iter().map(String::as_str).collect());
    let named: BTreeSet<_> =
        template.resources("AWS::Serverless::Function").map(|(name, _)| name).collect();
    assert_eq!(named, Function::ALL.iter().map(|function| function.resource()).collect());
    for (name, role) in template.resources("AWS::IAM::Role") {
        let trust = &role["AssumeRolePolicyDocument"]["Statement"];
        let lambda = json!([{
            "Effect": "Allow", "Principal": { "Service": "lambda.amazonaws.com" }, "Action": "sts:AssumeRole"
        }]);
        assert_eq!(*trust, lambda, "{name}");
        let members: BTreeSet<_> = role.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["AssumeRolePolicyDocument", "Policies"].into(), "{name}");
    }
}

/// Every statement of every policy in the template, with the name of its resource.
fn all_statements(template: &Template) -> Vec<(String, Value)> {
    fn collect(name: &str, value: &Value, into: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(map) => {
                if map.contains_key("Effect") {
                    into.push((name.to_owned(), value.clone()));
                }
                map.values().for_each(|value| collect(name, value, into));
            }
            Value::Array(values) => values.iter().for_each(|value| collect(name, value, into)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut statements = Vec::new();
    for (name, resource) in template.members("Resources") {
        collect(name, resource, &mut statements);
    }
    statements
}

#[test]
fn nothing_is_allowed_by_a_wildcard_but_to_the_owner_of_the_key() {
    let statements = all_statements(&Template::read());
    assert!(statements.len() > 40, "the walk went nowhere");
    for (name, statement) in statements.iter().filter(|(_, of)| of["Effect"] == "Allow") {
        let wild: Vec<_> =
            texts(&statement["Action"]).into_iter().filter(|action| action.contains('*')).collect();
        let owner = name == "Key" && statement["Sid"] == "Owner";
        assert!(wild.is_empty() || owner, "{name} allows {wild:?}");
        assert!(statement["NotAction"].is_null(), "{name}: {statement}");
        assert!(statement["NotResource"].is_null(), "{name}: {statement}");
    }
}

#[test]
fn everything_is_a_resource_only_where_the_service_knows_no_narrower_one() {
    let unbounded: BTreeSet<_> = UNBOUNDED.iter().map(|(action, _)| (*action).to_owned()).collect();
    let mut found = BTreeSet::new();
    for (name, statement) in all_statements(&Template::read()) {
        // A key's policy calls the key so.
        let is_role = name.ends_with("Role") && !statement["Resource"].is_null();
        if is_role && texts(&statement["Resource"]).iter().any(|resource| resource == "*") {
            found.extend(texts(&statement["Action"]));
        }
    }
    assert_eq!(found, unbounded, "the template, and the table's list with the reasons");
}

#[test]
fn nothing_is_launched_and_no_role_is_passed_to_an_instance_unless_a_role_was_named() {
    let template = Template::read();
    let first = json!({ "Fn::Select": [0, { "Ref": "CopiedRoleArns" }] });
    let named = json!({ "Fn::Not": [{ "Fn::Equals": [first, ""] }] });
    assert_eq!(*template.at("/Conditions/Copies"), named);
    assert_eq!(*template.at("/Parameters/CopiedRoleArns/Default"), "");
    let policies = template.at("/Resources/FleetWatcherRole/Properties/Policies");
    for policy in policies.as_array().unwrap() {
        let text = policy.to_string();
        let is_optional = policy["Fn::If"][0] == "Copies";
        for action in ["ec2:RunInstances", "ec2:CreateTags", "iam:PassRole"] {
            assert_eq!(text.contains(action), is_optional, "{action} in {policy:#}");
        }
    }
}

#[test]
fn a_function_is_told_of_the_queues_and_the_bucket_that_it_uses() {
    let template = Template::read();
    for function in Function::ALL {
        let path = format!("/Resources/{}/Properties/Environment/Variables", function.resource());
        let told = template.at(&path).as_object().unwrap();
        let mut uses = BTreeSet::new();
        for call in function.calls().filter(|call| !call.by.starts_with("Lambda")) {
            for place in call.on.places(function) {
                let name =
                    place.resource.trim_start_matches("${").split('.').next().unwrap().to_owned();
                if call.operation == "sqs:SendMessage" {
                    uses.insert((format!("CUTOVER_QUEUE_{}", name.to_uppercase()), name));
                } else if call.operation == "sqs:ChangeMessageVisibility" {
                    uses.insert(("CUTOVER_QUEUE".to_owned(), name));
                } else if name == "Bundles" {
                    uses.insert(("CUTOVER_BUNDLES".to_owned(), name));
                }
            }
        }
        let told: BTreeSet<_> = told
            .iter()
            .filter(|(name, _)| name.starts_with("CUTOVER_QUEUE") || *name == "CUTOVER_BUNDLES")
            .map(|(name, value)| (name.clone(), value["Ref"].as_str().unwrap().to_owned()))
            .collect();
        assert_eq!(told, uses, "{function:?}");
    }
}

#[test]
fn the_table_answers_whether_a_function_makes_a_call() {
    assert!(Function::HookDispatcher.makes("ssm", "SendCommand"));
    assert!(!Function::Api.makes("ssm", "SendCommand"));
    assert!(Function::Api.makes("dynamodb", "TransactWriteItems"));
    assert!(!Function::Api.makes("dynamodb", "Scan"));
    for call in CALLS {
        assert!(call.operation.split_once(':').is_some(), "{call:?}");
        assert!(!call.functions.is_empty(), "{call:?}");
    }
}

/// The operation's name as the method of an SDK's client.
fn method(operation: &str) -> String {
    let mut method = String::new();
    for letter in operation.chars() {
        if letter.is_ascii_uppercase() && !method.is_empty() {
            method.push('_');
        }
        method.push(letter.to_ascii_lowercase());
    }
    method
}

/// The methods that the adapters call on the SDKs' clients.
fn called() -> BTreeSet<String> {
    let mut called = BTreeSet::new();
    for folder in ["shared/aws/src", "shared/store/src"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            // A home makes its table itself; in the cloud the template does.
            if path.is_dir() || path.ends_with("schema.rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for after in text.split("client").skip(1) {
                let Some(call) = after.trim_start().strip_prefix('.') else { continue };
                let name = call.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next();
                let name = name.unwrap().to_owned();
                if call[name.len()..].starts_with("()") && name != "clone" {
                    called.insert(name);
                }
            }
        }
    }
    called
}

#[test]
fn each_call_of_an_adapter_is_in_the_table_and_each_row_is_called() {
    let rows: BTreeSet<String> = CALLS
        .iter()
        .filter(|call| {
            !["Lambda,", "ECS,", "Auto Scaling,"].iter().any(|service| call.by.starts_with(service))
        })
        .map(|call| method(call.operation.split_once(':').unwrap().1))
        .collect();
    assert_eq!(called(), rows, "the adapters' calls, and the table's");
}
