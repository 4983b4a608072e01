//! Groups that act in another account or region: their deployments find, reach and move what is there, and nothing of the
//! installation's own place, whatever is called alike there.

use std::sync::Arc;

use control::ports::{CloudError, Instances, Place, Placed, Site, Traffic};
use control::rows::{self, Group, HostRow, HostShards};
use serde_json::json;

use super::old_hosts::Fake;
use super::world::{World, deployment, group};

fn site(fake: &Arc<Fake>) -> Site {
    Site {
        instances: Instances { fleet: fake.clone(), scaling: fake.clone(), push: fake.clone() },
        traffic: Traffic { balancers: fake.clone(), ..Traffic::none() },
    }
}

fn frankfurt() -> Place {
    Place { account: "222233334444".to_owned(), region: "eu-central-1".to_owned() }
}

/// A group `web` of the instances that are tagged `role=web`, which acts in `place`.
async fn group_at(world: &World, place: Option<Place>) {
    world.ok("CreateApplication", json!({ "applicationName": "shop" })).await;
    let mut body = group("web");
    body["onPremisesInstanceTagFilters"] = json!([]);
    body["ec2TagFilters"] = json!([{ "Key": "role", "Value": "web", "Type": "KEY_AND_VALUE" }]);
    let id = world.ok("CreateDeploymentGroup", body).await["deploymentGroupId"].clone();
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
    let (own, there) = (Arc::new(Fake::default()), Arc::new(Fake::default()));
    own.add("i-own", None, true);
    there.add("i-there", None, true);
    let mut world = World::new();
    let elsewhere = site(&there);
    world.sites(Placed::with(
        site(&own),
        Arc::new(move |place: &Place| {
            assert_eq!(*place, frankfurt());
            Box::pin(std::future::ready(Ok(elsewhere.clone())))
        }),
    ));
    let expected = if place.is_some() { "i-there" } else { "i-own" };
    group_at(&world, place).await;
    let id = world.deploy("v1").await;
    world.advance(&id).await;
    assert_eq!(names(&world, &id).await, [expected]);
    [own.state().commands.len(), there.state().commands.len()]
}

#[tokio::test]
async fn a_deployment_reaches_the_instances_of_the_place_where_its_group_acts() {
    assert_eq!(sent_to(None).await, [1, 0]);
    assert_eq!(sent_to(Some(frankfurt())).await, [0, 1]);
}

#[tokio::test]
async fn an_installation_of_one_place_refuses_to_act_in_another_one() {
    let own = Arc::new(Fake::default());
    own.add("i-own", None, true);
    let mut world = World::new();
    world.sites(Placed::own(site(&own)));
    group_at(&world, Some(frankfurt())).await;
    let error = world.control.sites.at(Some(&frankfurt())).await.err().unwrap();
    assert!(matches!(error, CloudError::Refused { .. }), "{error:?}");
    let (status, answer) = world.call("CreateDeployment", deployment("v1")).await;
    assert_eq!((status.as_u16(), &answer["__type"]), (400, &json!("InvalidRoleException")));
    let said = answer["message"].as_str().unwrap();
    assert!(said.contains("222233334444") && said.contains("eu-central-1"), "{said}");
    assert!(own.state().commands.is_empty(), "no instance of another place is taken for its own");
}
