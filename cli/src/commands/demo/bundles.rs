//! The revisions of the demo's story.

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

const STOP: &str = "\
#!/bin/sh
pid=$(cat \"$HOST_ROOT/srv/shop.pid\" 2>/dev/null) || exit 0
kill \"$pid\" 2>/dev/null
rm -f \"$HOST_ROOT/srv/shop.pid\"
echo \"stopped the shop on $HOST_ADDRESS\"
";

/// Starts the server in the background; its output is closed, as CodeDeploy wants it.
const START: &str = "\
#!/bin/sh
PROGRAM shop --listen \"$HOST_ADDRESS:PORT\" --version VERSION --errs-each ERRS --home HOME_API \\
  </dev/null >\"$HOST_ROOT/srv/shop.log\" 2>&1 &
echo $! >\"$HOST_ROOT/srv/shop.pid\"
echo \"started version VERSION on $HOST_ADDRESS\"
";

const VALIDATE: &str = "#!/bin/sh\ntest -s \"$HOST_ROOT/srv/shop/index.html\" && kill -0 \"$(cat \"$HOST_ROOT/srv/shop.pid\")\" && echo healthy\n";

/// A check that is wrong on the second host alone, as mistakes in production are.
const BROKEN: &str = "#!/bin/sh
case \"$HOST_ADDRESS\" in
  *.2) echo \"connecting to the database at $HOST_ADDRESS:5432\"
       echo 'database migration 42 is missing' >&2
       exit 1 ;;
esac
echo healthy
";

/// What the shop of a home is started with.
pub(super) struct Shop<'a> {
    /// This very program.
    pub(super) program: &'a Path,
    /// The port on each host.
    pub(super) port: u16,
    /// `ADDRESS:PORT` of the home.
    pub(super) home: &'a str,
}

/// Writes version `number` of the demo's shop into a directory. The third one fails its check on the second host; the
/// fifth passes all checks, and errs at each third request.
pub(super) fn write_bundle(dir: &Path, number: u32, shop: &Shop<'_>) -> io::Result<()> {
    let version = format!("shop version {number}\n");
    let page = format!(
        "<!doctype html><title>Shop</title><h1>Welcome to the shop, version {number}</h1>\n"
    );
    let validate = if number == 3 { BROKEN } else { VALIDATE };
    let program = shop.program.to_string_lossy().replace('\'', "'\\''");
    let start = START
        .replace("PROGRAM", &format!("'{program}'"))
        .replace("PORT", &shop.port.to_string())
        .replace("VERSION", &number.to_string())
        .replace("ERRS", if number == 5 { "3" } else { "0" })
        .replace("HOME_API", shop.home);
    fs::create_dir(dir.join("site"))?;
    fs::create_dir(dir.join("scripts"))?;
    let files = [
        ("appspec.yml", APPSPEC, 0o644),
        ("site/index.html", &page, 0o644),
        ("site/version.txt", &version, 0o644),
        ("scripts/stop.sh", STOP, 0o755),
        ("scripts/start.sh", &start, 0o755),
        ("scripts/validate.sh", validate, 0o755),
    ];
    for (name, content, mode) in files {
        let path = dir.join(name);
        fs::write(&path, content)?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
    }
    Ok(())
}
