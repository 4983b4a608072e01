//! The three revisions of the demo's story.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const APPSPEC: &str = "\
version: 0.0
os: linux
files:
  - source: site
    destination: /srv/shop
file_exists_behavior: OVERWRITE
hooks:
  ApplicationStop:
    - location: scripts/stop.sh
      timeout: 30
  ApplicationStart:
    - location: scripts/start.sh
      timeout: 30
  ValidateService:
    - location: scripts/validate.sh
      timeout: 30
";

const STOP: &str = "#!/bin/sh\necho \"stopping the shop on $HOST_ADDRESS\"\n";

const START: &str =
    "#!/bin/sh\necho \"starting $(cat \"$HOST_ROOT/srv/shop/version.txt\") on $HOST_ADDRESS\"\n";

const VALIDATE: &str = "#!/bin/sh\ntest -s \"$HOST_ROOT/srv/shop/index.html\" && echo healthy\n";

/// A check that is wrong on the second host alone, as mistakes in production are.
const BROKEN: &str = "#!/bin/sh
case \"$HOST_ADDRESS\" in
  *.2) echo \"connecting to the database at $HOST_ADDRESS:5432\"
       echo 'database migration 42 is missing' >&2
       exit 1 ;;
esac
echo healthy
";

/// Writes version `number` of the demo's shop into a directory; the third one fails on the second host.
pub(super) fn write_bundle(dir: &Path, number: u32) -> io::Result<()> {
    let version = format!("shop version {number}\n");
    let page = format!(
        "<!doctype html><title>Shop</title><h1>Welcome to the shop, version {number}</h1>\n"
    );
    let validate = if number == 3 { BROKEN } else { VALIDATE };
    fs::create_dir(dir.join("site"))?;
    fs::create_dir(dir.join("scripts"))?;
    let files = [
        ("appspec.yml", APPSPEC, 0o644),
        ("site/index.html", &page, 0o644),
        ("site/version.txt", &version, 0o644),
        ("scripts/stop.sh", STOP, 0o755),
        ("scripts/start.sh", START, 0o755),
        ("scripts/validate.sh", validate, 0o755),
    ];
    for (name, content, mode) in files {
        let path = dir.join(name);
        fs::write(&path, content)?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
    }
    Ok(())
}
