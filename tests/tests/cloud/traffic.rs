//! Traffic that moves all together: hosts of a target group are exchanged, and an alias goes by steps and back.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::archive::Bundle;
use crate::calls;
use crate::cloud::Cloud;
use crate::hosts::Host;

/// A target group behind a listener, with the stack's tag; gives back its ARN.
fn target_group(cloud: &Cloud, name: &str) -> String {
    let tag = format!("Key=cutover,Value={}", cloud.get_text("/stack"));
    let vpcs = cloud.aws(&["ec2", "describe-vpcs"]);
    let vpc = vpcs["Vpcs"][0]["VpcId"].as_str().unwrap();
    let subnets = cloud.aws(&["ec2", "describe-subnets"]);
    let subnets = subnets["Subnets"].as_array().unwrap().iter().take(2);
    let subnets: Vec<&str> = subnets.map(|subnet| subnet["SubnetId"].as_str().unwrap()).collect();
    let http = ["--protocol", "HTTP", "--port", "80"];
    let make = ["elbv2", "create-target-group", "--name", name, "--vpc-id", vpc, "--tags", &tag];
    let made = cloud.aws(&[&make[..], &http].concat());
    let group = made["TargetGroups"][0]["TargetGroupArn"].as_str().unwrap().to_owned();
    let make = ["elbv2", "create-load-balancer", "--name", name, "--tags", &tag, "--subnets"];
    let made = cloud.aws(&[&make[..], &subnets].concat());
    let balancer = made["LoadBalancers"][0]["LoadBalancerArn"].as_str().unwrap();
    let forward = format!("Type=forward,TargetGroupArn={group}");
    let make = ["elbv2", "create-listener", "--load-balancer-arn", balancer];
    let leads = ["--default-actions", &forward, "--tags", &tag];
    cloud.aws(&[&make[..], &http, &leads].concat());
    group
}

fn register(cloud: &Cloud, group: &str, hosts: &[Host<'_>]) {
    let ids: Vec<String> = hosts.iter().map(|host| format!("Id={}", host.id)).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let register = ["elbv2", "register-targets", "--target-group-arn", group, "--targets"];
    cloud.aws(&[&register[..], &ids].concat());
}

/// Who gets requests of a target group.
fn members(cloud: &Cloud, group: &str) -> BTreeSet<String> {
    let told = cloud.aws(&["elbv2", "describe-target-health", "--target-group-arn", group]);
    let targets = told["TargetHealthDescriptions"].as_array().unwrap().iter();
    let targets = targets.filter(|target| target["TargetHealth"]["State"] != "draining");
    targets.map(|target| target["Target"]["Id"].as_str().unwrap().to_owned()).collect()
}

fn ids(hosts: &[Host<'_>]) -> BTreeSet<String> {
    hosts.iter().map(|host| host.id.clone()).collect()
}

fn state(cloud: &Cloud, host: &Host<'_>) -> String {
    let told = cloud.aws(&["ec2", "describe-instances", "--instance-ids", &host.id]);
    let instance = &told["Reservations"][0]["Instances"][0];
    instance["State"]["Name"].as_str().unwrap_or("gone").to_owned()
}

#[test]
fn hosts_of_a_target_group_are_exchanged_back_again_and_the_old_ones_are_terminated() {
    let cloud = Cloud::get();
    let group = target_group(&cloud, "exchange");
    let (blue, green) = (Host::start(&cloud, 2, "exchange"), Host::start(&cloud, 2, "exchange"));
    register(&cloud, &group, &blue);
    let settings = json!({
        "deploymentConfigName": "CodeDeployDefault.AllAtOnce",
        "ec2TagFilters": [{ "Key": "role", "Value": "exchange", "Type": "KEY_AND_VALUE" }],
        "deploymentStyle": {
            "deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL",
        },
        "loadBalancerInfo": { "targetGroupInfoList": [{ "name": "exchange" }] },
    });
    cloud.make_group("exchange", settings);
    let first = cloud.deploy("exchange", "1.zip", &Bundle::new("one").zip());
    let info = cloud.ended(&first);
    assert_eq!(info["status"], "Succeeded", "{info:#}{}", cloud.said());
    assert_eq!(members(&cloud, &group), ids(&green));
    assert_eq!([&blue[0], &green[0]].map(|host| host.text("/srv/shop/page.txt")), ["", "one"]);

    let back = cloud.call("Cutover_v1.RollBackDeployment", json!({ "deploymentId": first }));
    let info = cloud.ended(back["deploymentId"].as_str().unwrap());
    assert_eq!(info["status"], "Succeeded", "{info:#}{}", cloud.said());
    assert_eq!(members(&cloud, &group), ids(&blue), "{}", cloud.said());

    let change = json!({
        "applicationName": "exchange",
        "currentDeploymentGroupName": "exchange",
        "blueGreenDeploymentConfiguration": {
            "terminateBlueInstancesOnDeploymentSuccess": {
                "action": "TERMINATE", "terminationWaitTimeInMinutes": 0,
            },
        },
    });
    cloud.call("UpdateDeploymentGroup", change);
    let second = cloud.deploy("exchange", "2.zip", &Bundle::new("two").zip());
    let info = cloud.ended(&second);
    assert_eq!(info["status"], "Succeeded", "{info:#}{}", cloud.said());
    assert_eq!(members(&cloud, &group), ids(&green));
    assert_eq!(green[1].text("/srv/shop/page.txt"), "two");
    for (hosts, is_there) in [(&blue, false), (&green, true)] {
        for host in hosts {
            assert_eq!(state(&cloud, host) == "running", is_there, "{}", cloud.said());
        }
    }
    calls::are_all_in_the_table(&cloud);
}

/// The versions that an alias leads to, and the share of the second one.
fn alias(cloud: &Cloud) -> (String, Value) {
    let read = ["lambda", "get-alias", "--function-name", "moved", "--name", "live"];
    let told = cloud.aws(&read);
    let version = told["FunctionVersion"].as_str().unwrap().to_owned();
    (version, told["RoutingConfig"]["AdditionalVersionWeights"].clone())
}

/// A function with two versions, and an alias of the first.
fn function(cloud: &Cloud) {
    let file = cloud.scratch("moved").join("function.zip");
    std::fs::write(&file, Bundle::new("function").zip()).unwrap();
    let code = format!("fileb://{}", file.display());
    let trust = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "Service": "lambda.amazonaws.com" },
    }] });
    let make = ["iam", "create-role", "--role-name", "moved", "--assume-role-policy-document"];
    let role = cloud.aws(&[&make[..], &[&trust.to_string()]].concat());
    let role = role["Role"]["Arn"].as_str().unwrap();
    let tag = format!("cutover={}", cloud.get_text("/stack"));
    let moved = ["--function-name", "moved"];
    let make = ["lambda", "create-function", "--runtime", "python3.11", "--handler", "index.main"];
    let how = ["--role", role, "--zip-file", &code, "--tags", &tag];
    cloud.aws(&[&make[..], &moved, &how].concat());
    for description in ["one", "two"] {
        let change = ["lambda", "update-function-configuration", "--description", description];
        cloud.aws(&[&change[..], &moved].concat());
        cloud.aws(&[&["lambda", "publish-version"][..], &moved].concat());
    }
    let make = ["lambda", "create-alias", "--name", "live", "--function-version", "1"];
    cloud.aws(&[&make[..], &moved].concat());
}

