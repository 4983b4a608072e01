//! The JSON protocol as a client sees it.

use engine::Timestamp;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::cutover;

fn read<T: DeserializeOwned>(body: &Value) -> T {
    decode(body.to_string().as_bytes()).unwrap()
}

fn create_group() -> Value {
    json!({
        "applicationName": "shop",
        "deploymentGroupName": "prod",
        "deploymentConfigName": "CodeDeployDefault.HalfAtATime",
        "ec2TagFilters": [{"Key": "role", "Value": "web", "Type": "KEY_AND_VALUE"}],
        "onPremisesTagSet": {"onPremisesTagSetList": [[{"Key": "rack", "Type": "KEY_ONLY"}]]},
        "autoScalingGroups": ["web"],
        "serviceRoleArn": "arn:aws:iam::123456789012:role/deploys",
        "triggerConfigurations": [{
            "triggerName": "tell", "triggerTargetArn": "arn:aws:sns:eu-west-1:1:t", "triggerEvents": ["DeploymentFailure"]
        }],
        "alarmConfiguration": {"enabled": true, "ignorePollAlarmFailure": false, "alarms": [{"name": "5xx"}]},
        "autoRollbackConfiguration": {"enabled": true, "events": ["DEPLOYMENT_FAILURE"]},
        "outdatedInstancesStrategy": "IGNORE",
        "deploymentStyle": {"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"},
        "blueGreenDeploymentConfiguration": {
            "terminateBlueInstancesOnDeploymentSuccess": {"action": "TERMINATE", "terminationWaitTimeInMinutes": 5},
            "deploymentReadyOption": {"actionOnTimeout": "STOP_DEPLOYMENT", "waitTimeInMinutes": 60},
            "greenFleetProvisioningOption": {"action": "COPY_AUTO_SCALING_GROUP"}
        },
        "loadBalancerInfo": {
            "elbInfoList": [{"name": "old"}],
            "targetGroupInfoList": [{"name": "new"}],
            "targetGroupPairInfoList": [{
                "targetGroups": [{"name": "blue"}, {"name": "green"}],
                "prodTrafficRoute": {"listenerArns": ["l"]},
                "testTrafficRoute": {"listenerArns": ["m"]}
            }]
        },
        "ecsServices": [{"serviceName": "s", "clusterName": "c"}],
        "ec2DeploymentOptions": {"autoScalingGroupProcessesToSuspend": ["AZRebalance"]},
        "terminationHookEnabled": true,
        "tags": [{"Key": "team", "Value": "a"}]
    })
}

#[test]
fn a_group_is_read_back_with_everything_that_a_client_set() {
    let sent = create_group();
    let request: CreateDeploymentGroup = read(&sent);
    request.validate().unwrap();
    assert_eq!(serde_json::to_value(&request).unwrap(), sent);

    let info = serde_json::to_value(DeploymentGroupInfo::from(request.settings)).unwrap();
    let mut expected = sent;
    let members = expected.as_object_mut().unwrap();
    for elsewhere in ["applicationName", "deploymentGroupName", "tags"] {
        members.remove(elsewhere);
    }
    members.insert("autoScalingGroups".to_owned(), json!([{"name": "web"}]));
    assert_eq!(info, expected);
}

#[test]
fn a_change_keeps_what_is_absent_and_clears_what_is_empty() {
    let before = read::<CreateDeploymentGroup>(&create_group()).settings;
    let change: UpdateDeploymentGroup = read(&json!({
        "applicationName": "shop",
        "currentDeploymentGroupName": "prod",
        "autoScalingGroups": [],
        "alarmConfiguration": null,
        "ec2TagSet": {"ec2TagSetList": [[{"Key": "a", "Type": "KEY_ONLY"}]]},
        "onPremisesInstanceTagFilters": [],
        "someMemberOfTomorrow": {"a": 1}
    }));
    change.validate().unwrap();
    let after = before.clone().changed_by(change.settings.clone());
    assert_eq!(after.auto_scaling_groups, Some(vec![]));
    assert_eq!(after.alarm_configuration, before.alarm_configuration);
    assert_eq!(
        (&after.ec2_tag_set, after.ec2_tag_filters.as_ref()),
        (&change.settings.ec2_tag_set, None)
    );
    assert_eq!(after.on_premises_tag_set, before.on_premises_tag_set);
    assert_eq!(before.clone().changed_by(GroupSettings::default()), before);
    after.validate().unwrap();
}

