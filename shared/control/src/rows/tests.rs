//! The stored forms of each schema: a later version must still read them. What is in these files is never changed; a new
//! schema gets files of its own.

use engine::Timestamp;
use engine::deployment::{Creator, Fact, Fired, Request, Sighting, Stage};
use engine::health::LeftAlone;
use engine::lifecycle::Event;
use serde_json::Value;

use super::*;
use crate::carriers::{Carriers, sides_of};

/// Reads a golden body as a row, and writes it again: nothing that was stored may be lost.
fn check<T: Row>((schema, golden): (u32, &str)) -> T {
    let key = Key::new("p", "s");
    let (listed, waking, expires_at) = (None, None, None);
    let record = Record {
        key,
        schema,
        version: 7,
        body: golden.to_owned(),
        listed,
        waking,
        expires_at,
        wakes: false,
    };
    let stored = read::<T>(&record).unwrap();
    assert_eq!(stored.version, 7);
    let written: Value = serde_json::to_value(&stored.row).unwrap();
    let golden: Value = serde_json::from_str(golden).unwrap();
    assert_kept(&golden, &written, "");
    stored.row
}

/// That all of `golden` is in `written`, which may have members that came later.
fn assert_kept(golden: &Value, written: &Value, place: &str) {
    match (golden, written) {
        (Value::Object(golden), Value::Object(written)) => {
            for (name, value) in golden {
                let place = format!("{place}/{name}");
                assert_kept(value, written.get(name).unwrap_or(&Value::Null), &place);
            }
        }
        (Value::Array(golden), Value::Array(written)) if golden.len() == written.len() => {
            for (at, (golden, written)) in golden.iter().zip(written).enumerate() {
                assert_kept(golden, written, &format!("{place}/{at}"));
            }
        }
        _ => assert_eq!(written, golden, "`{place}` is lost or changed"),
    }
}

macro_rules! golden {
    ($name:literal, $schema:literal) => {
        ($schema, include_str!(concat!("../../tests/golden/", $name, ".v", $schema, ".json")))
    };
}

#[test]
fn rows_of_the_first_schema_are_still_read() {
    check::<Application>(golden!("application", 1));
    let by_id = check::<ApplicationId>(golden!("application-id", 1));
    let key = Key::new("APPLICATION#329b8598-167c-4603-bc3b-ecccf9e75a22", "APPLICATION");
    assert_eq!(by_id.key(), key);
    check::<GroupName>(golden!("group-name", 1));
    check::<Group>(golden!("group", 1));
    check::<Config>(golden!("config", 1));
    check::<RegisteredRevision>(golden!("revision", 1));
    check::<OnPremises>(golden!("on-premises", 1));
    check::<IamArn>(golden!("iam-arn", 1));
    check::<Subscription>(golden!("subscription", 1));
    check::<UploadRow>(golden!("upload", 1));
    let unhandled = check::<UnhandledUpload>(golden!("unhandled-upload", 1));
    let place = "revisions#PO6sVBl0TzFWlDSjkcq3J1RbcZ9_tqFB";
    assert_eq!(unhandled.key(), Key::new("UNHANDLED-UPLOADS", place));
    check::<StopRow>(golden!("stop", 1));
    let look = check::<RecheckRow>(golden!("look", 1));
    assert!(look.message().is_some_and(|message| message.contains("60 s later it had 10%")));
    let old = check::<OldHostsRow>(golden!("old-hosts", 1));
    assert!(old.messages().iter().any(|message| message.contains("may not be terminated")));
    let claim = check::<TrafficClaim>(golden!("traffic-claim", 1));
    assert_eq!(claim.key(), Key::new("TRAFFIC-CLAIMS", "home:shop"));
    check::<LogRow>(golden!("log", 1));
    let host = check::<HostRow>(golden!("host-failed", 1));
    assert_eq!(host.seen().sighting, Sighting::Failed);
}

#[test]
fn deployments_of_the_first_schema_are_still_read() {
    let failed = check::<DeploymentRow>(golden!("deployment-failed", 1));
    assert!(failed.waking().is_none(), "it has ended, and wakes no more");
    let running = check::<DeploymentRow>(golden!("deployment-in-flight", 1));
    let deployment = &running.deployment;
    assert_eq!(deployment.all_outstanding().collect::<Vec<_>>(), [1, 2]);
    assert!(running.waking().is_some());
    assert!(deployment.stop_requested());
}

