//! Applications, groups, configurations, revisions, instances, subscriptions.

use control::rows::{self, Application, ApplicationId};
use control::{Error, OperatorApi as Api};
use serde::Serialize;
use serde_json::{Value, json};
use wire::codedeploy::Request;

use crate::world::{World, deployment, group, name_of, revision, web};

fn app(name: &str) -> Value {
    json!({ "applicationName": name })
}

#[tokio::test]
async fn an_application_keeps_its_id_and_its_groups_when_it_is_renamed() {
    let world = World::with_group().await;
    let before = world.ok(Api::get_application, app("shop")).await;
    let rename = json!({ "applicationName": "shop", "newApplicationName": "store" });
    world.ok(Api::update_application, rename).await;
    assert_eq!(world.refused(Api::get_application, app("shop")).await, "ApplicationDoesNotExist");
    let after = world.ok(Api::get_application, app("store")).await;
    assert_eq!(before["application"]["applicationId"], after["application"]["applicationId"]);
    assert_eq!(after["application"]["computePlatform"], "Server");
    let groups = world.ok(Api::list_deployment_groups, app("store")).await;
    assert_eq!(groups["deploymentGroups"], json!(["web"]));
    let rename = json!({ "applicationName": "store", "newApplicationName": "store" });
    assert_eq!(world.refused(Api::update_application, rename).await, "ApplicationAlreadyExists");
}

/// Of eight creations at once one succeeds, and the others hear that what they create is there already.
async fn one_is_created<Q: Request, A: Serialize>(
    world: &World,
    create: impl AsyncFn(&Api, &Q) -> Result<A, Error>,
    body: Value,
) {
    let calls = (0..8).map(|_| world.call(&create, body.clone()));
    let answers = futures::future::join_all(calls).await;
    let created = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(created, 1, "{}: {answers:?}", Q::TARGET);
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert!(name_of(refused).contains("Already"), "{refused:?}");
    }
}

#[tokio::test]
async fn of_concurrent_creations_of_a_name_exactly_one_succeeds() {
    let world = World::with_group().await;
    one_is_created(&world, Api::create_application, app("new")).await;
    one_is_created(&world, Api::create_deployment_group, group("new")).await;
    let config = json!({
        "deploymentConfigName": "new",
        "minimumHealthyHosts": { "type": "HOST_COUNT", "value": 1 },
    });
    one_is_created(&world, Api::create_deployment_config, config).await;
    let arn = "arn:aws:iam::123456789012:user/host";
    let instance = json!({ "instanceName": "new", "iamUserArn": arn });
    one_is_created(&world, Api::register_on_premises_instance, instance).await;
}

#[tokio::test]
async fn deleting_an_application_leaves_nothing_of_it_and_may_be_repeated() {
    let world = World::with_group().await;
    let empty = World::new().table().keys();
    let subscribe = json!({
        "applicationName": "shop",
        "deploymentGroupName": "web",
        "bucket": "releases",
        "prefix": "shop/",
    });
    world.ok(Api::subscribe, subscribe).await;
    let id = world.deploy("v1").await;
    world.ok(Api::delete_application, app("shop")).await;
    assert_eq!(world.table().keys(), empty);
    let body = json!({ "deploymentId": id });
    assert_eq!(world.refused(Api::get_deployment, body).await, "DeploymentDoesNotExist");
    world.ok(Api::delete_application, app("shop")).await;
    assert_eq!(
        world.refused(Api::create_deployment_group, group("web")).await,
        "ApplicationDoesNotExist"
    );
}

#[tokio::test]
async fn a_deletion_that_was_interrupted_is_ended_before_the_name_is_used_again() {
    let world = World::with_group().await;
    let table = &*world.control.base.table;
    let key = Application::key_of("shop");
    let mut stored = rows::load::<Application>(table, &key).await.unwrap().unwrap();
    stored.row.deleting = true;
    table.write(&[stored.replace().unwrap()]).await.unwrap();
    assert_eq!(world.refused(Api::get_application, app("shop")).await, "ApplicationDoesNotExist");
    world.ok(Api::create_application, app("shop")).await;
    let groups = world.ok(Api::list_deployment_groups, app("shop")).await;
    assert_eq!(groups["deploymentGroups"], json!([]));
    let new = rows::load::<Application>(table, &key).await.unwrap().unwrap();
    assert_eq!(world.table().keys(), [ApplicationId::key_of(&new.row.id), key]);
}