#[test]
fn a_deployment_is_written_as_clients_read_it() {
    let info = json!({"deploymentInfo": {
        "applicationName": "shop",
        "deploymentGroupName": "prod",
        "deploymentId": "d-A1B2C3D4E",
        "revision": {"revisionType": "S3", "s3Location": {
            "bucket": "b", "key": "k.zip", "bundleType": "zip", "version": "3", "eTag": "9a"}},
        "status": "Failed",
        "errorInformation": {"code": "HEALTH_CONSTRAINTS", "message": "too many"},
        "createTime": 1_409_764_576.589_f64,
        "completeTime": 1_409_764_577.0_f64,
        "deploymentOverview": {"Pending": 1, "InProgress": 0, "Succeeded": 2, "Failed": 1, "Skipped": 0, "Ready": 0},
        "creator": "codeDeployRollback",
        "rollbackInfo": {"rollbackTriggeringDeploymentId": "d-000000000"},
        "fileExistsBehavior": "DISALLOW",
        "deploymentStatusMessages": [],
        "computePlatform": "Server"
    }});
    let read: GetDeploymentOutput = read(&info);
    let deployment = read.deployment_info.as_ref().unwrap();
    assert_eq!(deployment.create_time.map(Timestamp::from), Some(Timestamp(1_409_764_576_589)));
    assert_eq!(serde_json::to_value(&read).unwrap(), info);
}

#[test]
fn a_revision_is_the_same_before_and_after_the_wire() {
    let location: RevisionLocation = read(&json!({"revisionType": "S3", "s3Location": {
        "bucket": "b", "key": "k", "bundleType": "tgz", "version": "", "eTag": "\"9a\""}}));
    let revision = engine::Revision::try_from(&location).unwrap();
    assert_eq!((revision.version.as_deref(), revision.e_tag.as_deref()), (None, Some("9a")));
    assert_eq!(engine::Revision::try_from(&RevisionLocation::from(&revision)).unwrap(), revision);
    let yaml: RevisionLocation = read(&json!({"revisionType": "S3", "s3Location": {
        "bucket": "b", "key": "k", "bundleType": "YAML"}}));
    let revision = engine::Revision::try_from(&yaml).unwrap();
    assert!(!revision.bundle_type.is_archive(), "{revision:?}");
    assert_eq!(engine::Revision::try_from(&RevisionLocation::from(&revision)).unwrap(), revision);
    let rar: RevisionLocation = read(&json!({"revisionType": "S3", "s3Location": {
        "bucket": "b", "key": "k", "bundleType": "rar"}}));
    let error = engine::Revision::try_from(&rar).unwrap_err();
    assert_eq!(error.name, ErrorName::InvalidRevision);
}

#[test]
fn an_error_has_the_body_that_clients_know() {
    let error = ErrorName::InvalidEc2Tag.because("no");
    let body = json!({"__type": "InvalidEC2TagException", "message": "no"});
    assert_eq!(serde_json::to_value(&error).unwrap(), body);
    assert_eq!(
        decode::<GetDeployment>(b"[\"d-A1B2C3D4E\"]").unwrap_err().name,
        ErrorName::Serialization
    );
    assert_eq!(decode::<ListApplications>(b" ").unwrap(), ListApplications::default());
}

#[test]
fn an_operation_is_known_by_its_target_only() {
    for operation in Operation::ALL {
        let target = format!("CodeDeploy_20141006.{}", operation.name());
        assert_eq!(Operation::from_target(&target).unwrap(), *operation);
    }
    assert_eq!(CreateDeployment::TARGET, "CodeDeploy_20141006.CreateDeployment");
    assert_eq!(cutover::Subscribe::TARGET, "Cutover_v1.Subscribe");
    for target in [
        "",
        "CreateDeployment",
        "Cutover_v1.CreateDeployment",
        "CodeDeploy_20141006.createDeployment",
    ] {
        assert_eq!(Operation::from_target(target).unwrap_err().name, ErrorName::UnknownOperation);
    }
}

/// What a request is refused with.
fn refusal<R: Request>(body: Value) -> String {
    match read::<R>(&body).validate() {
        Ok(()) => "accepted".to_owned(),
        Err(error) => error.name.name().trim_end_matches("Exception").to_owned(),
    }
}

