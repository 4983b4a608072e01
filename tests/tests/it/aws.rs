//! AWS's own tools on a home: the AWS CLI uploads, boto3 reads back and drives CodeDeploy's API.

use serde_json::json;

use crate::support::archive::Bundle;
use crate::support::gate::Gate;
use crate::support::home::Home;
use crate::support::tools::{aws, python};
use crate::support::wait_for;

const ALL: &str = "CodeDeployDefault.AllAtOnce";
const ONE: &str = "CodeDeployDefault.OneAtATime";

#[test]
fn an_upload_of_the_aws_cli_is_deployed_to_four_hosts_and_read_back_with_boto3() {
    let home = Home::started(4);
    home.make_group(ONE);
    home.subscribe();
    let bundle = Bundle::new("from the CLI").hook("ValidateService", "test -n \"$HOST_ADDRESS\"");
    let file = home.beside().join("app.zip");
    std::fs::write(&file, bundle.zip()).unwrap();
    let copied = aws(&home, &["s3", "cp", file.to_str().unwrap(), "s3://revisions/shop/app.zip"]);
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let id = home.upload_of("shop/app.zip")["deploymentId"].as_str().unwrap().to_owned();
    let waited = aws(&home, &["deploy", "wait", "deployment-successful", "--deployment-id", &id]);
    assert!(waited.status.success(), "{}", String::from_utf8_lossy(&waited.stderr));
    for host in 1..=4 {
        assert_eq!(home.text(host, "srv/shop/page.txt"), "from the CLI");
    }
    let read = python(
        &home,
        &format!(
            "codedeploy.get_waiter('deployment_successful').wait(deploymentId='{id}')\n\
             info = codedeploy.get_deployment(deploymentId='{id}')['deploymentInfo']\n\
             got = s3.get_object(Bucket='revisions', Key='shop/app.zip')\n\
             body = got['Body'].read()\n\
             place = info['revision']['s3Location']\n\
             result = {{'keys': [o['Key'] for o in s3.list_objects_v2(Bucket='revisions')['Contents']],\n\
                       'bytes': len(body), 'same': got['ETag'].strip('\"') == place['eTag'],\n\
                       'status': info['status'], 'overview': info['deploymentOverview'],\n\
                       'key': place['key'], 'type': place['bundleType'], 'by': info['creator'],\n\
                       'took': (info['completeTime'] - info['createTime']).total_seconds() > 0}}"
        ),
    );
    assert_eq!(read["keys"], json!(["shop/app.zip"]));
    assert_eq!(read["bytes"], bundle.zip().len());
    assert_eq!((&read["status"], &read["type"]), (&json!("Succeeded"), &json!("zip")));
    assert_eq!(read["overview"]["Succeeded"], 4);
    assert_eq!((&read["same"], &read["took"]), (&json!(true), &json!(true)), "{read:#}");
}

#[test]
fn a_large_upload_in_parts_is_one_upload() {
    let home = Home::started(1);
    home.make_group(ALL);
    home.subscribe();
    let mut noise = vec![0; 20 << 20];
    getrandom::fill(&mut noise).unwrap();
    let file = home.beside().join("app.tar");
    std::fs::write(&file, Bundle::new("large").file("www/noise", &noise, 0o644).tar()).unwrap();
    let copied = aws(&home, &["s3", "cp", file.to_str().unwrap(), "s3://revisions/shop/app.tar"]);
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let id = home.upload_of("shop/app.tar")["deploymentId"].as_str().unwrap().to_owned();
    home.succeeded(&id);
    assert_eq!(std::fs::read(home.file(1, "srv/shop/noise")).unwrap(), noise);
    assert_eq!(home.deployments(), [id]);
}

