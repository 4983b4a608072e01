//! The three revisions of the demo's story.

use std::io::{Cursor, Write as _};

use zip::write::SimpleFileOptions;

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

const START: &str = "#!/bin/sh\necho \"starting $(cat \"$HOST_ROOT/srv/shop/version.txt\") on $HOST_ADDRESS\"\n";

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

/// Version `number` of the demo's shop as a zip archive; the third one fails on the second host.
pub(super) fn bundle(number: u32) -> zip::result::ZipResult<Vec<u8>> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let version = format!("shop version {number}\n");
    let page = format!("<!doctype html><title>Shop</title><h1>Welcome to the shop, version {number}</h1>\n");
    let validate = if number == 3 { BROKEN } else { VALIDATE };
    let files = [
        ("appspec.yml", APPSPEC, 0o644),
        ("site/index.html", &page, 0o644),
        ("site/version.txt", &version, 0o644),
        ("scripts/stop.sh", STOP, 0o755),
        ("scripts/start.sh", START, 0o755),
        ("scripts/validate.sh", validate, 0o755),
    ];
    for (name, content, mode) in files {
        archive.start_file(name, SimpleFileOptions::default().unix_permissions(mode))?;
        archive.write_all(content.as_bytes())?;
    }
    Ok(archive.finish()?.into_inner())
}
