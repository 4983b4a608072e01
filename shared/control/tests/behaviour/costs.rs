//! What is asked of the table grows with what changes: not with all applications, all hosts, or the history.

use control::OperatorApi as Api;
use control::hash_of;
use control::ports::Uploaded;
use control::rows::{
    self, Before, DeploymentRow, Group, HostRow, HostShards, MemberRow, ShardsRow,
};
use engine::DeploymentId;
use serde_json::{Value, json};
use sim::Asked;
use sim::scripted::Scripted;
use wire::host::HostStatus;

use crate::world::{World, deployment, group, web};

/// Launches an instance of the Auto Scaling group `scaling`.
fn launch(world: &World, id: &str) {
    world.launch(id, Some("scaling"), &[Scripted::tag()]);
}

/// A world with a group `web` of the instances of the Auto Scaling group `scaling`, of which there are so many.
pub(super) async fn world_of(instances: usize) -> World {
    let world = World::new();
    world.ok(Api::create_application, json!({ "applicationName": "shop" })).await;
    let mut body = group("web");
    body["onPremisesInstanceTagFilters"] = json!([]);
    body["autoScalingGroups"] = json!(["scaling"]);
    body["deploymentConfigName"] = "CodeDeployDefault.AllAtOnce".into();
    world.ok(Api::create_deployment_group, body).await;
    for number in 0..instances {
        launch(&world, &format!("i-{number}"));
    }
    world
}

/// An instance is launched, and held until it has its revision.
async fn arrives(world: &World, instance: &str) {
    launch(world, instance);
    is_held(world, instance).await;
}

async fn is_held(world: &World, instance: &str) {
    let action = world.hold(instance, "test").unwrap();
    world.control.fleet_watcher().host_arrives(instance, Some(action)).await.unwrap();
}

/// An instance does not exist any more.
async fn vanishes(world: &World, instance: &str) {
    world.forget(instance);
    world.control.base.host_gone(instance).await.unwrap();
}

async fn status(world: &World) -> Value {
    world.ok(Api::get_group_status, web()).await
}

/// The deployment that is active, after its next step.
async fn active(world: &World) -> DeploymentId {
    let id = status(world).await["activeDeploymentId"].as_str().unwrap().to_owned();
    world.advance(&id).await;
    id.parse().unwrap()
}

async fn hosts(world: &World, id: &DeploymentId) -> Vec<rows::Stored<HostRow>> {
    let table = &*world.control.base.table;
    let shards = rows::load::<ShardsRow>(table, &ShardsRow::key_of(id)).await.unwrap();
    let mut hosts = Vec::new();
    let shards = shards.map_or_else(|| HostShards::undivided(id), |stored| stored.row.shards());
    for (partition, prefix) in shards.all() {
        let query = control::table::Query::prefix(partition, prefix, 1_000);
        hosts.extend(rows::load_all::<HostRow>(table, query).await.unwrap());
    }
    hosts.sort_by_key(|host| host.row.ordinal);
    hosts
}

/// What the hosts of a deployment were before it, by their names.
async fn before(world: &World, id: &DeploymentId) -> Vec<(String, Before)> {
    let mut found: Vec<_> = hosts(world, id).await.into_iter().map(|host| host.row).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.into_iter().map(|host| (host.name, host.before)).collect()
}

/// All hosts of the deployment end so, or the one that is called so.
async fn end(world: &World, id: &DeploymentId, only: Option<&str>, status: HostStatus) {
    let is_meant = |name: &str| only.is_none_or(|only| only == name);
    let key = DeploymentRow::key_of(id);
    let row = rows::load::<DeploymentRow>(&*world.control.base.table, &key).await.unwrap().unwrap();
    for mut host in hosts(world, id).await.into_iter().filter(|host| is_meant(&host.row.name)) {
        // It has claimed its command.
        host.row.heard_at = Some(host.row.enrolled_at);
        host.row.token_hash = Some(hash_of("token"));
        host.row.installs = row.row.deployment.pin().map(|pin| pin.sha256.clone());
        world.control.base.table.write(&[host.replace().unwrap()]).await.unwrap();
        if let Some(digest) = host.row.installs.as_ref().filter(|_| status == HostStatus::Succeeded)
        {
            world.install(&host.row.name, &host.row.group_id, digest);
        }
        let report = json!({
            "deploymentId": id,
            "ordinal": host.row.ordinal,
            "attempt": 1,
            "sequence": 1,
            "status": status,
            "events": [],
        });
        world.report("token", report).await;
    }
    world.advance(id.as_str()).await;
    let expected = if status == HostStatus::Succeeded { "Succeeded" } else { "Failed" };
    assert_eq!(world.info(id.as_str()).await["status"], expected);
}