#[test]
fn an_alias_goes_by_steps_and_back_when_somebody_stops_it() {
    let cloud = Cloud::get();
    function(&cloud);
    cloud.call(
        "CreateApplication",
        json!({ "applicationName": "moved", "computePlatform": "Lambda" }),
    );
    let steps = json!({ "deploymentConfigName": "moved", "steps": "10%@10m,100%" });
    cloud.call("Cutover_v1.CreateLadder", steps);
    let group = json!({
        "applicationName": "moved",
        "deploymentGroupName": "moved",
        "serviceRoleArn": format!("arn:aws:iam::{}:role/none", cloud.get_text("/account")),
        "deploymentConfigName": "moved",
    });
    cloud.call("CreateDeploymentGroup", group);
    let content = json!({
        "version": "0.0",
        "Resources": [{ "moved": { "Type": "AWS::Lambda::Function", "Properties": {
            "Name": "moved", "Alias": "live", "CurrentVersion": "1", "TargetVersion": "2",
        } } }],
    });
    let request = json!({
        "applicationName": "moved",
        "deploymentGroupName": "moved",
        "revision": {
            "revisionType": "AppSpecContent", "appSpecContent": { "content": content.to_string() },
        },
    });
    let deploy = || {
        let made = cloud.call("CreateDeployment", request.clone());
        let id = made["deploymentId"].as_str().unwrap().to_owned();
        cloud.wait_for("the first step", || {
            let info = cloud.deployment(&id);
            assert_ne!(info["status"], "Failed", "{info:#}");
            (alias(&cloud) == ("1".to_owned(), json!({ "2": 0.1 }))).then_some(())
        });
        id
    };

    let bad = deploy();
    let stop = json!({ "deploymentId": bad, "autoRollbackEnabled": true });
    cloud.call("StopDeployment", stop);
    let info = cloud.ended(&bad);
    assert_eq!(info["status"], "Stopped", "{info:#}{}", cloud.said());
    let told = info["rollbackInfo"]["rollbackMessage"].as_str().unwrap();
    assert!(told.contains("where it was before"), "{told}");
    let (version, others) = alias(&cloud);
    assert!(version == "1" && others.as_object().is_none_or(serde_json::Map::is_empty), "{others}");

    let good = deploy();
    let promote = json!({ "deploymentId": good, "wish": "Promote" });
    cloud.call("Cutover_v1.SteerDeployment", promote);
    let info = cloud.ended(&good);
    assert_eq!(info["status"], "Succeeded", "{info:#}{}", cloud.said());
    assert_eq!(alias(&cloud).0, "2");
    calls::are_all_in_the_table(&cloud);
}
