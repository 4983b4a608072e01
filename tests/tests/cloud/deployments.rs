//! Deployments to EC2 instances: Run Command, claims, hooks and reports, each where it really happens.

use serde_json::{Value, json};

use crate::archive::Bundle;
use crate::calls;
use crate::cloud::Cloud;
use crate::hosts::Host;

const ONE: &str = "CodeDeployDefault.OneAtATime";
const ALL: &str = "CodeDeployDefault.AllAtOnce";

fn group(cloud: &Cloud, name: &str, configuration: &str) {
    let settings = json!({
        "deploymentConfigName": configuration,
        "ec2TagFilters": [{ "Key": "role", "Value": name, "Type": "KEY_AND_VALUE" }],
        "autoRollbackConfiguration": { "enabled": true, "events": ["DEPLOYMENT_FAILURE"] },
    });
    cloud.make_group(name, settings);
}

fn target(cloud: &Cloud, deployment: &str, host: &Host<'_>) -> Value {
    let request = json!({ "deploymentId": deployment, "targetId": host.id });
    cloud.call("GetDeploymentTarget", request)["deploymentTarget"]["instanceTarget"].clone()
}

#[test]
fn what_is_put_into_the_bucket_reaches_the_hosts_and_what_fails_there_is_rolled_back() {
    let cloud = Cloud::get();
    let hosts = Host::start(&cloud, 2, "web");
    group(&cloud, "web", ONE);

    let note = "echo \"$LIFECYCLE_EVENT $DEPLOYMENT_ID $DEPLOYMENT_GROUP_NAME\" >>/srv/notes";
    let good = Bundle::new("good").hook("AfterInstall", note).hook("ValidateService", note);
    let id = cloud.deploy("web", "1.zip", &good.zip());
    let info = cloud.ended(&id);
    assert_eq!(info["status"], "Succeeded", "{info:#}{}", cloud.said());
    assert_eq!(info["deploymentOverview"]["Succeeded"], 2, "{info:#}");
    for host in &hosts {
        assert_eq!(host.text("/srv/shop/page.txt"), "good");
        assert_eq!(
            host.text("/srv/notes"),
            format!("AfterInstall {id} web\nValidateService {id} web\n")
        );
        assert_eq!(target(&cloud, &id, host)["status"], "Succeeded");
    }

    let bad = Bundle::new("bad").hook("ValidateService", "echo 'it is bad' >&2; exit 3");
    let failed = cloud.deploy("web", "2.zip", &bad.zip());
    let info = cloud.ended(&failed);
    assert_eq!(info["status"], "Failed", "{info:#}{}", cloud.said());
    let rollback = info["rollbackInfo"]["rollbackDeploymentId"].as_str().unwrap();
    let info = cloud.ended(rollback);
    assert_eq!(info["status"], "Succeeded", "{info:#}{}", cloud.said());
    for host in &hosts {
        assert_eq!(host.text("/srv/shop/page.txt"), "good");
    }
    let outcomes: Vec<_> =
        hosts.iter().map(|host| target(&cloud, &failed, host)["status"].clone()).collect();
    assert!(outcomes.contains(&json!("Failed")), "{outcomes:?}");
    calls::are_all_in_the_table(&cloud);
}

#[test]
fn a_host_that_is_terminated_in_the_middle_is_let_go_and_the_others_are_deployed() {
    let cloud = Cloud::get();
    let hosts = Host::start(&cloud, 3, "middle");
    group(&cloud, "middle", ALL);
    let waits = "touch /srv/waits; while [ ! -e /srv/go ]; do sleep 0.2; done";
    let id =
        cloud.deploy("middle", "1.zip", &Bundle::new("good").hook("AfterInstall", waits).zip());
    cloud.wait_for("all hooks to run", || {
        hosts.iter().all(|host| host.sh("ls /srv", b"").contains("waits")).then_some(())
    });
    let (gone, stay) = hosts.split_first().unwrap();
    gone.terminate();
    for host in stay {
        host.sh("touch /srv/go", b"");
    }
    let info = cloud.ended(&id);
    assert_eq!(info["status"], "Succeeded", "{info:#}{}", cloud.said());
    assert_eq!(info["deploymentOverview"]["Succeeded"], 2, "{info:#}");
    assert_eq!(info["deploymentOverview"]["Failed"], 0, "{info:#}{}", cloud.said());
    for host in stay {
        assert_eq!(host.text("/srv/shop/page.txt"), "good");
    }
    let told = target(&cloud, &id, gone);
    assert!(told.to_string().contains("terminated"), "{told:#}");
    calls::are_all_in_the_table(&cloud);
}