#[test]
fn a_deployment_of_the_second_schema_still_knows_who_arrived_and_whom_its_ramp_holds_back() {
    let row = check::<DeploymentRow>(golden!("deployment-arrivals", 2));
    let deployment = &row.deployment;
    let next: Vec<u32> = deployment.hosts().next_untouched(9).collect();
    assert_eq!(next, [7, 2, 3, 4], "the one that arrived goes before healthy ones");
    assert_eq!(deployment.outstanding(0).iter().collect::<Vec<_>>(), [1, 5]);
    let held_back = deployment.plan(deployment.latest());
    assert_eq!((held_back.requests, held_back.wake_at), (Vec::new(), row.wake_at));
    let plan = deployment.plan(row.wake_at.unwrap());
    let hosts = [7].into_iter().collect();
    assert_eq!(plan.requests, [Request::Dispatch { batch: 3, attempt: 1, hosts }]);
    assert_eq!(deployment.pin().unwrap().hooks_s, Some(420));
}

#[test]
fn a_deployment_whose_commands_are_denied_still_knows_since_when_and_why() {
    let row = check::<DeploymentRow>(golden!("deployment-sending", 2));
    let deployment = &row.deployment;
    let (refusal, since) = deployment.refusal().unwrap();
    assert!(refusal.denied && refusal.message.contains("AccessDeniedException"));
    assert_eq!(since, Some(Timestamp(1_795_428_148_000)));
    let requests = deployment.plan(row.wake_at.unwrap()).requests;
    let hosts = [5].into_iter().collect();
    assert!(requests.contains(&Request::Dispatch { batch: 0, attempt: 1, hosts }), "{requests:?}");
}

#[test]
fn a_departure_of_the_second_schema_is_still_of_its_host_alone() {
    let row = check::<DeploymentRow>(golden!("deployment-departure", 2));
    assert_eq!(row.only, Some(vec!["i-0a1b2c3d4e5f60718".to_owned()]));
    assert_eq!(row.deployment.order().creator, Creator::Departure);
    assert_eq!(row.deployment.events(), [Event::ApplicationStop]);
}

#[test]
fn a_deployment_of_the_second_schema_still_knows_its_step_its_wishes_and_its_alarms() {
    let row = check::<DeploymentRow>(golden!("deployment-baking", 2));
    let deployment = &row.deployment;
    assert_eq!(deployment.order().ladder.to_string(), "1 host@1m,50%@5m,100%");
    assert_eq!(deployment.bakes_until(), None, "its clock stands still while it is paused");
    assert!(deployment.steering().paused && deployment.alarm().is_none());
    let plan = deployment.plan(row.wake_at.unwrap());
    assert_eq!(plan.requests, [Request::ReadAlarms], "paused, it starts nothing");
    let withdrawn = check::<DeploymentRow>(golden!("deployment-withdrawn", 2)).deployment;
    assert_eq!((withdrawn.climb().rung, withdrawn.steering().baked_below), (1, 1));
    assert_eq!(withdrawn.alarm().unwrap().names, ["home:shop error_rate>5%"]);
    assert_eq!(withdrawn.withdrawn_at(), Some(Timestamp(1_795_428_150_101)));
    assert_eq!(withdrawn.outstanding(1).iter().collect::<Vec<_>>(), [1]);
    assert!(withdrawn.events().contains(&Event::BlockTraffic));
}

#[test]
fn a_deployment_whose_traffic_moves_still_knows_its_sides_and_its_stage() {
    let row = check::<DeploymentRow>(golden!("deployment-shifting", 2));
    let deployment = &row.deployment;
    let carrier = Carriers::default().of(deployment).unwrap().unwrap();
    let sides = sides_of(carrier.groups(), deployment.new_side());
    assert_eq!(sides, Some(("home:one", "home:two")));
    // The version before wrote the name of the carrier and none of its traits.
    assert!(deployment.order().has_hosts());
    assert_eq!((deployment.stage(), deployment.percent()), (Some(Stage::Move), Some(25)));
    assert_eq!(deployment.poised().iter().collect::<Vec<_>>(), [0, 1]);
    assert!(deployment.steering().continued);
    let plan = deployment.plan(Timestamp(1_795_428_449_400));
    assert!(plan.requests.contains(&Request::MoveTraffic { percent: 100 }), "{plan:?}");
    let hook = check::<HookRow>(golden!("hook", 1));
    assert_eq!(hook.key(), Key::new("D#d-7QX2MNB4K", "HOOK#BeforeAllowTraffic"));
    let told = Fact::HookEnded { event: Event::BeforeAllowTraffic, failed: None };
    assert_eq!(hook.told(), Some(told));
}