#[tokio::test]
async fn a_group_is_read_back_with_what_was_set_and_what_is_the_default() {
    let world = World::with_group().await;
    let answer = world.ok(Api::get_deployment_group, web()).await;
    let info = &answer["deploymentGroupInfo"];
    assert_eq!(info["deploymentConfigName"], "CodeDeployDefault.OneAtATime");
    assert_eq!(info["deploymentStyle"]["deploymentType"], "IN_PLACE");
    assert_eq!(info["autoRollbackConfiguration"], json!({ "enabled": false }));
    assert_eq!(info["onPremisesInstanceTagFilters"][0]["Value"], "web");
    assert_eq!(info["computePlatform"], "Server");
    assert_eq!(info["applicationName"], "shop");
    assert_eq!(
        world.refused(Api::create_deployment_group, group("web")).await,
        "DeploymentGroupAlreadyExists"
    );
    let mut other = group("other");
    other["deploymentConfigName"] = "nowhere".into();
    assert_eq!(
        world.refused(Api::create_deployment_group, other.clone()).await,
        "DeploymentConfigDoesNotExist"
    );
    other["deploymentConfigName"] = "CodeDeployDefault.ECSAllAtOnce".into();
    assert_eq!(
        world.refused(Api::create_deployment_group, other).await,
        "InvalidDeploymentConfigName"
    );
}

#[tokio::test]
async fn an_update_of_a_group_keeps_what_it_does_not_name_and_clears_with_an_empty_list() {
    let world = World::with_group().await;
    let before = world.ok(Api::get_deployment_group, web()).await;
    let update = json!({
        "applicationName": "shop",
        "currentDeploymentGroupName": "web",
        "newDeploymentGroupName": "www",
        "onPremisesInstanceTagFilters": [],
        "autoRollbackConfiguration": { "enabled": true, "events": ["DEPLOYMENT_FAILURE"] },
    });
    world.ok(Api::update_deployment_group, update.clone()).await;
    assert_eq!(
        world.refused(Api::get_deployment_group, web()).await,
        "DeploymentGroupDoesNotExist"
    );
    let www = json!({ "applicationName": "shop", "deploymentGroupName": "www" });
    let after = world.ok(Api::get_deployment_group, www.clone()).await;
    let (before, after) = (&before["deploymentGroupInfo"], &after["deploymentGroupInfo"]);
    assert_eq!(before["deploymentGroupId"], after["deploymentGroupId"]);
    assert_eq!(before["serviceRoleArn"], after["serviceRoleArn"]);
    assert_eq!(after["onPremisesInstanceTagFilters"], json!([]));
    assert_eq!(after["autoRollbackConfiguration"]["events"], json!(["DEPLOYMENT_FAILURE"]));
    assert_eq!(
        world.refused(Api::update_deployment_group, update).await,
        "DeploymentGroupDoesNotExist"
    );
    let batch = json!({ "applicationName": "shop", "deploymentGroupNames": ["www", "gone"] });
    let batch = world.ok(Api::batch_get_deployment_groups, batch).await;
    assert_eq!(batch["deploymentGroupsInfo"].as_array().unwrap().len(), 1);
    assert!(batch["errorMessage"].as_str().unwrap().contains("gone"));
    world.ok(Api::delete_deployment_group, www.clone()).await;
    world.ok(Api::delete_deployment_group, www).await;
}

#[tokio::test]
async fn a_groups_options_are_kept_within_their_bounds() {
    let world = World::with_group().await;
    let mut options = web();
    options["hostSilenceSeconds"] = 9.into();
    assert_eq!(world.refused(Api::set_group_options, options.clone()).await, "Validation");
    options["hostSilenceSeconds"] = 30.into();
    world.ok(Api::set_group_options, options).await;
    world.register("web-1").await;
    world.deploy("v1").await;
    let (_, answer) = world.claim_answer("web-1").await;
    assert_eq!(answer["leaseMs"], 15_000);
}