/// The whole group is deployed to, with success.
async fn deployed(world: &World, key: &str) {
    let id: DeploymentId = world.deploy(key).await.parse().unwrap();
    end(world, &id, None, HostStatus::Succeeded).await;
}

/// An instance arrives, gets its revision, and is let go.
async fn arrived(world: &World, instance: &str, status: HostStatus) {
    world.pass_ms(1_000);
    arrives(world, instance).await;
    let id = active(world).await;
    end(world, &id, None, status).await;
    world.control.fleet_watcher().host_arrives(instance, None).await.unwrap();
}

/// What a start by hand and one by an upload cost beside so many applications.
async fn starts_beside(applications: usize) -> [Asked; 2] {
    let world = World::with_group().await;
    world.register("h").await;
    for number in 0..applications {
        world
            .ok(Api::create_application, json!({ "applicationName": format!("other-{number}") }))
            .await;
    }
    let subscription = json!({
        "applicationName": "shop", "deploymentGroupName": "web", "bucket": "releases", "prefix": "shop/",
    });
    world.ok(Api::subscribe, subscription).await;
    world.table().take_asked();
    let id = world.deploy("v1").await;
    let by_hand = world.table().take_asked();
    world.work("h", "Succeeded").await;
    assert_eq!(world.info(&id).await["status"], "Succeeded");
    world.table().take_asked();
    let uploaded = Uploaded {
        bucket: "releases".to_owned(),
        key: "shop/v2".to_owned(),
        identity: "2".to_owned(),
        order: u64::MAX,
        rank: String::new(),
        version: None,
        e_tag: None,
        size: None,
    };
    world.control.revision_intake().take_upload(&uploaded).await.unwrap();
    let by_upload = world.table().take_asked();
    assert!(status(&world).await["activeDeploymentId"].is_string());
    [by_hand, by_upload]
}

#[tokio::test]
async fn a_start_reads_its_own_application_and_no_other() {
    assert_eq!(starts_beside(200).await, starts_beside(3).await);
}

#[tokio::test]
async fn an_application_of_an_earlier_version_is_searched_for_once() {
    let world = World::with_group().await;
    let by_id = world.table().keys().into_iter().find(|key| key.sort == "APPLICATION").unwrap();
    let forget = [control::table::Write::Delete(by_id.clone(), control::table::Condition::None)];
    world.control.base.table.write(&forget).await.unwrap();
    world.register("h").await;
    let id = world.deploy("v1").await;
    assert_eq!(world.info(&id).await["applicationName"], "shop");
    assert!(world.table().keys().contains(&by_id), "the next start finds it by its id");
    let renamed = json!({ "applicationName": "shop", "newApplicationName": "store" });
    world.ok(Api::update_application, renamed).await;
    assert_eq!(world.info(&id).await["applicationName"], "store");
    world.ok(Api::delete_application, json!({ "applicationName": "store" })).await;
    assert!(!world.table().keys().contains(&by_id), "it goes with the application");
}

/// What the next arrival costs, and then a deployment of the whole group, after so many instances have come and gone.
async fn arrival_after(arrivals: usize) -> [Asked; 2] {
    let world = world_of(12).await;
    deployed(&world, "v1").await;
    for number in 0..arrivals {
        let instance = format!("i-gone-{number}");
        arrived(&world, &instance, HostStatus::Succeeded).await;
        vanishes(&world, &instance).await;
    }
    // Who has arrived is remembered for some time.
    world.pass_ms(20 * 60_000);
    world.control.fleet_watcher().keep_fleet().await.unwrap();
    world.table().take_asked();
    arrived(&world, "i-next", HostStatus::Succeeded).await;
    let arrival = world.table().take_asked();
    deployed(&world, "v2").await;
    [arrival, world.table().take_asked()]
}

#[tokio::test]
async fn an_arrival_and_an_enrolment_walk_no_history() {
    assert_eq!(arrival_after(200).await, arrival_after(10).await);
}

/// What an instance costs that arrives in a deployment of so many hosts, until it has its place in it.
async fn appended_to(instances: usize) -> Asked {
    let world = world_of(instances).await;
    deployed(&world, "v1").await;
    let id: DeploymentId = world.deploy("v2").await.parse().unwrap();
    world.table().take_asked();
    arrives(&world, "i-next").await;
    let cost = world.table().take_asked();
    arrives(&world, "i-next").await;
    // Once more, though the index has not heard of it.
    let all = hosts(&world, &id).await;
    assert_eq!(all.len(), instances + 1, "once");
    assert!(all.last().is_some_and(|host| host.row.arrived && host.row.name == "i-next"));
    cost
}