#[test]
fn errors_have_the_codes_that_codedeploy_gives_them() {
    let home = Home::started(1);
    home.make_group(ONE);
    let read = python(
        &home,
        "c = codedeploy\n\
         role = 'arn:aws:iam::000000000000:role/x'\n\
         shop = dict(applicationName='shop')\n\
         web = dict(shop, deploymentGroupName='web')\n\
         nowhere = {'revisionType': 'S3', 's3Location': {'bucket': 'revisions', 'key': 'no', 'bundleType': 'zip'}}\n\
         result = {\n\
         'ApplicationDoesNotExistException': refused(c.get_application, applicationName='none'),\n\
         'ApplicationAlreadyExistsException': refused(c.create_application, **shop),\n\
         'InvalidApplicationNameException': refused(c.create_application, applicationName='a' * 100 + '/'),\n\
         'DeploymentGroupDoesNotExistException': refused(c.get_deployment_group, applicationName='shop', deploymentGroupName='none'),\n\
         'DeploymentGroupAlreadyExistsException': refused(c.create_deployment_group, serviceRoleArn=role, **web),\n\
         'DeploymentDoesNotExistException': refused(c.get_deployment, deploymentId='d-AAAAAAAAA'),\n\
         'DeploymentConfigDoesNotExistException': refused(c.get_deployment_config, deploymentConfigName='none'),\n\
         'DeploymentConfigAlreadyExistsException': refused(c.create_deployment_config, deploymentConfigName='CodeDeployDefault.OneAtATime', minimumHealthyHosts={'type': 'HOST_COUNT', 'value': 1}) ,\n\
         'InstanceNotRegisteredException': refused(c.get_on_premises_instance, instanceName='host-77'),\n\
         'RevisionDoesNotExistException': refused(c.get_application_revision, revision=nowhere, **shop),\n\
         }",
    );
    for (expected, found) in read.as_object().unwrap() {
        // A predefined configuration's name is reserved, which CodeDeploy tells by another name.
        if expected == "DeploymentConfigAlreadyExistsException" {
            assert!(found.is_string(), "a predefined configuration was made again");
        } else {
            assert_eq!(found, expected);
        }
    }
}

/// Registers a revision whose `AfterInstall` waits at a gate, and returns its location as Python.
fn gated(home: &Home, gate: &Gate, end: &str) -> String {
    let bundle = Bundle::new("gated").hook("AfterInstall", &format!("{}\n{end}", gate.pass()));
    home.client().put("manual/gated.zip", &bundle.zip());
    "{'revisionType': 'S3', 's3Location': {'bucket': 'revisions', 'key': 'manual/gated.zip', 'bundleType': 'zip'}}".to_owned()
}

#[test]
fn a_stopped_deployment_takes_no_more_hosts_and_rolls_back_if_that_is_wanted() {
    let home = Home::started(3);
    home.make_group(ONE);
    home.client().put("manual/good.zip", &Bundle::new("good").zip());
    let good = python(
        &home,
        "revision = {'revisionType': 'S3', 's3Location': {'bucket': 'revisions', 'key': 'manual/good.zip', 'bundleType': 'zip'}}\n\
         result = codedeploy.create_deployment(applicationName='shop', deploymentGroupName='web', revision=revision)['deploymentId']\n\
         codedeploy.get_waiter('deployment_successful').wait(deploymentId=result)",
    );
    home.succeeded(good.as_str().unwrap());
    for (wants_rollback, word) in [(false, "False"), (true, "True")] {
        let gate = Gate::closed();
        let revision = gated(&home, &gate, "");
        let id = python(
            &home,
            &format!(
                "result = codedeploy.create_deployment(applicationName='shop', deploymentGroupName='web', revision={revision})['deploymentId']"
            ),
        );
        let id = id.as_str().unwrap();
        gate.wait_for(1);
        let answer = python(
            &home,
            &format!(
                "result = codedeploy.stop_deployment(deploymentId='{id}', autoRollbackEnabled={word})"
            ),
        );
        assert!(["Pending", "Succeeded"].contains(&answer["status"].as_str().unwrap()), "{answer}");
        gate.open();
        let info = home.ended(id);
        assert_eq!(info["status"], "Stopped", "{info:#}");
        assert_eq!(gate.came().len(), 1, "no other host began");
        assert_eq!(home.target(id, 3)["status"], "Skipped");
        let rollback = &info["rollbackInfo"]["rollbackDeploymentId"];
        assert_eq!(rollback.is_string(), wants_rollback, "{info:#}");
        if wants_rollback {
            home.succeeded(rollback.as_str().unwrap());
            for host in 1..=3 {
                assert_eq!(home.text(host, "srv/shop/page.txt"), "good", "host {host}");
            }
        }
    }
}