#[tokio::test]
async fn configurations_in_use_and_codedeploys_own_stay() {
    let world = World::with_group().await;
    let list = world.ok(Api::list_deployment_configs, json!({})).await;
    let names = list["deploymentConfigsList"].as_array().unwrap().clone();
    assert_eq!(names.len(), 17);
    for name in &names {
        let body = json!({ "deploymentConfigName": name });
        let info = world.ok(Api::get_deployment_config, body.clone()).await;
        assert_eq!(&info["deploymentConfigInfo"]["deploymentConfigName"], name);
        assert_eq!(world.refused(Api::delete_deployment_config, body).await, "InvalidOperation");
    }
    let create = json!({
        "deploymentConfigName": "most",
        "minimumHealthyHosts": { "type": "FLEET_PERCENT", "value": 75 },
    });
    world.ok(Api::create_deployment_config, create.clone()).await;
    assert_eq!(
        world.refused(Api::create_deployment_config, create).await,
        "DeploymentConfigAlreadyExists"
    );
    let body = json!({ "deploymentConfigName": "most" });
    let info = world.ok(Api::get_deployment_config, body.clone()).await;
    assert_eq!(info["deploymentConfigInfo"]["minimumHealthyHosts"]["value"], 75);
    let mut user = group("user");
    user["deploymentConfigName"] = "most".into();
    world.ok(Api::create_deployment_group, user).await;
    let (name, message) = world.refusal(Api::delete_deployment_config, body.clone()).await;
    assert_eq!(name, "DeploymentConfigInUse");
    assert!(message.contains("`shop/user`") && message.contains("--config NAME"), "{message}");
    let unused = json!({ "applicationName": "shop", "deploymentGroupName": "user" });
    world.ok(Api::delete_deployment_group, unused).await;
    world.ok(Api::delete_deployment_config, body.clone()).await;
    assert_eq!(
        world.refused(Api::get_deployment_config, body).await,
        "DeploymentConfigDoesNotExist"
    );
}

#[tokio::test]
async fn a_revision_is_known_by_exactly_what_it_was_registered_as() {
    let world = World::with_group().await;
    let named = |revision: Value| json!({ "applicationName": "shop", "revision": revision });
    let mut first = named(revision("a"));
    first["description"] = "first".into();
    world.ok(Api::register_application_revision, first.clone()).await;
    world.pass_ms(1000);
    let mut versioned = revision("b");
    versioned["s3Location"]["version"] = "3".into();
    world.ok(Api::register_application_revision, named(versioned.clone())).await;
    let found = world.ok(Api::get_application_revision, named(versioned)).await;
    assert_eq!(found["revision"]["s3Location"]["version"], "3");
    assert_eq!(
        world.refused(Api::get_application_revision, named(revision("b"))).await,
        "RevisionDoesNotExist"
    );
    first["description"] = "again".into();
    world.ok(Api::register_application_revision, first).await;
    let found = world.ok(Api::get_application_revision, named(revision("a"))).await;
    assert_eq!(found["revisionInfo"]["description"], "again");
    assert_eq!(found["revisionInfo"]["registerTime"], 1_800_000_000.0);
    let list = |sort: &str| json!({ "applicationName": "shop", "sortOrder": sort });
    let ascending = world.ok(Api::list_application_revisions, list("ascending")).await;
    let mut descending = world.ok(Api::list_application_revisions, list("descending")).await;
    descending["revisions"].as_array_mut().unwrap().reverse();
    assert_eq!(ascending, descending);
    assert_eq!(ascending["revisions"][0]["s3Location"]["key"], "a");
    let git_hub = json!({
        "revisionType": "GitHub",
        "gitHubLocation": { "repository": "a/b", "commitId": "c" },
    });
    assert_eq!(
        world.refused(Api::register_application_revision, named(git_hub)).await,
        "InvalidRevision"
    );
}

#[tokio::test]
async fn revisions_are_listed_by_whether_a_group_has_them() {
    let world = World::with_group().await;
    let body = json!({ "applicationName": "shop", "revision": revision("unused") });
    world.ok(Api::register_application_revision, body).await;
    world.deploy("used").await;
    for (deployed, key) in [("include", "used"), ("exclude", "unused")] {
        let body = json!({ "applicationName": "shop", "deployed": deployed });
        let list = world.ok(Api::list_application_revisions, body).await;
        let keys: Vec<_> = list["revisions"].as_array().unwrap().iter().collect();
        assert_eq!(keys.len(), 1, "{list}");
        assert_eq!(keys[0]["s3Location"]["key"], key);
    }
    let body = json!({ "applicationName": "shop", "revision": revision("used") });
    let found = world.ok(Api::get_application_revision, body).await;
    assert_eq!(found["revisionInfo"]["deploymentGroups"], json!(["web"]));
    assert!(
        found["revisionInfo"]["description"].as_str().unwrap().contains("registered by Deployment")
    );
}

