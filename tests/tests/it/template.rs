//! What `template.yaml` says and other files say too: the table, the stream, the functions, the document, and what
//! `docs/cloud.md` tells of it.

use std::collections::BTreeSet;
use std::fs;

use aws::script::{Parameters, SCRIPT};
use functions::permissions::Function;
use serde_json::{Value, json};
use store::attribute;

use crate::house::root;
use crate::support::home::Home;
use crate::support::template::{Template, texts};

/// A list of objects that say `name` and `value`, as a set of both.
fn pairs(list: &Value, name: &str, value: &str) -> BTreeSet<(String, String)> {
    let text = |entry: &Value, member: &str| entry[member].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(|entry| (text(entry, name), text(entry, value))).collect()
}

/// What DynamoDB and CloudFormation both tell of a table, in an order of its own.
fn told(table: &Value) -> Value {
    let mut indexes: Vec<Value> = table["GlobalSecondaryIndexes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|index| {
            json!([index["IndexName"], index["KeySchema"], index["Projection"]["ProjectionType"]])
        })
        .collect();
    indexes.sort_by_key(Value::to_string);
    json!({
        "attributes": pairs(&table["AttributeDefinitions"], "AttributeName", "AttributeType"),
        "key": table["KeySchema"],
        "indexes": indexes,
    })
}

#[test]
fn the_table_is_the_one_that_a_home_makes() {
    let template = Template::read();
    let table = template.at("/Resources/Table/Properties");
    let mut home = Home::new(1).with_args(&["--table-port".to_owned(), "0".to_owned()]);
    home.start();
    let name = json!({ "TableName": "cutover" });
    let made = &home.client().dynamodb("DescribeTable", &name)["Table"];
    assert_eq!(told(table), told(made));
    assert_eq!(table["StreamSpecification"]["StreamViewType"], "NEW_AND_OLD_IMAGES");
    assert_eq!(made["StreamSpecification"], json!(null), "at home nobody would read it");
    let expiry = home.client().dynamodb("DescribeTimeToLive", &name);
    assert_eq!(
        table["TimeToLiveSpecification"]["AttributeName"],
        expiry["TimeToLiveDescription"]["AttributeName"]
    );
}

/// Lambda drops lines below its own level, and takes those of metrics, which have none, for INFO.
#[test]
fn no_level_of_the_log_silences_a_metric() {
    let template = Template::read();
    let globals = template.at("/Globals/Function");
    assert_eq!(globals["LoggingConfig"]["LogFormat"], "JSON");
    assert_eq!(globals["LoggingConfig"]["ApplicationLogLevel"], "TRACE", "Lambda drops nothing");
    assert_eq!(texts(&globals["Environment"]["Variables"]["RUST_LOG"]), ["${LogLevel}"]);
    for (name, function) in template.resources("AWS::Serverless::Function") {
        assert!(function["LoggingConfig"]["ApplicationLogLevel"].is_null(), "{name} has its own");
    }
}

/// Also in the regions of China and of the United States' government.
#[test]
fn no_arn_of_the_installation_names_a_partition() {
    for file in ["template.yaml", "infra/policies.yaml"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        assert!(text.contains("arn:${AWS::Partition}:"), "{file} has ARNs");
        assert!(!text.contains("arn:aws:"), "{file} names the partition `aws`");
    }
}

#[test]
fn the_stream_reaches_the_stepper_as_the_design_wants_it() {
    let template = Template::read();
    let stream = template.at("/Resources/DeploymentStepper/Properties/Events/Written/Properties");
    let pattern = stream["FilterCriteria"]["Filters"][0]["Pattern"].as_str().unwrap();
    let wakes = json!({ attribute::WAKES: { "S": [attribute::WAKES_VALUE] } });
    assert_eq!(
        serde_json::from_str::<Value>(pattern).unwrap(),
        json!({ "eventName": ["INSERT", "MODIFY"], "dynamodb": { "NewImage": wakes } })
    );
    for (setting, value) in [
        ("StartingPosition", json!("TRIM_HORIZON")),
        ("ParallelizationFactor", json!(1)),
        ("BisectBatchOnFunctionError", json!(true)),
        ("FunctionResponseTypes", json!(["ReportBatchItemFailures"])),
    ] {
        assert_eq!(stream[setting], value, "{setting}");
    }
    assert!(stream["MaximumRetryAttempts"].as_i64().unwrap() <= 5, "few retries");
    assert!(stream["MaximumRecordAgeInSeconds"].as_i64().unwrap() > 0, "an age limit");
    assert_eq!(texts(&stream["DestinationConfig"]["OnFailure"]["Destination"]), ["${Unheard.Arn}"]);
    let readers = template.resources("AWS::Serverless::Function").flat_map(|(_, function)| {
        function["Events"].as_object().into_iter().flat_map(|events| events.values())
    });
    assert_eq!(readers.filter(|event| event["Type"] == "DynamoDB").count(), 1);
}