#[test]
fn what_goes_zone_by_zone_still_knows_its_zones_and_whose_turn_it_is() {
    let row = check::<DeploymentRow>(golden!("deployment-zones", 2));
    let deployment = &row.deployment;
    let zones: Vec<String> = deployment.hosts().zones().map(ToString::to_string).collect();
    let expected = [
        "hosts of the zone `eu-central-1a`",
        "hosts of the zone `eu-central-1b`",
        "hosts without a zone",
    ];
    assert_eq!(zones, expected);
    assert_eq!(deployment.bakes_until(), row.wake_at);
    let dispatched = |at| {
        let requests = deployment.plan(at).requests.into_iter();
        let hosts = requests.filter_map(|request| {
            let Request::Dispatch { hosts, .. } = request else { return None };
            Some(hosts)
        });
        hosts.flat_map(|hosts| hosts.iter().collect::<Vec<u32>>()).collect::<Vec<u32>>()
    };
    assert_eq!(dispatched(deployment.latest()), [5], "who arrived waits for no bake");
    assert_eq!(dispatched(row.wake_at.unwrap()), [2, 5], "and one of the second zone");
    let config = check::<Config>(golden!("config-zonal", 1));
    assert_eq!(config.zonal.unwrap().bake_ms_of(0), 600_000);
    let outcome = check::<OutcomeRow>(golden!("outcome-zones", 1));
    let [_, roster, _] = OutcomeRow::keys_of(&outcome.deployment_id);
    assert_eq!(outcome.key(), roster);
    let Fact::ZonesSealed(zones) = outcome.outcome.into_fact() else { panic!("no zones") };
    assert_eq!(zones.iter().map(|zone| zone.hosts).sum::<u32>(), 5);
}

#[test]
fn what_people_want_is_still_read() {
    let steering = check::<SteeringRow>(golden!("wish", 1));
    assert_eq!(steering.key(), Key::new("D#d-7QX2MNB4K", "WISHES"));
    assert!(steering.steering.promoted && steering.wakes());
    assert_eq!((steering.steering.version, steering.steering.baked_below), (3, 1));
}

#[test]
fn hosts_of_the_second_schema_are_still_read() {
    let leaving = check::<HostRow>(golden!("host-pushed", 2));
    assert_eq!(leaving.seen().sighting, Sighting::Leaving);
    assert_eq!((leaving.transport, leaving.arrived), (Transport::Push, true));
    assert_eq!(leaving.key(), Key::new("D#d-7QX2MNB4K", "HOST#000006"));
    let unfit = check::<HostRow>(golden!("host-unfit", 2));
    assert_eq!(unfit.seen().sighting, Sighting::ShutOut);
    assert_eq!(unfit.reason, unfit.unfit);
    let polling = check::<HostRow>(golden!("host-failed", 1));
    assert_eq!(
        polling.transport,
        Transport::Poll,
        "those of the first schema all ask by themselves"
    );
}

#[test]
fn batches_and_what_came_of_effects_are_still_found_and_read() {
    let batch = check::<BatchRow>(golden!("batch", 1));
    assert_eq!(batch.key(), Key::new("D#d-7QX2MNB4K", "BATCH#000002"));
    let command = check::<CommandRow>(golden!("command", 1));
    assert_eq!(batch.commands.first(), Some(&command.command));
    // The first versions noted no more than that it was sent, and their secrets end as late as any command does.
    assert_eq!(batch.told(), Some(Fact::BatchAccepted { batch: 2, at: batch.at }));
    assert_eq!(batch.expires_at(), Some(batch.at.plus_ms(3 * 24 * 3_600_000 + 120_000)));
    let refused = check::<BatchRow>(golden!("batch-refused", 1));
    assert!(refused.wakes() && !batch.wakes());
    let told = refused.told().unwrap();
    assert!(matches!(told, Fact::BatchRefused { batch: 3, refusal, .. } if refusal.denied));
    assert_eq!(refused.ends_at(), Timestamp(1_795_429_589_319));
    let accepted = check::<BatchRow>(golden!("batch-accepted", 1));
    let at = Timestamp(1_795_428_150_000);
    assert_eq!(accepted.told(), Some(Fact::BatchAccepted { batch: 4, at }));
    assert_eq!(command.key(), Key::new(format!("COMMAND#{}", command.command), "COMMAND"));
    let outcomes =
        [golden!("outcome-pinned", 1), golden!("outcome-refused", 1), golden!("outcome-sealed", 1)];
    let outcomes = outcomes.map(check::<OutcomeRow>);
    let id = &outcomes[0].deployment_id;
    let [revision, roster, _] = OutcomeRow::keys_of(id);
    assert_eq!(outcomes.each_ref().map(Row::key), [revision.clone(), revision, roster.clone()]);
    assert!(outcomes.iter().all(Row::wakes));
    let [pinned, refused, sealed] = outcomes.map(|row| row.outcome.into_fact());
    let Fact::RevisionPinned(pin) = pinned else { panic!("{pinned:?}") };
    assert_eq!((pin.hooks_s, pin.e_tag, pin.version), (Some(420), None, None), "of before these");
    let named = check::<OutcomeRow>(golden!("outcome-pinned-object", 1)).outcome.into_fact();
    assert!(matches!(named, Fact::RevisionPinned(pin) if pin.e_tag.is_some()));
    assert!(matches!(refused, Fact::RevisionRefused(_)));
    assert_eq!(sealed, Fact::RosterSealed { total: 5, unhealthy: 1, out: 0 });
    let part = check::<OutcomeRow>(golden!("outcome-part", 1));
    assert_eq!(part.key(), roster);
    let left_alone = LeftAlone { healthy: 6, unhealthy: 1 };
    let part = part.outcome.into_fact();
    assert_eq!(part, Fact::PartSealed { total: 3, unhealthy: 2, out: 0, left_alone });
}

