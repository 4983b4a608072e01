//! Simulated worlds, by seed. A seed that fails prints its transcript; `cargo run -p sim --example replay -- SEED`
//! prints it again.

/// Seeds that `cargo test` simulates; `cargo xtask test` simulates ten times as many.
const SEEDS: u64 = 1_000;

#[test]
fn worlds_that_once_broke_an_invariant_keep_it() {
    let seeds = include_str!("../regressions.txt").lines().filter(|line| !line.starts_with('#'));
    for seed in seeds {
        let outcome = sim::run(seed.parse().unwrap());
        assert_eq!(outcome.violation, None, "{outcome}");
    }
}

#[test]
fn every_invariant_holds_in_a_thousand_worlds() {
    let sum = sim::run_many(0..SEEDS);
    if let Some(first) = sum.broken.first() {
        let seeds: Vec<u64> = sum.broken.iter().map(|outcome| outcome.seed).collect();
        panic!("{first}\nbroken seeds: {seeds:?}");
    }
    // A world in which nothing happens holds every invariant.
    assert!(sum.deployments > SEEDS, "{} deployments", sum.deployments);
    let (of_before, _) = sum.tally["of the version before"];
    assert!(of_before > SEEDS / 20, "{of_before} deployments that the version before began");
}

/// Seeds of which those are simulated twice whose machine's clock jumps.
const JUMPING: u64 = 1_000;

#[test]
fn a_clock_that_jumps_an_hour_forward_and_back_stalls_nothing_and_ends_nothing_too_soon() {
    let (mut worlds, mut deployments) = (0, 0);
    for [jumping, even] in (0..JUMPING).filter_map(sim::with_and_without_jumps) {
        let seed = jumping.seed;
        let seen = |outcome: &sim::Outcome| {
            let &sim::Outcome { deployments, succeeded, virtual_ms, .. } = outcome;
            let mut writes = outcome.writes.clone();
            // How long traffic is looked at after an end is told by the clock that jumps.
            writes.remove(&sim::Kind::Other);
            (deployments, succeeded, virtual_ms, writes, outcome.tally.clone())
        };
        assert_eq!(jumping.violation, None, "{}", sim::replay(seed));
        assert_eq!(seen(&jumping), seen(&even), "seed {seed} becomes another story");
        worlds += 1;
        deployments += jumping.deployments;
    }
    assert!(worlds > JUMPING / 25 && deployments > worlds, "{worlds} worlds, {deployments}");
}

#[test]
fn a_seed_replays_step_by_step() {
    for seed in 0..20 {
        let outcome = sim::replay(seed);
        assert!(!outcome.lines.is_empty());
        assert_eq!(outcome, sim::replay(seed));
        assert_eq!(outcome.events, sim::run(seed).events, "a transcript changes nothing");
    }
}

#[test]
fn a_stop_reaches_all_hosts_of_a_fleet_that_reads_many_copies_of_the_gate() {
    let outcome = sim::stopped(1_100);
    assert_eq!(outcome.violation, None, "{}", outcome.last_line());
    assert_eq!((outcome.deployments, outcome.succeeded), (1, 0));
    // Begun, sealed, stopped, what the deployment takes note of, and its end: 16 copies but for the first time.
    let gates = outcome.writes[&sim::Kind::Gate];
    assert!((49..=65).contains(&gates), "{gates} copies were written");
}

#[test]
fn a_deployment_that_one_version_begins_is_ended_by_the_next_whichever_part_is_replaced_last() {
    // Who may decide leaves alone what it does not know, or goes on with what the other one has begun.
    for (part, of_before) in [(sim::Part::All, 1), (sim::Part::Others, 1), (sim::Part::Steppers, 0)]
    {
        let outcome = sim::upgraded(part);
        assert_eq!(outcome.violation, None, "{part:?}: {}", outcome.last_line());
        assert_eq!((outcome.deployments, outcome.succeeded), (1, 1), "{part:?}");
        let begun = outcome.tally.get("of the version before").copied().unwrap_or_default();
        assert_eq!(begun, of_before, "{part:?}");
        assert!(outcome.virtual_ms > sim::UPGRADED_MS, "{part:?}");
    }
}

#[test]
fn item_writes_for_each_host_do_not_grow_with_the_fleet() {
    for config in [
        "CodeDeployDefault.AllAtOnce",
        "CodeDeployDefault.HalfAtATime",
        "CodeDeployDefault.OneAtATime",
    ] {
        for hosts in [10, 100, 1_000] {
            let writes =
                sim::writes_per_host(config, hosts).unwrap_or_else(|outcome| panic!("{outcome}"));
            // Six of its own: that it is enrolled, sent its command, claims it and ends, what its group then knows, and its
            // output. What the deployment writes for itself hardly grows.
            let most = 6.05 + 12.0 / f64::from(hosts);
            assert!(writes <= most, "{writes} item writes for each of {hosts} hosts, {config}");
        }
    }
}

#[test]
fn the_row_of_a_large_fleet_takes_half_of_what_its_partition_can_and_nobody_waits_for_it() {
    let sim::Scale { units, lasted_ms, .. } =
        sim::scale("CodeDeployDefault.AllAtOnce", 3_000, None).unwrap();
    let (written, row) = &units.item.written;
    assert!(*written <= 500.0, "{written} units were written in a second to {row}");
    let (bytes, largest) = &units.largest;
    assert!(*bytes <= 20_000, "{largest} has {bytes} bytes");
    // Who decides meets nobody else who does, but by chance.
    let (conflicts, commits) = units.conflicts;
    assert!(conflicts <= commits / 20, "{conflicts} conflicts beside {commits} commits");
    // The last hosts are started after five seconds, and a command takes three at most.
    assert!((5_000..9_000).contains(&lasted_ms), "{lasted_ms} ms");
}