#[test]
fn every_queue_has_one_for_what_is_given_up_and_an_alarm_on_it() {
    let template = Template::read();
    let mut given_up: BTreeSet<String> = ["${Unheard.QueueName}".to_owned()].into();
    let queues = ["Uploads", "Wakes", "Commands", "Fleet", "Traffic"];
    for name in queues {
        let queue = template.at(&format!("/Resources/{name}/Properties"));
        let dead = format!("${{{name}Dead.Arn}}");
        assert_eq!(texts(&queue["RedrivePolicy"]["deadLetterTargetArn"]), [dead]);
        given_up.insert(format!("${{{name}Dead.QueueName}}"));
    }
    assert_eq!(template.resources("AWS::SQS::Queue").count(), queues.len() + given_up.len());
    let watched: BTreeSet<String> = template
        .resources("AWS::CloudWatch::Alarm")
        .filter(|(_, alarm)| alarm["Namespace"] == "AWS/SQS")
        .flat_map(|(_, alarm)| texts(&alarm["Dimensions"][0]["Value"]))
        .collect();
    assert_eq!(watched, given_up);
    let failing = template
        .resources("AWS::CloudWatch::Alarm")
        .filter(|(_, alarm)| alarm["MetricName"] == "Errors")
        .flat_map(|(_, alarm)| texts(&alarm["Dimensions"][0]["Value"]));
    let functions = Function::ALL.map(|function| format!("${{{}}}", function.resource()));
    assert_eq!(failing.collect::<BTreeSet<_>>(), functions.into());
}