#[test]
fn hosts_that_come_and_go_are_still_found_and_read() {
    let transition = check::<TransitionRow>(golden!("passage", 1));
    assert_eq!(transition.key(), Key::new("PASSAGES", "i-0a1b2c3d4e5f60718"));
    assert_eq!(
        (transition.direction, transition.verdict),
        (Direction::Arriving, Some(Verdict::Abandon))
    );
    let told = [&transition.answered[0], &transition.actions[0]];
    assert!(
        told.into_iter().all(|action| transition.knows(action)),
        "what was answered stays answered"
    );
    let roster = check::<RosterRow>(golden!("roster", 1));
    assert_eq!(roster.key(), RosterRow::key_of(&roster.deployment_id, &transition.instance));
    let arrived = check::<ArrivedRow>(golden!("arrived", 1));
    assert_eq!(arrived.key(), Key::new("D#d-7QX2MNB4K", "ARRIVED#i-0a1b2c3d4e5f60718"));
    let later = check::<LaterRow>(golden!("later", 1));
    assert_eq!(later.key(), Key::new("D#d-ZBIEBBLV7", "LATER#i-0a1b2c3d4e5f60718"));
    let scaling_group = check::<ScalingGroupRow>(golden!("scaling-group", 1));
    let group = scaling_group.group_id.as_str();
    assert_eq!(scaling_group.key(), Key::new("SCALING#shop-web", group));
    let listed = Key::new(format!("GROUP#{group}#SCALING"), "shop-web");
    assert_eq!(scaling_group.listed(), Some(listed));
    let suspension = check::<SuspensionRow>(golden!("suspension", 1));
    assert_eq!(suspension.key(), Key::new("SUSPENSIONS", "shop-web"));
    assert_eq!(suspension.resumed_at, Some(Timestamp(1_795_429_227_758)));
}

#[test]
fn a_deployment_with_a_gate_is_told_from_those_of_the_version_before_by_its_schema() {
    let row = check::<DeploymentRow>(golden!("deployment-gate", 3));
    assert_eq!((row.layout, row.schema()), (Layout::Gate, 3));
    let before = check::<DeploymentRow>(golden!("deployment-shifting", 2));
    assert_eq!((before.layout, before.schema()), (Layout::Row, 2), "it stays readable for it");
    let gate = check::<GateRow>(golden!("gate", 1));
    assert_eq!(gate.key(), Key::new("GATE#d-7QX2MNB4K#03", "GATE"));
    assert_eq!(gate.gate, row.deployment.gate());
    let latest = row.deployment.latest();
    assert_eq!(gate.gate.may_proceed(latest), Ok(()));
    assert_eq!(gate.as_it_stands().may_proceed(latest), Err("the deployment was stopped"));
    let halted = check::<GateRow>(golden!("gate-halted", 1)).gate;
    assert_eq!(halted.alarm(), Some(Fired::Unreadable));
    assert_eq!(halted.may_proceed(latest), Err("the deployment was stopped by an alarm"));
    let specification = check::<SpecificationRow>(golden!("specification", 1));
    assert_eq!(Some(&specification), SpecificationRow::of(&row).as_ref());
    assert_eq!(specification.key(), Key::new("D#d-7QX2MNB4K", "SPECIFICATION"));
}