#[tokio::test]
async fn an_instance_that_is_added_to_a_deployment_does_not_read_its_other_hosts() {
    assert_eq!(appended_to(400).await, appended_to(20).await);
}

/// What one of so many instances costs that arrive together.
async fn arrival_among(others: usize) -> Asked {
    let world = world_of(2).await;
    deployed(&world, "v1").await;
    arrives(&world, "i-first").await;
    let id = active(&world).await;
    for number in 0..others {
        // They wait for the one that is active, which takes them on: not what is looked at here.
        let other = format!("i-other-{number}");
        launch(&world, &other);
        world.reach(&other, false);
        is_held(&world, &other).await;
    }
    end(&world, &id, None, HostStatus::Succeeded).await;
    world.table().take_asked();
    arrived(&world, "i-next", HostStatus::Succeeded).await;
    world.table().take_asked()
}

#[tokio::test]
async fn an_arrival_does_not_read_the_others_that_come_with_it() {
    assert_eq!(arrival_among(150).await, arrival_among(5).await);
}

#[tokio::test]
async fn what_a_host_was_is_what_it_was_last_deployed_with() {
    let world = world_of(2).await;
    deployed(&world, "v1").await;
    arrived(&world, "i-good", HostStatus::Succeeded).await;
    world.let_linger("i-bad");
    arrived(&world, "i-bad", HostStatus::Failed).await;
    let mut one_by_one = deployment("v2");
    one_by_one["deploymentConfigName"] = "CodeDeployDefault.OneAtATime".into();
    let id = world.ok(Api::create_deployment, one_by_one).await;
    let id: DeploymentId = id["deploymentId"].as_str().unwrap().parse().unwrap();
    world.advance(id.as_str()).await;
    let had = |key: &str| Before { healthy: true, installed: Some(Scripted::digest_of(key)) };
    let expected = [
        ("i-0".to_owned(), had("v1")),
        ("i-1".to_owned(), had("v1")),
        ("i-bad".to_owned(), Before::default()),
        ("i-good".to_owned(), had("v1")),
    ];
    assert_eq!(before(&world, &id).await, expected);

    // It fails on its first host, and is taken back there.
    end(&world, &id, Some("i-bad"), HostStatus::Failed).await;
    let back = world.ok(Api::roll_back_deployment, json!({ "deploymentId": id })).await;
    let back: DeploymentId = back["deploymentId"].as_str().unwrap().parse().unwrap();
    world.advance(back.as_str()).await;
    assert_eq!(before(&world, &back).await, [("i-bad".to_owned(), Before::default())]);
    end(&world, &back, None, HostStatus::Succeeded).await;
    arrived(&world, "i-late", HostStatus::Succeeded).await;
    let next: DeploymentId = world.deploy("v3").await.parse().unwrap();
    let known = before(&world, &next).await;
    assert_eq!(known.len(), 5);
    assert!(known.iter().all(|(_, before)| *before == had("v1")), "{known:?}");
}

/// What so many instances cost that arrive together, until each has its revision and is let go.
async fn arrivals_together(instances: usize) -> Asked {
    let world = world_of(2).await;
    deployed(&world, "v1").await;
    arrives(&world, "i-first").await;
    let id = active(&world).await;
    let names: Vec<String> = (0..instances).map(|number| format!("i-next-{number}")).collect();
    world.table().take_asked();
    for name in &names {
        arrives(&world, name).await;
    }
    // They are sent their commands.
    world.advance(id.as_str()).await;
    end(&world, &id, None, HostStatus::Succeeded).await;
    for name in &names {
        world.control.fleet_watcher().host_arrives(name, None).await.unwrap();
    }
    let cost = world.table().take_asked();
    let next: DeploymentId = world.deploy("v2").await.parse().unwrap();
    let known = before(&world, &next).await;
    let had = Before { healthy: true, installed: Some(Scripted::digest_of("v1")) };
    assert!(known.len() == instances + 3 && known.iter().all(|(_, before)| *before == had));
    cost
}

#[tokio::test]
async fn hosts_that_arrive_together_cost_what_one_does_each() {
    let [few, more, most] =
        [arrivals_together(40).await, arrivals_together(80).await, arrivals_together(120).await];
    let numbers = |cost: Asked| [cost.reads, cost.read, cost.writes, cost.written];
    let [few, more, most] = [few, more, most].map(numbers);
    for ((few, more), most) in few.into_iter().zip(more).zip(most) {
        let (first, second) = (more - few, most - more);
        assert!(second <= first + first / 20, "40 more cost {first}, and 40 more {second}");
    }
}

