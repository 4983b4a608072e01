//! `cargo run --release -p sim --example scale`: what a deployment to all of a large fleet costs the table, as `DynamoDB`
//! counts it, on the simulator's clock.
#![expect(clippy::print_stdout, reason = "it is a command line tool")]

use sim::{Hottest, Kind, START_RAMP, Scale, Units};

const CONFIG: &str = "CodeDeployDefault.AllAtOnce";

/// Calls of Run Command that an account may make in a second. AWS publishes no such figure; people are throttled by few.
const COMMANDS: u32 = 5;

/// Hosts that one call of Run Command reaches.
const HOSTS_OF_COMMAND: u32 = 50;

/// Units that one partition takes in a second.
const LIMITS: (f64, f64) = (1_000.0, 3_000.0);

fn main() {
    let fleets = std::env::args().skip(1).filter_map(|hosts| hosts.parse().ok());
    let fleets: Vec<u32> = fleets.collect();
    let fleets = if fleets.is_empty() { vec![2_000, 10_000] } else { fleets };
    for hosts in fleets {
        println!("{hosts} hosts, {CONFIG}, at most {START_RAMP} started a second");
        match (sim::scale(CONFIG, hosts, None), sim::scale(CONFIG, hosts, Some(COMMANDS))) {
            (Ok(free), Ok(held)) => show(hosts, &free, &held),
            (Err(outcome), _) | (_, Err(outcome)) => println!("  {}", outcome.last_line()),
        }
    }
}

fn show(hosts: u32, free: &Scale, held: &Scale) {
    show_units(hosts, &free.units);
    let seconds = |ms: u64| f64::from(u32::try_from(ms).unwrap_or(u32::MAX)) / 1e3;
    let ramp = hosts.div_ceil(START_RAMP).saturating_sub(1);
    println!("  {:<22} {:>8.1} s; the ramp alone takes {ramp} s", "time", seconds(free.lasted_ms));
    let calls = hosts.div_ceil(HOSTS_OF_COMMAND);
    let sent = calls.saturating_sub(COMMANDS).div_ceil(COMMANDS);
    println!(
        "  {:<22} {:>8.1} s; sending alone takes {sent} s; {} calls refused beside {calls}",
        format!("at {COMMANDS} commands a second"),
        seconds(held.lasted_ms),
        held.throttled
    );
}

fn show_units(hosts: u32, units: &Units) {
    let busiest = |what: &str, hottest: &Hottest| {
        let (written, by_written) = &hottest.written;
        let (read, by_read) = &hottest.read;
        println!("  {what:<22} {written:>8.0} written a second  {by_written}");
        println!("  {:<22} {read:>8.0} read a second     {by_read}", "");
    };
    busiest("busiest item", &units.item);
    busiest("busiest partition", &units.partition);
    println!("  (a partition takes {} written and {} read)", LIMITS.0, LIMITS.1);
    let (bytes, largest) = &units.largest;
    println!("  {:<22} {bytes:>8} bytes             {largest}", "largest item");
    let written: u64 = units.writes.values().sum();
    let of_hosts = units.writes.get(&Kind::Host).copied().unwrap_or(0);
    let each = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / f64::from(hosts);
    println!(
        "  {:<22} {:>8.2} a host, {:.2} of them its own item",
        "item writes",
        each(written),
        each(of_hosts)
    );
    let (conflicts, commits) = units.conflicts;
    println!("  {:<22} {conflicts:>8} beside {commits} commits of the row", "conflicts");
    println!(
        "  {:<22} {:>8.1} written, {:.1} read a host",
        "units",
        units.total.written / f64::from(hosts),
        units.total.read / f64::from(hosts)
    );
}