#[test]
fn a_host_that_was_sent_its_command_by_its_own_item_is_left_alone_by_the_version_before() {
    let host = check::<HostRow>(golden!("host-offered", 3));
    assert!(host.is_in_flight() && host.schema() == 3);
    assert_eq!((host.offered, host.gate), (2, 3));
    let silent = HostRow { out_of_reach: Some(OutOfReach::GivenUp), ..host.clone() };
    let ended = HostRow { status: Some(wire::host::HostStatus::Failed), ..host.clone() };
    let gone = HostRow { gone: true, ..host };
    assert!([silent, ended, gone].iter().all(|host| !host.is_in_flight()));
    let before = check::<HostRow>(golden!("host-pushed", 2));
    assert!(!before.is_in_flight() && before.schema() == 2);
}

#[test]
fn an_attempt_is_sent_once_and_never_takes_the_place_of_a_later_one() {
    let deployment = check::<DeploymentRow>(golden!("deployment-gate", 3));
    let row = HostRow { leaving: false, ..check::<HostRow>(golden!("host-pushed", 2)) };
    let mut host = Stored { row, version: 7 };
    let before = check::<DeploymentRow>(golden!("deployment-shifting", 2));
    assert_eq!(host.offer(&before, 1).unwrap(), None, "its deployment's row says it");
    let write = host.offer(&deployment, 2).unwrap();
    assert!(matches!(write, Some(Write::Put(_, Condition::Version(7)))), "{write:?}");
    assert_eq!((host.row.offered, host.version), (2, 8));
    assert_eq!(
        (host.offer(&deployment, 2).unwrap(), host.offer(&deployment, 1).unwrap()),
        (None, None)
    );
}

#[test]
fn what_a_group_knows_of_its_hosts_is_still_read() {
    let group = check::<Group>(golden!("group-members", 1));
    assert_eq!(group.members_since, Some(3));
    assert_eq!(check::<Group>(golden!("group", 1)).members_since, None, "its history tells");
    let member = check::<MemberRow>(golden!("member", 1));
    let partition = format!("GROUP#{}#MEMBERS#52", group.id);
    assert_eq!(member.key(), Key::new(&partition, "i-0a1b2c3d4e5f60718"));
    assert!(MemberRow::partitions_of(&group.id).any(|one| one == partition));
    assert!(!member.wakes() && member.unless_counted.as_ref().is_some_and(|was| was.healthy));
    let host = check::<HostRow>(golden!("host-member", 3));
    assert_eq!(host.schema(), 3);
    let known = Before { healthy: true, installed: host.installs.clone() };
    let newer = MemberRow { known, unless_counted: None, ..member };
    assert_eq!(MemberRow::left_by(&host), Some(newer));
    let old = check::<HostRow>(golden!("host-failed", 1));
    assert_eq!(
        (old.schema(), MemberRow::left_by(&old)),
        (2, None),
        "its deployment ends as it began"
    );
    assert!(check::<DeploymentRow>(golden!("deployment-gate", 3)).keeps_members());
    assert!(!check::<DeploymentRow>(golden!("deployment-arrivals", 2)).keeps_members());
}

#[test]
fn hosts_of_a_large_fleet_are_still_found_where_they_lie() {
    let places = check::<ShardsRow>(golden!("shards", 1));
    assert_eq!(places.key(), Key::new("D#d-7QX2MNB4K", "SHARDS"));
    let host = check::<HostRow>(golden!("host-member", 3));
    let key = Key::new("D#d-7QX2MNB4K#006", "HOST#000006");
    assert_eq!((host.key(), places.shards().key_of(14).partition), (key.clone(), key.partition));
    assert_eq!(DeploymentRow::id_in(&host.key()), Some(places.deployment_id.clone()));
    assert_eq!(HostRow::ordinal_in(&host.key()), Some(6));
    let parts: Vec<_> = places.shards().all().map(|(partition, _)| partition).collect();
    assert_eq!((parts.len(), parts[7].as_str()), (8, "D#d-7QX2MNB4K#007"));
    let old = check::<HostRow>(golden!("host-failed", 1));
    assert_eq!(old.key(), Key::new("D#d-9M95JJ0C7", "HOST#000001"));
    let shards = |hosts| HostShards::of(&places.deployment_id, hosts, 256).shards;
    assert_eq!([0, 256, 257, 10_000].map(shards), [1, 1, 2, 40]);
}

#[test]
fn a_row_of_a_newer_schema_is_left_alone() {
    let key = Key::new("p", "s");
    let (listed, waking, expires_at) = (None, None, None);
    let record = Record {
        key,
        schema: 2,
        version: 1,
        body: "{}".to_owned(),
        listed,
        waking,
        expires_at,
        wakes: false,
    };
    let error = read::<StopRow>(&record).unwrap_err();
    assert!(error.is_passing(), "{error}");
}
