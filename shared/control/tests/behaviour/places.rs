//! Groups that act in another account or region: their deployments find, reach and move what is there, and nothing of the
//! installation's own place, whatever is called alike there.

use std::sync::Arc;

use control::OperatorApi as Api;
use control::ports::{CloudError, Place, Placed};
use control::rows::{self, Group, HostRow, HostShards};
use serde_json::json;

use crate::old_hosts::launch;
use crate::world::{World, deployment, group};

fn frankfurt() -> Place {
    Place { account: "222233334444".to_owned(), region: "eu-central-1".to_owned() }
}

/// A group `web` of the instances that are tagged `role=web`, which acts in `place`.
async fn group_at(world: &World, place: Option<Place>) {
    world.ok(Api::create_application, json!({ "applicationName": "shop" })).await;
    let mut body = group("web");
    body["onPremisesInstanceTagFilters"] = json!([]);
    body["ec2TagFilters"] = json!([{ "Key": "role", "Value": "web", "Type": "KEY_AND_VALUE" }]);
    let id = world.ok(Api::create_deployment_group, body).await["deploymentGroupId"].clone();
    let key = Group::key_of(&id.as_str().unwrap().parse().unwrap());
    let table = &*world.control.base.table;
    let mut stored = rows::load::<Group>(table, &key).await.unwrap().unwrap();
    stored.row.place = place;
    table.write(&[stored.replace().unwrap()]).await.unwrap();
}

async fn names(world: &World, id: &str) -> Vec<String> {
    let (partition, prefix) = HostShards::undivided(&id.parse().unwrap()).all().next().unwrap();
    let query = control::table::Query::prefix(partition, prefix, 100);
    let hosts = rows::load_all::<HostRow>(&*world.control.base.table, query).await.unwrap();
    hosts.into_iter().map(|host| host.row.name).collect()
}

/// A world with an instance in its own place and another one in Frankfurt, and which was sent a command by a deployment of
/// a group that acts in `place`.
async fn sent_to(place: Option<Place>) -> [usize; 2] {
    let (mut world, there) = (World::new(), World::new());
    launch(&world, "i-own", None, true);
    launch(&there, "i-there", None, true);
    let elsewhere = there.site();
    world.control.sites = Placed::with(
        world.site(),
        Arc::new(move |place: &Place| {
            assert_eq!(*place, frankfurt());
            Box::pin(std::future::ready(Ok(elsewhere.clone())))
        }),
    );
    let expected = if place.is_some() { "i-there" } else { "i-own" };
    group_at(&world, place).await;
    let id = world.deploy("v1").await;
    world.advance(&id).await;
    assert_eq!(names(&world, &id).await, [expected]);
    [world.commands().len(), there.commands().len()]
}

#[tokio::test]
async fn a_deployment_reaches_the_instances_of_the_place_where_its_group_acts() {
    assert_eq!(sent_to(None).await, [1, 0]);
    assert_eq!(sent_to(Some(frankfurt())).await, [0, 1]);
}

#[tokio::test]
async fn an_installation_of_one_place_refuses_to_act_in_another_one() {
    let world = World::new();
    launch(&world, "i-own", None, true);
    group_at(&world, Some(frankfurt())).await;
    let error = world.control.sites.at(Some(&frankfurt())).await.err().unwrap();
    assert!(matches!(error, CloudError::Refused { .. }), "{error:?}");
    let (name, said) = world.refusal(Api::create_deployment, deployment("v1")).await;
    assert_eq!(name, "InvalidRole");
    assert!(said.contains("222233334444") && said.contains("eu-central-1"), "{said}");
    assert!(world.commands().is_empty(), "no instance of another place is taken for its own");
}