fn group_with(member: &str, value: Value) -> String {
    let mut body = json!({
        "applicationName": "a", "deploymentGroupName": "g", "serviceRoleArn": "arn:aws:iam::1:role/r"
    });
    body[member] = value;
    refusal::<CreateDeploymentGroup>(body)
}

#[test]
fn a_group_is_refused_for_the_first_thing_that_is_wrong() {
    let filter = json!({"Key": "a", "Type": "KEY_ONLY"});
    let eleven = |value: Value| Value::Array(vec![value; 11]);
    for (member, value, expected) in [
        ("applicationName", json!(""), "ApplicationNameRequired"),
        ("applicationName", json!("a b"), "InvalidApplicationName"),
        ("deploymentGroupName", json!(null), "DeploymentGroupNameRequired"),
        ("deploymentGroupName", json!("g".repeat(101)), "InvalidDeploymentGroupName"),
        ("serviceRoleArn", json!(""), "RoleRequired"),
        ("serviceRoleArn", json!("arn:aws:iam::1:user/u"), "InvalidRole"),
        ("ec2TagFilters", eleven(filter.clone()), "InvalidEC2Tag"),
        ("ec2TagFilters", json!([{"Type": "VALUE_ONLY", "Key": "a"}]), "InvalidEC2Tag"),
        ("ec2TagFilters", json!([{"Key": "a", "Value": ""}]), "accepted"),
        ("onPremisesInstanceTagFilters", json!([{"Type": "ANY"}]), "InvalidTag"),
        (
            "ec2TagSet",
            json!({"ec2TagSetList": [[filter], [filter], [filter], [filter]]}),
            "TagSetListLimitExceeded",
        ),
        ("ec2TagSet", json!({"ec2TagSetList": [[]]}), "InvalidEC2TagCombination"),
        ("alarmConfiguration", json!({"enabled": true}), "InvalidAlarmConfig"),
        (
            "alarmConfiguration",
            json!({"alarms": [{"name": "a"}, {"name": "a"}]}),
            "InvalidAlarmConfig",
        ),
        (
            "alarmConfiguration",
            json!({"alarms": eleven(json!({"name": "a"}))}),
            "AlarmsLimitExceeded",
        ),
        (
            "autoRollbackConfiguration",
            json!({"enabled": true, "events": []}),
            "InvalidAutoRollbackConfig",
        ),
        ("autoRollbackConfiguration", json!({"enabled": false}), "accepted"),
        ("autoRollbackConfiguration", json!({"events": ["ANY"]}), "InvalidAutoRollbackConfig"),
        ("triggerConfigurations", eleven(json!({})), "TriggerTargetsLimitExceeded"),
        ("triggerConfigurations", json!([{"triggerName": "t"}]), "InvalidTriggerConfig"),
        ("deploymentStyle", json!({"deploymentType": "IN_PLACE"}), "InvalidDeploymentStyle"),
        (
            "blueGreenDeploymentConfiguration",
            json!({"deploymentReadyOption": {"actionOnTimeout": "CONTINUE_DEPLOYMENT", "waitTimeInMinutes": 1}}),
            "InvalidBlueGreenDeploymentConfiguration",
        ),
        ("loadBalancerInfo", json!({"elbInfoList": [{}]}), "InvalidLoadBalancerInfo"),
        ("loadBalancerInfo", json!({"targetGroupPairInfoList": [{}]}), "InvalidTargetGroupPair"),
        ("ecsServices", json!([{"serviceName": "s"}]), "InvalidECSService"),
        ("autoScalingGroups", json!([""]), "InvalidAutoScalingGroup"),
        (
            "ec2DeploymentOptions",
            json!({"autoScalingGroupProcessesToSuspend": ["Launch"]}),
            "InvalidAutoScalingGroupProcessToSuspend",
        ),
        ("outdatedInstancesStrategy", json!("NOTHING"), "InvalidInput"),
        ("tags", json!([{"Key": "aws:x", "Value": ""}]), "InvalidTagsToAdd"),
    ] {
        assert_eq!(group_with(member, value.clone()), expected, "{member}: {value}");
    }
}

