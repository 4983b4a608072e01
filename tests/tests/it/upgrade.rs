//! A directory that the first version of a home's layout left: what `cutover demo --exit --dir home` makes, packed with
//! tar. Every later version must open it, and go on with it. The file is never made anew.

use std::fs::File;

use flate2::read::GzDecoder;
use serde_json::json;

use crate::house::root;
use crate::support::home::Home;

#[test]
fn a_directory_of_the_first_version_is_opened_and_gone_on_with() {
    let mut home = Home::new(4);
    let packed = File::open(root().join("tests/fixtures/home-v1.tar.gz")).unwrap();
    let mut archive = tar::Archive::new(GzDecoder::new(packed));
    archive.unpack(home.dir().parent().unwrap()).unwrap();
    home.start();
    let deployments = home.deployments();
    let mut statuses: Vec<String> = deployments
        .iter()
        .map(|id| home.deployment(id)["status"].as_str().unwrap().to_owned())
        .collect();
    statuses.sort();
    assert_eq!(statuses, ["Failed", "Succeeded", "Succeeded", "Succeeded"]);
    for host in 1..=4 {
        assert_eq!(home.text(host, "srv/shop/version.txt"), "shop version 2\n");
    }
    let first = deployments
        .iter()
        .find(|id| home.deployment(id)["revision"]["s3Location"]["key"] == "shop/shop-1.zip")
        .expect("the first revision was deployed");
    let revision = home.deployment(first)["revision"].clone();
    let request =
        json!({ "applicationName": "shop", "deploymentGroupName": "web", "revision": revision });
    let started = home.call("CreateDeployment", request);
    home.succeeded(started["deploymentId"].as_str().unwrap());
    for host in 1..=4 {
        assert_eq!(home.text(host, "srv/shop/version.txt"), "shop version 1\n");
    }
}
