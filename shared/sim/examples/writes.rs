//! `cargo run --release -p sim --example writes`: prints how many items one deployment writes for each of its hosts.
#![expect(clippy::print_stdout, reason = "it is a command line tool")]

fn main() {
    println!("{:<32} {:>6} {:>16}", "configuration", "hosts", "writes per host");
    for (config, most) in [("AllAtOnce", 10_000), ("HalfAtATime", 10_000), ("OneAtATime", 1_000)] {
        for hosts in [10, 100, 1_000, 10_000] {
            if hosts <= most {
                let name = format!("CodeDeployDefault.{config}");
                match sim::writes_per_host(&name, hosts) {
                    Ok(writes) => println!("{name:<32} {hosts:>6} {writes:>16.2}"),
                    Err(outcome) => println!("{name:<32} {hosts:>6} {}", outcome.last_line()),
                }
            }
        }
    }
}