#[test]
fn a_host_that_systems_manager_does_not_reach_fails_alone_and_says_why() {
    let cloud = Cloud::get();
    let hosts = Host::start(&cloud, 1, "partly");
    let unmanaged = Host::start_unmanaged(&cloud, "partly");
    group(&cloud, "partly", ALL);
    let id = cloud.deploy("partly", "1.zip", &Bundle::new("good").zip());
    let info = cloud.ended(&id);
    assert_eq!(info["deploymentOverview"]["Succeeded"], 1, "{info:#}{}", cloud.said());
    assert_eq!(info["deploymentOverview"]["Failed"], 1, "{info:#}");
    for host in &hosts {
        assert_eq!(host.text("/srv/shop/page.txt"), "good");
    }
    let told = target(&cloud, &id, &unmanaged);
    assert_eq!(told["status"], "Failed", "{told:#}");
    assert!(told.to_string().contains("Systems Manager"), "{told:#}");
    calls::are_all_in_the_table(&cloud);
}

#[test]
fn a_host_that_auto_scaling_launches_is_brought_the_revision_of_its_group() {
    let cloud = Cloud::get();
    let scaled = ["--auto-scaling-group-name", "scaled", "--min-size", "0", "--max-size", "3"];
    let launch = ["--launch-configuration-name", "scaled"];
    let image = ["--image-id", cloud.get_text("/image"), "--instance-type", "t3.micro"];
    let make = ["autoscaling", "create-launch-configuration"];
    cloud.aws(&[&make[..], &launch, &image].concat());
    let make = ["autoscaling", "create-auto-scaling-group", "--availability-zones", "us-east-1a"];
    cloud.aws(&[&make[..], &launch, &scaled].concat());
    let settings = json!({ "deploymentConfigName": ONE, "autoScalingGroups": ["scaled"] });
    cloud.make_group("scaled", settings);
    let hook = cloud.wait_for("the hook on the Auto Scaling group", || {
        let list = ["autoscaling", "describe-lifecycle-hooks", "--auto-scaling-group-name"];
        let hooks = cloud.aws(&[&list[..], &["scaled"]].concat());
        let hooks = hooks["LifecycleHooks"].as_array().unwrap().iter();
        let mut launching = hooks
            .filter(|hook| hook["LifecycleTransition"] == "autoscaling:EC2_INSTANCE_LAUNCHING");
        Some(launching.next()?["LifecycleHookName"].as_str()?.to_owned())
    });
    let first = Host::start_in(&cloud, "scaled");
    let id = cloud.deploy("scaled", "1.zip", &Bundle::new("good").zip());
    assert_eq!(cloud.ended(&id)["status"], "Succeeded", "{}", cloud.said());
    assert_eq!(first.text("/srv/shop/page.txt"), "good");

    let late = Host::start_in(&cloud, "scaled");
    late.is_held("scaled", &hook);
    cloud.wait_for("the revision on the host that came later", || {
        (late.text("/srv/shop/page.txt") == "good").then_some(())
    });
    cloud.wait_for("the answer to Auto Scaling", || {
        calls::made(&cloud).iter().any(|call| call.2 == "CompleteLifecycleAction").then_some(())
    });
    calls::are_all_in_the_table(&cloud);
}