#[test]
fn a_deployment_is_refused_for_the_first_thing_that_is_wrong() {
    let revision = |place: Value| json!({"applicationName": "a", "revision": place});
    let location = json!({"bucket": "b", "key": "k", "bundleType": "zip"});
    for (body, expected) in [
        (json!({}), "ApplicationNameRequired"),
        // The application is looked for before these are missed.
        (json!({"applicationName": "a"}), "accepted"),
        (revision(json!({"revisionType": "S3", "s3Location": location})), "accepted"),
        (revision(json!({"revisionType": "GitHub", "s3Location": location})), "InvalidRevision"),
        (
            revision(json!({"revisionType": "S3", "s3Location": {"bucket": "b", "key": "k"}})),
            "InvalidRevision",
        ),
        (
            revision(json!({"revisionType": "S3", "s3Location": location, "string": {}})),
            "InvalidRevision",
        ),
        (revision(json!({})), "InvalidRevision"),
        (json!({"applicationName": "a", "description": "é".repeat(257)}), "DescriptionTooLong"),
        (
            json!({"applicationName": "a", "fileExistsBehavior": "overwrite"}),
            "InvalidFileExistsBehavior",
        ),
        (
            json!({"applicationName": "a", "targetInstances": {"tagFilters": [{}]}}),
            "InvalidTargetInstances",
        ),
        (
            json!({"applicationName": "a", "deploymentMode": "RESTART", "revision":
            {"revisionType": "S3", "s3Location": location}}),
            "InvalidInput",
        ),
    ] {
        assert_eq!(refusal::<CreateDeployment>(body.clone()), expected, "{body}");
    }
    let bare: CreateDeployment = read(&json!({"applicationName": "a"}));
    assert_eq!(bare.required_group_name().unwrap_err().message, "Deployment Group name is missing");
    assert_eq!(bare.required_revision().unwrap_err().message, "RevisionLocation must be specified");
}

#[test]
fn every_other_request_is_refused_by_the_name_that_codedeploy_has_for_it() {
    let config = |kind: &str, value: i32| {
        refusal::<CreateDeploymentConfig>(
            json!({"deploymentConfigName": "c", "minimumHealthyHosts": {"type": kind, "value": value}}),
        )
    };
    let ids = |count: usize| json!({"deploymentIds": vec!["d-A1B2C3D4E"; count]});
    let session = "arn:aws:sts::1:assumed-role/r/s";
    let filters = |filters: Value| json!({"deploymentId": "d", "targetFilters": filters});
    for (got, expected) in [
        (config("HOST_COUNT", 0), "accepted"),
        (config("HOST_COUNT", -1), "InvalidMinimumHealthyHostValue"),
        (config("FLEET_PERCENT", 99), "accepted"),
        (config("FLEET_PERCENT", 100), "InvalidMinimumHealthyHostValue"),
        (config("MOST_CONCURRENCY", 1), "InvalidMinimumHealthyHostValue"),
        (
            refusal::<CreateDeploymentConfig>(
                json!({"deploymentConfigName": "CodeDeployDefault.Mine"}),
            ),
            "InvalidDeploymentConfigName",
        ),
        (
            refusal::<CreateDeploymentConfig>(
                json!({"deploymentConfigName": "c", "computePlatform": "Lambda",
            "trafficRoutingConfig": {"type": "TimeBasedLinear",
                "timeBasedLinear": {"linearPercentage": 1, "linearInterval": 30}}}),
            ),
            "InvalidTrafficRoutingConfiguration",
        ),
        (refusal::<GetDeployment>(json!({})), "DeploymentIdRequired"),
        (refusal::<GetDeployment>(json!({"deploymentId": "not-a-real-one"})), "accepted"),
        (
            refusal::<StopDeployment>(json!({"deploymentId": "d".repeat(101)})),
            "InvalidDeploymentId",
        ),
        (refusal::<BatchGetDeployments>(ids(100)), "accepted"),
        (refusal::<BatchGetDeployments>(ids(101)), "BatchLimitExceeded"),
        (
            refusal::<ListDeployments>(json!({"applicationName": "a"})),
            "DeploymentGroupNameRequired",
        ),
        (
            refusal::<ListDeployments>(json!({"deploymentGroupName": "g"})),
            "ApplicationNameRequired",
        ),
        (
            refusal::<ListDeployments>(json!({"includeOnlyStatuses": ["Done"]})),
            "InvalidDeploymentStatus",
        ),
        (
            refusal::<ListDeployments>(json!({"createTimeRange": {"start": 2.5, "end": 2}})),
            "InvalidTimeRange",
        ),
        (refusal::<ListDeployments>(json!({"createTimeRange": {"start": -5}})), "accepted"),
        (
            refusal::<ListDeploymentTargets>(filters(json!({"Colour": []}))),
            "InvalidTargetFilterName",
        ),
        (
            refusal::<ListDeploymentTargets>(filters(json!({"TargetStatus": ["Ok"]}))),
            "InvalidInstanceStatus",
        ),
        (
            refusal::<ListApplicationRevisions>(
                json!({"applicationName": "a", "s3KeyPrefix": "p"}),
            ),
            "BucketNameFilterRequired",
        ),
        (refusal::<GetApplicationRevision>(json!({"applicationName": "a"})), "RevisionRequired"),
        (refusal::<RegisterOnPremisesInstance>(json!({"instanceName": "h"})), "IamArnRequired"),
        (
            refusal::<RegisterOnPremisesInstance>(
                json!({"instanceName": "i-h", "iamSessionArn": session}),
            ),
            "InvalidInstanceName",
        ),
        (
            refusal::<RegisterOnPremisesInstance>(
                json!({"instanceName": "h", "iamUserArn": session}),
            ),
            "InvalidIamUserArn",
        ),
        (
            refusal::<RegisterOnPremisesInstance>(
                json!({"instanceName": "h", "iamSessionArn": session}),
            ),
            "accepted",
        ),
        (refusal::<AddTagsToOnPremisesInstances>(json!({"instanceNames": ["h"]})), "TagRequired"),
        (
            refusal::<cutover::Subscribe>(
                json!({"applicationName": "a", "deploymentGroupName": "g"}),
            ),
            "Validation",
        ),
        (
            refusal::<cutover::ListSubscriptions>(json!({"deploymentGroupName": "g"})),
            "ApplicationNameRequired",
        ),
    ] {
        assert_eq!(got, expected);
    }
}

