//! What CreateDeployment costs in a home that is new, and in one that has seen 800 deployments.

use std::path::Path;
use std::time::Instant;

use super::figure::{Figure, spread};
use super::home::{BenchHome, ms, write_bundle};
use crate::pack;

/// How many deployments there are between the two figures.
const HISTORY: usize = 800;
/// How many make a figure.
const PART: usize = 20;

const APPSPEC: &str = "version: 0.0\nos: linux\nfiles:\n  - source: page\n    destination: /srv/bench\n\
file_exists_behavior: OVERWRITE\n";

pub(super) async fn take(program: &Path) -> anyhow::Result<Vec<Figure>> {
    let home = BenchHome::start(program, 1).await?;
    let place = home.scratch("bundle")?;
    write_bundle(&place, &[("appspec.yml", APPSPEC), ("page", "a page\n")])?;
    home.put("asked/page.zip", pack::pack(&place, None)?).await?;
    let mut times = Vec::with_capacity(HISTORY + PART);
    for _ in 0..HISTORY + PART {
        let began = Instant::now();
        let id = home.begin("asked/page.zip", "zip").await?;
        times.push(ms(began.elapsed()));
        home.ended(&id).await?;
    }
    let after = times.split_off(HISTORY);
    times.truncate(PART);
    let first = spread("CreateDeployment in a new home", times);
    let later = spread("CreateDeployment after 800 deployments", after);
    Ok(first.into_iter().chain(later).collect())
}