#[tokio::test]
async fn an_instance_is_registered_tagged_and_deregistered() {
    let world = World::with_group().await;
    world.register("web-1").await;
    let named = json!({ "instanceName": "web-1" });
    let info = world.ok(Api::get_on_premises_instance, named.clone()).await;
    assert_eq!(info["instanceInfo"]["tags"], json!([{ "Key": "role", "Value": "web" }]));
    let arn = "arn:aws:iam::123456789012:user/web-1";
    let second = json!({ "instanceName": "web-2", "iamUserArn": arn });
    assert_eq!(
        world.refused(Api::register_on_premises_instance, second.clone()).await,
        "IamUserArnAlreadyRegistered"
    );
    let filter = json!({ "tagFilters": [{ "Key": "role", "Type": "KEY_ONLY" }] });
    let list = world.ok(Api::list_on_premises_instances, filter.clone()).await;
    assert_eq!(list["instanceNames"], json!(["web-1"]));
    let tags = json!([{ "Key": "zone", "Value": "a" }]);
    let body = json!({ "instanceNames": ["web-1", "stranger"], "tags": tags });
    assert_eq!(
        world.refused(Api::add_tags_to_on_premises_instances, body).await,
        "InstanceNotRegistered"
    );
    let info = world.ok(Api::get_on_premises_instance, named.clone()).await;
    assert_eq!(info["instanceInfo"]["tags"].as_array().unwrap().len(), 1, "none or all are tagged");
    let many: Vec<_> = (0..10).map(|n| json!({ "Key": format!("k{n}"), "Value": "" })).collect();
    let body = json!({ "instanceNames": ["web-1"], "tags": many });
    assert_eq!(
        world.refused(Api::add_tags_to_on_premises_instances, body).await,
        "TagLimitExceeded"
    );

    world.ok(Api::deregister_on_premises_instance, named.clone()).await;
    world.ok(Api::deregister_on_premises_instance, named.clone()).await;
    let info = world.ok(Api::get_on_premises_instance, named).await;
    assert!(info["instanceInfo"]["deregisterTime"].is_number());
    assert_eq!(info["instanceInfo"]["tags"], json!([]));
    assert_eq!(world.ok(Api::list_on_premises_instances, filter).await["instanceNames"], json!([]));
    world.ok(Api::register_on_premises_instance, second).await;
    let body = json!({ "instanceName": "stranger" });
    assert_eq!(world.refused(Api::get_on_premises_instance, body).await, "InstanceNotRegistered");
}

#[tokio::test]
async fn a_subscription_is_kept_once_and_shown_with_its_group() {
    let world = World::with_group().await;
    let mut subscription = web();
    subscription["bucket"] = "releases".into();
    subscription["prefix"] = "shop/".into();
    world.ok(Api::subscribe, subscription.clone()).await;
    world.ok(Api::subscribe, subscription.clone()).await;
    let list = world.ok(Api::list_subscriptions, json!({})).await;
    assert_eq!(list["subscriptions"], json!([subscription]));
    let id = world.deploy("v1").await;
    let status = world.ok(Api::get_group_status, web()).await;
    assert_eq!(status["subscriptions"], json!([subscription]));
    assert_eq!(status["lastAttemptedDeploymentId"], json!(id));
    world.ok(Api::unsubscribe, subscription.clone()).await;
    let again = world.refused(Api::unsubscribe, subscription).await;
    assert_eq!(again, "Validation", "there is none any more");
    let list = world.ok(Api::list_subscriptions, app("shop")).await;
    assert_eq!(list["subscriptions"], json!([]));
}

#[tokio::test]
async fn a_group_of_another_platform_has_its_defaults_and_takes_no_bundle() {
    let world = World::new();
    let body = json!({ "applicationName": "shop", "computePlatform": "ECS" });
    world.ok(Api::create_application, body).await;
    let body = json!({
        "applicationName": "shop",
        "deploymentGroupName": "web",
        "serviceRoleArn": "arn:aws:iam::123456789012:role/deployer",
    });
    world.ok(Api::create_deployment_group, body).await;
    let info = world.ok(Api::get_deployment_group, web()).await;
    let info = &info["deploymentGroupInfo"];
    assert_eq!(info["computePlatform"], "ECS");
    assert_eq!(info["deploymentConfigName"], "CodeDeployDefault.ECSAllAtOnce");
    let body = deployment("v1");
    assert_eq!(world.refused(Api::create_deployment, body).await, "InvalidRevision");
}

#[tokio::test]
async fn a_foreign_token_leads_nowhere() {
    let world = World::new();
    for n in 0..101 {
        let name = format!("app-{n:03}");
        world.ok(Api::create_application, json!({ "applicationName": name })).await;
    }
    let first = world.ok(Api::list_applications, json!({})).await;
    assert_eq!(first["applications"].as_array().unwrap().len(), 100);
    let token = first["nextToken"].clone();
    let second = world.ok(Api::list_applications, json!({ "nextToken": token })).await;
    assert_eq!(second, json!({ "applications": ["app-100"] }));
    let body = json!({ "nextToken": token });
    assert_eq!(world.refused(Api::list_deployment_configs, body).await, "InvalidNextToken");
    let body = json!({ "nextToken": "nonsense" });
    assert_eq!(world.refused(Api::list_applications, body).await, "InvalidNextToken");
}
