//! Removes from a home's directory what nobody needs any more, when the home starts and once a day: the logs of hosts,
//! uploads in parts that nobody went on with, and kept bundles that nothing needs. Deployments and revisions are not touched.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use control::Control;
use tracing::warn;

use crate::hosts::layout::{self, HostFiles};

/// How often is looked.
const EVERY: Duration = Duration::from_secs(24 * 3_600);
/// The largest log of a host that is left as it is; of a larger one this much is kept.
const LOG_MAX: u64 = 4 << 20;

/// Tidies the home in `dir` for as long as it runs: what was last used before `keep` goes.
pub(crate) async fn work(dir: PathBuf, control: Control, keep: Duration) {
    loop {
        let place = dir.clone();
        let tidied = tokio::task::spawn_blocking(move || tidy(&place, keep, SystemTime::now()));
        if let Err(error) = tidied.await {
            warn!(%error, "the home could not be tidied, will try again tomorrow");
        }
        if let Err(error) = control.revision_intake().remove_unneeded_bundles().await {
            let error = &error as &dyn std::error::Error;
            warn!(error, "kept bundles could not be looked through, will try again tomorrow");
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// What cannot be removed is told, and stays until the next time.
fn tidy(dir: &Path, keep: Duration, now: SystemTime) {
    let Some(oldest) = now.checked_sub(keep) else { return };
    for host in layout::known_hosts(dir).unwrap_or_default() {
        let log = HostFiles::new(dir, host).log();
        told(&log, tidy_log(&log, oldest));
    }
    let parts = dir.join("s3/multipart");
    told(&parts, tidy_parts(&parts, oldest));
}

fn told(path: &Path, outcome: io::Result<()>) {
    if let Err(error) = outcome
        && error.kind() != io::ErrorKind::NotFound
    {
        warn!(path = %path.display(), %error, "this cannot be tidied, will try again tomorrow");
    }
}

/// Shortens a log that is large, and removes what was cut off once it is old. A host may be writing to it: it is the same
/// file before and after.
fn tidy_log(log: &Path, oldest: SystemTime) -> io::Result<()> {
    let earlier = log.with_extension("log.1");
    match fs::metadata(&earlier).and_then(|found| found.modified()) {
        Ok(modified) if modified < oldest => fs::remove_file(&earlier)?,
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut file = File::options().read(true).write(true).open(log)?;
    let (size, modified) = (file.metadata()?.len(), file.metadata()?.modified()?);
    if size > LOG_MAX {
        file.seek(SeekFrom::Start(size - LOG_MAX))?;
        let mut kept = private(&earlier)?;
        io::copy(&mut file.by_ref().take(LOG_MAX), &mut kept)?;
        file.set_len(0)
    } else if size > 0 && modified < oldest {
        file.set_len(0)
    } else {
        Ok(())
    }
}

fn private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Removes uploads to which no part was added since.
fn tidy_parts(parts: &Path, oldest: SystemTime) -> io::Result<()> {
    for upload in fs::read_dir(parts)? {
        let upload = upload?;
        // Each part changes the directory.
        if upload.metadata()?.modified()? < oldest {
            fs::remove_dir_all(upload.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::hosts::layout::HostNumber;

    const KEEP: Duration = Duration::from_secs(3_600);

    fn files(dir: &Path) -> HostFiles {
        let files = HostFiles::new(dir, HostNumber::new(1).unwrap());
        files.create().unwrap();
        files
    }

    #[test]
    fn a_large_log_is_cut_its_end_is_kept_for_a_while_and_the_writer_goes_on() {
        let home = tempfile::tempdir().unwrap();
        let files = files(home.path());
        let log = files.log();
        let mut writer = File::options().create(true).append(true).open(&log).unwrap();
        writer.write_all(&vec![b'a'; 5 << 20]).unwrap();
        writer.write_all(b"the end").unwrap();
        tidy(home.path(), KEEP, SystemTime::now());
        writer.write_all(b"more").unwrap();
        assert_eq!(fs::read(&log).unwrap(), b"more");
        let earlier = log.with_extension("log.1");
        let kept = fs::read(&earlier).unwrap();
        assert!(kept.len() == 4 << 20 && kept.ends_with(b"the end"));
        tidy(home.path(), KEEP, SystemTime::now());
        assert!(earlier.exists() && log.metadata().unwrap().len() == 4);
        tidy(home.path(), KEEP, SystemTime::now() + KEEP * 2);
        assert!(!earlier.exists() && log.metadata().unwrap().len() == 0);
    }

    #[test]
    fn uploads_in_parts_go_when_nobody_has_gone_on_with_them() {
        let home = tempfile::tempdir().unwrap();
        let upload = home.path().join("s3/multipart/00ff");
        fs::create_dir_all(&upload).unwrap();
        fs::write(upload.join("part-1"), "some").unwrap();
        let object = home.path().join("s3/buckets/revisions/object");
        fs::create_dir_all(object.parent().unwrap()).unwrap();
        fs::write(&object, "an object").unwrap();
        tidy(home.path(), KEEP, SystemTime::now());
        assert!(upload.join("part-1").exists());
        tidy(home.path(), KEEP, SystemTime::now() + KEEP * 2);
        assert!(!upload.exists() && object.exists());
    }
}
