//! An upload to the bucket becomes a deployment, without anybody doing anything.

use serde_json::json;

use crate::archive::Bundle;
use crate::calls;
use crate::cloud::Cloud;

#[test]
fn an_upload_is_noticed_registered_and_enrols_the_hosts_of_its_group() {
    let cloud = Cloud::get();
    for name in ["branch-1", "branch-2"] {
        cloud.call(
            "RegisterOnPremisesInstance",
            json!({ "instanceName": name, "iamSessionArn": format!("arn:aws:sts::{}:assumed-role/host/{name}", cloud.get_text("/account")) }),
        );
        cloud.call(
            "AddTagsToOnPremisesInstances",
            json!({ "instanceNames": [name], "tags": [{ "Key": "shop", "Value": "branch" }] }),
        );
    }
    let tags = json!([{ "Key": "shop", "Value": "branch", "Type": "KEY_AND_VALUE" }]);
    cloud.make_group("branches", json!({ "onPremisesInstanceTagFilters": tags }));
    let id = cloud.deploy("branches", "1.zip", &Bundle::new("good").zip());

    let overview = cloud.wait_for("the hosts to be enrolled", || {
        let overview = cloud.deployment(&id)["deploymentOverview"].clone();
        (overview["InProgress"] == 1).then_some(overview)
    });
    assert_eq!(overview["Pending"], 1, "{overview}");
    let revision = cloud.deployment(&id)["revision"]["s3Location"].clone();
    assert_eq!(revision["key"], "branches/1.zip");
    assert!(revision["version"].is_string(), "the bucket has versions: {revision}");
    cloud.call("StopDeployment", json!({ "deploymentId": id }));
    let info = cloud.ended(&id);
    assert_eq!(info["status"], "Stopped", "{info:#}");
    calls::are_all_in_the_table(&cloud);
}