/// Members of the protocol with values of any kind, so that decoding gets past the first level.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["S3", "KEY_ONLY", "arn:aws:iam::1:role/r", "Lambda", "é"])
            .prop_map(Value::from),
    ];
    let member = prop::sample::select(vec![
        "applicationName",
        "deploymentGroupName",
        "revision",
        "revisionType",
        "s3Location",
        "bucket",
        "key",
        "bundleType",
        "ec2TagFilters",
        "ec2TagSet",
        "ec2TagSetList",
        "Key",
        "Value",
        "Type",
        "serviceRoleArn",
        "createTimeRange",
        "start",
        "end",
        "deploymentId",
        "targetFilters",
        "minimumHealthyHosts",
        "type",
        "value",
        "deploymentConfigName",
        "trafficRoutingConfig",
        "timeBasedLinear",
        "linearPercentage",
        "linearInterval",
        "computePlatform",
        "tags",
        "instanceName",
        "iamUserArn",
        "alarmConfiguration",
        "alarms",
        "name",
    ]);
    leaf.prop_recursive(4, 48, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(member.clone().prop_map(str::to_owned), inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn survives<R: Request>(body: &[u8]) {
    if let Ok(request) = decode::<R>(body) {
        drop(request.validate());
        let again = serde_json::to_vec(&request).unwrap();
        decode::<R>(&again).unwrap();
    }
}

fn survives_all(body: &[u8]) {
    survives::<CreateApplication>(body);
    survives::<CreateDeploymentGroup>(body);
    survives::<UpdateDeploymentGroup>(body);
    survives::<CreateDeploymentConfig>(body);
    survives::<RegisterApplicationRevision>(body);
    survives::<CreateDeployment>(body);
    survives::<ListDeployments>(body);
    survives::<ListDeploymentTargets>(body);
    survives::<RegisterOnPremisesInstance>(body);
    survives::<AddTagsToOnPremisesInstances>(body);
    survives::<cutover::Subscribe>(body);
}

proptest! {
    #[test]
    fn no_json_makes_a_request_panic(value in any_json()) {
        survives_all(value.to_string().as_bytes());
    }

    #[test]
    fn no_bytes_make_a_request_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
        survives_all(&body);
    }

    #[test]
    fn a_moment_is_the_same_before_and_after_the_wire(ms in 0_u64..253_402_300_800_000) {
        let text = serde_json::to_string(&Seconds::from(Timestamp(ms))).unwrap();
        prop_assert_eq!(Timestamp::from(serde_json::from_str::<Seconds>(&text).unwrap()), Timestamp(ms));
    }
}
