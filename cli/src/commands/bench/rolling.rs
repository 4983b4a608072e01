//! Four hosts, three trivial hooks each, one at a time: from CreateDeployment to Succeeded, as a client sees it.

use std::path::Path;
use std::time::Instant;

use super::figure::{Figure, spread};
use super::home::{BenchHome, ms, shell, write_bundle};
use crate::pack;

const RUNS: usize = 20;
const HOSTS: u8 = 4;

const APPSPEC: &str = "version: 0.0\nos: linux\nfiles:\n  - source: site\n    destination: /srv/bench\n\
file_exists_behavior: OVERWRITE\nhooks:\n  BeforeInstall:\n    - location: one.sh\n  ApplicationStart:\n    - location: two.sh\n  \
ValidateService:\n    - location: three.sh\n";
const HOOK: &str = "#!/bin/sh\nexit 0\n";

/// The same work without anything around it.
const FLOOR: &str = "for host in 1 2 3 4; do unzip -qo \"$1\" -d \"$2/$host\"; mkdir -p \"$2/root-$host/srv\"; \
cp -r \"$2/$host/site\" \"$2/root-$host/srv/bench\"; for hook in one two three; do \"$2/$host/$hook.sh\"; done; done";

pub(super) async fn take(program: &Path) -> anyhow::Result<Vec<Figure>> {
    let home = BenchHome::start(program, HOSTS).await?;
    let (mut times, mut floor) = (Vec::new(), Vec::new());
    for run in 0..=RUNS {
        let place = home.scratch(&format!("bundle-{run}"))?;
        let page = format!("page {run}\n");
        let files = [
            ("appspec.yml", APPSPEC),
            ("site/index.html", &page),
            ("one.sh", HOOK),
            ("two.sh", HOOK),
            ("three.sh", HOOK),
        ];
        write_bundle(&place, &files)?;
        let zip = home.scratch("zips")?.join(format!("{run}.zip"));
        let mut packed = pack::pack(&place, None)?;
        std::io::copy(&mut packed.file, &mut std::fs::File::create(&zip)?)?;
        let bare = shell(FLOOR, &[&zip, &home.scratch(&format!("floor-{run}"))?])?;
        // Not under the prefix that is subscribed to: this deployment is asked for.
        let key = format!("asked/{run}.zip");
        home.put(&key, pack::pack(&place, None)?).await?;
        let began = Instant::now();
        home.deploy(&key, "zip").await?;
        if run > 0 {
            times.push(ms(began.elapsed()));
            floor.push(bare);
        }
    }
    let [median, p90] = spread("four hosts, one at a time", times);
    let floor = spread("floor: unzip, cp, the same hooks in a loop", floor);
    Ok([median.limit(500.0), p90].into_iter().chain(floor).collect())
}
