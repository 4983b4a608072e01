//! A large bundle on one host: 2,000 files of 99 MB in all, as tar.gz, from CreateDeployment to Succeeded, as a client sees
//! it; intake, download, check, unpacking and copying are all in it.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use super::figure::Figure;
use super::home::{BenchHome, ms, shell, write_bundle};
use crate::pack::Packed;

const FILES: usize = 2_000;
const FILE_BYTES: usize = 49_500;
const APPSPEC: &str = "version: 0.0\nos: linux\nfiles:\n  - source: site\n    destination: /srv/bench\n\
file_exists_behavior: OVERWRITE\n";
const FLOOR: &str = "mkdir \"$2/x\"; tar xzf \"$1\" -C \"$2/x\"; cp -r \"$2/x/site\" \"$2/bench\"";

pub(super) async fn take(program: &Path) -> anyhow::Result<Vec<Figure>> {
    let home = BenchHome::start(program, 1).await?;
    let mut figures = Vec::new();
    for (key, seed) in [("asked/1.tgz", 1), ("asked/2.tgz", 2)] {
        let place = home.scratch(&format!("bundle-{seed}"))?;
        write_files(&place, seed)?;
        let archive = home.scratch("archives")?.join(format!("{seed}.tgz"));
        shell("tar czf \"$1\" -C \"$2\" .", &[&archive, &place])?;
        std::fs::remove_dir_all(&place)?;
        let floor = shell(FLOOR, &[&archive, &home.scratch(&format!("floor-{seed}"))?])?;
        figures.push(Figure::new(format!("floor {seed}: tar xzf + cp -r"), floor, "ms"));
        home.put(key, packed(&archive)?).await?;
    }
    let steps = [
        ("first install, whole deployment", "asked/1.tgz"),
        ("another revision over it", "asked/2.tgz"),
        ("back to the first one", "asked/1.tgz"),
    ];
    for (name, key) in steps {
        let began = Instant::now();
        home.deploy(key, "tgz").await?;
        figures.push(Figure::new(name, ms(began.elapsed()), "ms"));
    }
    Ok(figures)
}

/// Files of which half can be compressed away: each line is a number of a generator in hex.
fn write_files(place: &Path, seed: u64) -> anyhow::Result<()> {
    write_bundle(place, &[("appspec.yml", APPSPEC)])?;
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut content = String::with_capacity(FILE_BYTES + 32);
    for number in 0..FILES {
        content.clear();
        while content.len() < FILE_BYTES {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            content.push_str(&format!("{state:016x}\n"));
        }
        content.truncate(FILE_BYTES);
        let name = format!("site/{}/{number}.txt", number % 40);
        write_bundle(place, &[(&name, &content)])?;
    }
    Ok(())
}

fn packed(archive: &Path) -> anyhow::Result<Packed> {
    let mut file = File::open(archive)?;
    let (size, sha256) = crate::pack::measure(&mut file)?;
    Ok(Packed { file, size, sha256, unknown: Vec::new() })
}