#[test]
fn configurations_say_how_many_hosts_are_in_flight() {
    let home = Home::started(4);
    home.make_group(ONE);
    let made = "codedeploy.create_deployment_config(deploymentConfigName='three-stay', minimumHealthyHosts={'type': 'HOST_COUNT', 'value': 1})\n";
    python(&home, made);
    for (name, in_flight) in
        [(ALL, 4), ("CodeDeployDefault.HalfAtATime", 2), ("three-stay", 3), (ONE, 1)]
    {
        let gate = Gate::closed();
        let revision = gated(&home, &gate, "");
        let id = python(
            &home,
            &format!(
                "result = codedeploy.create_deployment(applicationName='shop', deploymentGroupName='web', deploymentConfigName='{name}', fileExistsBehavior='OVERWRITE', revision={revision})['deploymentId']"
            ),
        );
        let id = id.as_str().unwrap();
        gate.wait_for(in_flight);
        let overview = home.deployment(id)["deploymentOverview"].clone();
        assert_eq!(overview["InProgress"], in_flight, "{name}: {overview}");
        assert_eq!(overview["Pending"], 4 - in_flight, "{name}: {overview}");
        assert_eq!(gate.came().len(), in_flight, "{name}");
        gate.open();
        home.succeeded(id);
    }
    let read = python(
        &home,
        "ids = codedeploy.list_deployments(applicationName='shop', deploymentGroupName='web', includeOnlyStatuses=['Succeeded'])['deployments']\n\
         targets = codedeploy.list_deployment_targets(deploymentId=ids[0])['targetIds']\n\
         got = codedeploy.batch_get_deployment_targets(deploymentId=ids[0], targetIds=targets)['deploymentTargets']\n\
         result = {'count': len(ids), 'targets': sorted(targets),\n\
                   'events': [e['lifecycleEventName'] for e in got[0]['instanceTarget']['lifecycleEvents']],\n\
                   'failed': codedeploy.list_deployments(applicationName='shop', deploymentGroupName='web', includeOnlyStatuses=['Failed'])['deployments']}",
    );
    assert_eq!(read["count"], 4);
    assert_eq!(read["targets"], json!(["host-1", "host-2", "host-3", "host-4"]));
    assert_eq!(
        read["events"],
        json!([
            "ApplicationStop",
            "DownloadBundle",
            "BeforeInstall",
            "Install",
            "AfterInstall",
            "ApplicationStart",
            "ValidateService"
        ])
    );
    assert_eq!(read["failed"], json!([]));
}

#[test]
fn a_host_that_is_deregistered_during_a_deployment_is_not_counted_any_more() {
    let home = Home::started(3);
    home.make_group(ALL);
    let gate = Gate::closed();
    let revision = gated(&home, &gate, "case $HOST_ADDRESS in *.2) sleep 600;; esac");
    let id = python(
        &home,
        &format!(
            "result = codedeploy.create_deployment(applicationName='shop', deploymentGroupName='web', revision={revision})['deploymentId']"
        ),
    );
    let id = id.as_str().unwrap();
    gate.wait_for(3);
    gate.open();
    wait_for("the other two", || {
        (home.deployment(id)["deploymentOverview"]["Succeeded"] == 2).then_some(())
    });
    python(&home, "codedeploy.deregister_on_premises_instance(instanceName='host-2')");
    let info = home.succeeded(id);
    assert_eq!(info["deploymentOverview"]["Succeeded"], 2, "{info:#}");
    assert_eq!(info["deploymentOverview"]["Failed"], 0, "{info:#}");
    let listed = python(
        &home,
        "result = sorted(codedeploy.list_on_premises_instances(registrationStatus='Registered')['instanceNames'])",
    );
    assert_eq!(listed, json!(["host-1", "host-3"]));
}