#[test]
fn a_queue_waits_as_long_as_lambda_wants_before_it_delivers_again() {
    let template = Template::read();
    let default = template.at("/Globals/Function/Timeout").as_i64().unwrap();
    for (name, function) in template.resources("AWS::Serverless::Function") {
        let timeout = function["Timeout"].as_i64().unwrap_or(default);
        for event in function["Events"].as_object().into_iter().flat_map(|events| events.values()) {
            if event["Type"] == "SQS" {
                let queue = event["Properties"]["Queue"]["Fn::GetAtt"][0].as_str().unwrap();
                let wait = template.at(&format!("/Resources/{queue}/Properties/VisibilityTimeout"));
                assert!(wait.as_i64().unwrap() >= 6 * timeout, "{queue} for {name}");
                assert_eq!(
                    event["Properties"]["FunctionResponseTypes"],
                    json!(["ReportBatchItemFailures"]),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn what_would_be_missed_is_retained_and_everything_is_encrypted() {
    let template = Template::read();
    for name in ["Table", "Revisions", "RevisionsPolicy", "Bundles", "BundlesPolicy", "Key"] {
        for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
            assert_eq!(*template.at(&format!("/Resources/{name}/{policy}")), "Retain", "{name}");
        }
    }
    let is_keyed = |value: &Value| value.is_object() && texts(value) == ["${Key.Arn}", "${KeyArn}"];
    let kinds = [
        ("AWS::SQS::Queue", "/KmsMasterKeyId"),
        ("AWS::Logs::LogGroup", "/KmsKeyId"),
        ("AWS::DynamoDB::Table", "/SSESpecification/KMSMasterKeyId"),
        (
            "AWS::S3::Bucket",
            "/BucketEncryption/ServerSideEncryptionConfiguration/0/ServerSideEncryptionByDefault/KMSMasterKeyID",
        ),
    ];
    for (kind, pointer) in kinds {
        for (name, resource) in template.resources(kind) {
            assert!(resource.pointer(pointer).is_some_and(is_keyed), "{name} is not encrypted");
        }
    }
}

#[test]
fn every_function_of_the_code_is_built_and_run_with_a_log_of_its_own() {
    let template = Template::read();
    let makefile = fs::read_to_string(root().join("functions/Makefile")).unwrap();
    let mut binaries: BTreeSet<String> = fs::read_dir(root().join("functions/src/bin"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    for (resource, function) in template.resources("AWS::Serverless::Function") {
        let line = format!("build-{resource}: ; $(call place,");
        let rest = makefile.lines().find_map(|of| of.strip_prefix(&line)).unwrap();
        let binary = rest.split(')').next().unwrap();
        assert!(binaries.remove(binary), "{resource} is built of `{binary}`");
        let log = format!("{resource}Log");
        assert_eq!(texts(&function["LoggingConfig"]["LogGroup"]), [format!("${{{log}}}")]);
        let log = template.at(&format!("/Resources/{log}/Properties/LogGroupName"));
        assert_eq!(texts(log), [format!("/cutover/${{AWS::StackName}}/{binary}")]);
    }
    assert!(binaries.is_empty(), "no function runs {binaries:?}");
}

#[test]
fn the_routes_are_these_and_the_operations_are_identified_by_iam() {
    let template = Template::read();
    let routes: BTreeSet<(String, String)> = template
        .resources("AWS::ApiGatewayV2::Route")
        .map(|(_, route)| {
            (texts(&route["RouteKey"]).concat(), texts(&route["AuthorizationType"]).concat())
        })
        .collect();
    let expected = [
        ("GET /cutover/v1/health", "NONE"),
        ("GET /cutover/v1/host/runner", "NONE"),
        ("POST /codedeploy/{operation}", "AWS_IAM"),
        ("POST /cutover/v1/host/{proxy+}", "NONE"),
    ];
    assert_eq!(routes, expected.map(|(key, by)| (key.to_owned(), by.to_owned())).into());
    let stage = template.at("/Resources/HttpApiStage/Properties");
    assert_eq!(texts(&stage["DefaultRouteSettings"]["ThrottlingRateLimit"]), ["${ApiRate}"]);
    for (key, settings) in stage["RouteSettings"].as_object().unwrap() {
        assert!(routes.contains(&(key.clone(), "NONE".to_owned())), "there is no route `{key}`");
        assert_eq!(texts(&settings["ThrottlingRateLimit"]), ["${HostRate}"], "{key}");
    }
}

#[test]
fn only_the_document_hangs_on_there_being_documents() {
    let template = Template::read();
    let conditional: BTreeSet<_> = template
        .members("Resources")
        .iter()
        .filter(|(_, resource)| resource["Condition"] == "MakesDocument")
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(conditional, ["Document"].into());
    let parameters = template.at("/Resources/Document/Properties/Content/parameters");
    for (name, parameter) in parameters.as_object().unwrap() {
        let pattern = parameter["allowedPattern"].as_str().unwrap();
        assert!(pattern.starts_with('^') && pattern.ends_with('$'), "{name}: {pattern}");
        let harmful = ['\'', '"', '`', ';', '&', '|', '<', '>', ' ', '\\', '='];
        assert!(!pattern.contains(harmful), "{name}: {pattern}");
    }
}

#[test]
fn the_metrics_of_alarms_and_dashboard_are_those_that_the_functions_emit() {
    const METRICS: [&str; 5] =
        ["Deployments", "HostOutcomes", "StepLatencyMs", "Wakes", "OldestOverdueMs"];
    let template = Template::read();
    for (name, alarm) in template.resources("AWS::CloudWatch::Alarm") {
        if alarm["Namespace"] == "Cutover" {
            assert!(METRICS.contains(&alarm["MetricName"].as_str().unwrap()), "{name}");
            assert_eq!(alarm["Dimensions"][0]["Name"], "Stack", "{name}");
            assert_eq!(texts(&alarm["Dimensions"][0]["Value"]), ["${AWS::StackName}"], "{name}");
        }
    }
    let body = texts(template.at("/Resources/Overview/Properties/DashboardBody")).concat();
    let board: Value = serde_json::from_str(&body).unwrap();
    let shown = board["widgets"].to_string();
    for metric in METRICS {
        assert!(shown.contains(metric), "the dashboard does not show {metric}");
    }
    let alarms = template.resources("AWS::CloudWatch::Alarm");
    for (name, _) in alarms {
        assert!(shown.contains(&format!("${{{name}.Arn}}")), "the dashboard does not show {name}");
    }
}

#[test]
fn every_parameter_works_unsaid_and_is_explained() {
    let template = Template::read();
    let told = fs::read_to_string(root().join("docs/cloud.md")).unwrap();
    let groups = template.at("/Metadata/AWS::CloudFormation::Interface/ParameterGroups");
    let groups = groups.as_array().unwrap().iter();
    let grouped: Vec<String> = groups.flat_map(|group| texts(&group["Parameters"])).collect();
    let parameters = template.members("Parameters");
    for (name, parameter) in parameters {
        assert!(!parameter["Default"].is_null(), "{name} has no default");
        assert!(parameter["Description"].is_string(), "{name} has no description");
        assert_eq!(grouped.iter().filter(|other| *other == name).count(), 1, "{name} in its group");
        assert!(told.contains(&format!("`{name}`")), "docs/cloud.md does not tell of `{name}`");
    }
    assert_eq!(grouped.len(), parameters.len());
    for (name, _) in template.members("Outputs") {
        assert!(told.contains(&format!("`{name}`")), "docs/cloud.md does not tell of `{name}`");
    }
}

#[test]
fn the_environment_is_what_the_functions_read() {
    let template = Template::read();
    let read = fs::read_to_string(root().join("functions/src/config.rs")).unwrap();
    let names = read.split('"').filter(|text| text.starts_with("CUTOVER_"));
    // Where to write and where the runner lies is said by Lambda.
    let mut read: BTreeSet<&str> =
        names.filter(|name| !["CUTOVER_SPOOL", "CUTOVER_RUNNER"].contains(name)).collect();
    let log = fs::read_to_string(root().join("functions/src/log.rs")).unwrap();
    read.extend(log.split('"').filter(|text| *text == "RUST_LOG"));
    let common = template.at("/Globals/Function/Environment/Variables").as_object().unwrap();
    let own = template
        .resources("AWS::Serverless::Function")
        .filter_map(|(_, function)| function["Environment"]["Variables"].as_object());
    let set: BTreeSet<&str> =
        own.chain([common]).flat_map(|variables| variables.keys()).map(String::as_str).collect();
    assert_eq!(set, read);
}

#[test]
fn the_document_is_the_script_that_is_sent_where_there_is_no_document() {
    let template = Template::read();
    let content = template.at("/Resources/Document/Properties/Content");
    let run = &content["mainSteps"][0]["inputs"];
    assert_eq!(run["runCommand"], json!([SCRIPT]), "shared/aws/src/command.sh, line by line");
    assert_eq!(run["timeoutSeconds"], "{{ ExecutionTimeout }}");
    let none = String::new;
    let sent = Parameters {
        api_url: none(),
        batch_key: none(),
        batch_secret: none(),
        runner_version: none(),
        runner_digest: none(),
    };
    let mut patterns = content["parameters"].as_object().unwrap().clone();
    assert!(patterns.remove("ExecutionTimeout").is_some(), "the script does not contain it");
    for (name, pattern, _) in sent.each() {
        let parameter = patterns.remove(name).unwrap_or_else(|| panic!("there is no `{name}`"));
        assert_eq!(parameter["allowedPattern"], pattern, "{name}");
    }
    assert!(patterns.is_empty(), "nothing sends {patterns:?}");
}

#[test]
fn templates_have_no_merge_keys_because_cloudformation_has_none() {
    for file in ["template.yaml", "infra/policies.yaml"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        assert!(text.contains("AWSTemplateFormatVersion"), "{file}");
        let merge = text.lines().position(|line| line.trim_start().starts_with("<<:"));
        assert_eq!(merge.map(|at| at + 1), None, "a merge key in a line of {file}");
    }
}