/// The members of all groups.
fn members(world: &World) -> Vec<control::table::Key> {
    let all = world.table().keys().into_iter();
    all.filter(|key| key.partition.contains("#MEMBERS#")).collect()
}

async fn group_row(world: &World) -> rows::Stored<Group> {
    let key = world.table().keys().into_iter().find(|key| key.sort == "GROUP").unwrap();
    rows::load::<Group>(&*world.control.base.table, &key).await.unwrap().unwrap()
}

/// Makes the group what a version before would have left: it has no members.
async fn forget_members(world: &World) {
    let mut group = group_row(world).await;
    group.row.members_since = None;
    let mut writes = vec![group.replace().unwrap()];
    let condition = control::table::Condition::None;
    writes.extend(
        members(world).into_iter().map(|key| control::table::Write::Delete(key, condition)),
    );
    world.control.base.table.write(&writes).await.unwrap();
}

#[tokio::test]
async fn a_group_of_the_version_before_is_enrolled_from_its_history_once() {
    let world = world_of(3).await;
    deployed(&world, "v1").await;
    arrived(&world, "i-late", HostStatus::Succeeded).await;
    let known = members(&world);
    assert_eq!(known.len(), 4);
    forget_members(&world).await;
    // It is deployed to a host alone, which tells nothing of the others.
    world.let_linger("i-later");
    arrived(&world, "i-later", HostStatus::Failed).await;
    assert_eq!((members(&world).len(), group_row(&world).await.row.members_since), (1, None));
    let id: DeploymentId = world.deploy("v2").await.parse().unwrap();
    assert_eq!((members(&world).len(), group_row(&world).await.row.members_since), (5, Some(3)));
    let had =
        |healthy: bool| Before { healthy, installed: healthy.then(|| Scripted::digest_of("v1")) };
    let expected = ["i-0", "i-1", "i-2", "i-late"].map(|name| (name.to_owned(), had(true)));
    let expected: Vec<_> =
        expected.into_iter().chain([("i-later".to_owned(), had(false))]).collect();
    assert_eq!(before(&world, &id).await, expected);
    end(&world, &id, None, HostStatus::Succeeded).await;
    let group = group_row(&world).await.row.id;
    for name in ["i-0", "i-later"] {
        let key = MemberRow::key_of(&group, name);
        let member = rows::load::<MemberRow>(&*world.control.base.table, &key).await.unwrap();
        let known = member.unwrap().row.known;
        assert_eq!(known, Before { healthy: true, installed: Some(Scripted::digest_of("v2")) });
    }
}

#[tokio::test]
async fn a_group_that_is_deleted_leaves_no_members() {
    let world = world_of(3).await;
    deployed(&world, "v1").await;
    let id: DeploymentId = world.deploy("v2").await.parse().unwrap();
    assert_eq!(members(&world).len(), 3);
    let named = json!({ "applicationName": "shop", "deploymentGroupName": "web" });
    world.ok(Api::delete_deployment_group, named).await;
    assert_eq!(members(&world), []);
    // Its hosts end after that, and then their deployment does.
    end(&world, &id, None, HostStatus::Succeeded).await;
    assert_eq!(members(&world), []);
}

#[tokio::test]
async fn a_commit_that_comes_too_soon_is_put_off_but_neither_a_stop_nor_the_end() {
    let mut world = World::with_group().await;
    for name in ["web-1", "web-2", "web-3"] {
        world.register(name).await;
    }
    let id = world.deploy("v1").await;
    world.work("web-1", "Succeeded").await;
    // A row of some kilobytes takes a second and more of this.
    world.control.base.settings.row_units = Some(1);
    let began = world.now_ms();
    world.work("web-2", "Succeeded").await;
    let put_off_ms = world.now_ms() - began;
    assert!((500..5_000).contains(&put_off_ms), "a host that succeeded: {put_off_ms} ms");
    let began = world.now_ms();
    let (token, mut report) = world.claim("web-3").await;
    world.ok(Api::stop_deployment, json!({ "deploymentId": id })).await;
    world.advance(&id).await;
    assert_eq!(world.now_ms() - began, 0, "the stop");
    report["status"] = "Failed".into();
    world.report(&token, report).await;
    world.advance(&id).await;
    assert_eq!(world.info(&id).await["status"], "Stopped");
    assert_eq!(world.now_ms() - began, 0, "the end");
}
