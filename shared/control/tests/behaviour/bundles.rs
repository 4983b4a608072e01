//! Kept bundles that nothing needs any more.

use control::OperatorApi as Api;
use control::rows::{self, RegisteredRevision, Row as _};
use control::table::{Condition, Query, Write};
use serde_json::json;
use sim::scripted::Scripted;

use crate::world::{World, deployment, group, web};

const DAY_MS: u64 = 24 * 3_600 * 1_000;
const ALL: [&str; 3] = ["v1", "v2", "v3"];

/// A world in which two revisions were deployed to a group, and one to another application's.
async fn world() -> World {
    let world = World::with_group().await;
    world.register("web-1").await;
    for key in ["v1", "v2"] {
        world.deploy(key).await;
        world.work("web-1", "Succeeded").await;
    }
    world.ok(Api::create_application, json!({ "applicationName": "other" })).await;
    let mut other = group("web");
    other["applicationName"] = "other".into();
    world.ok(Api::create_deployment_group, other).await;
    let mut body = deployment("v3");
    body["applicationName"] = "other".into();
    world.begin(body).await;
    world.work("web-1", "Succeeded").await;
    assert_eq!(kept(&world), ALL);
    world
}

/// The keys out of [`ALL`] whose bytes are kept.
fn kept(world: &World) -> Vec<&'static str> {
    let kept = world.kept();
    ALL.into_iter().filter(|key| kept.contains(&Scripted::digest_of(key))).collect()
}

/// Takes the record of every revision out of the table.
async fn forget_revisions(world: &World) {
    let info = world.ok(Api::get_application, json!({ "applicationName": "shop" })).await;
    let id = info["application"]["applicationId"].as_str().unwrap();
    let query = Query::prefix(RegisteredRevision::all_of(id), "", 100);
    let table = &*world.control.base.table;
    for revision in rows::load_all::<RegisteredRevision>(table, query).await.unwrap() {
        table.write(&[Write::Delete(revision.row.key(), Condition::None)]).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_deleted_application_had_goes_after_a_while_and_nothing_else_does() {
    let world = world().await;
    world.pass_ms(31 * DAY_MS);
    assert_eq!(
        world.control.revision_intake().remove_unneeded_bundles().await.unwrap(),
        0,
        "revisions need them"
    );
    // The bytes of one of its revisions are another application's as well, and were put again for it.
    world.ok(Api::delete_application, json!({ "applicationName": "shop" })).await;
    let mut body = deployment("v2");
    body["applicationName"] = "other".into();
    world.begin(body).await;
    assert_eq!(world.control.revision_intake().remove_unneeded_bundles().await.unwrap(), 1);
    assert_eq!(kept(&world), ["v2", "v3"]);
    world.ok(Api::delete_application, json!({ "applicationName": "other" })).await;
    world.pass_ms(29 * DAY_MS);
    assert_eq!(
        world.control.revision_intake().remove_unneeded_bundles().await.unwrap(),
        1,
        "v3, put 60 days ago"
    );
    world.pass_ms(2 * DAY_MS);
    assert_eq!(world.control.revision_intake().remove_unneeded_bundles().await.unwrap(), 1);
    assert_eq!(kept(&world), [""; 0]);
}

#[tokio::test]
async fn what_a_group_can_go_back_to_is_kept_also_without_a_revision() {
    let world = world().await;
    forget_revisions(&world).await;
    world.pass_ms(31 * DAY_MS);
    assert_eq!(world.control.revision_intake().remove_unneeded_bundles().await.unwrap(), 0);
    world.ok(Api::delete_deployment_group, web()).await;
    assert_eq!(world.control.revision_intake().remove_unneeded_bundles().await.unwrap(), 2);
    assert_eq!(kept(&world), ["v3"]);
}

#[tokio::test]
async fn a_host_hears_which_of_its_groups_were_deleted() {
    let world = World::with_group().await;
    world.register("web-1").await;
    let known =
        world.ok(Api::get_deployment_group, web()).await["deploymentGroupInfo"]["deploymentGroupId"]
            .take();
    let gone = "0d3c9a52-1111-4222-8333-444455556666";
    // It is answered at once, although nothing waits for the host.
    let poll = json!({ "waitMs": 50_000, "keptGroups": [gone, known] });
    assert_eq!(world.poll("web-1", poll).await["deletedGroups"], json!([gone]));
}
