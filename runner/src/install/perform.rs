//! Performing a planned install: stage, switch, finish; and recovery from every point in between.
//!
//! Until the journal says `Switching`, only the runner's own directories are written to. From then on the switch is
//! completed, by whoever comes: each step can be repeated. If a step cannot be done, all are undone, as repeatably.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::error::InstallError;
use super::host::{Host, is_absent, split};
use super::journal::{Journal, Phase, Step, to_do, to_undo};
use super::permissions::label;
use super::plan::{InstallPlan, Staged};
use super::state::{INSTALLED, Installed, JOURNAL, PREVIOUS, Previous, load, remove, store};
use super::tree::Want;
use super::{Outcome, Recovery};

/// Up to so many files are forced to the disk one by one; beyond, the whole file system is.
const SYNC_EACH: usize = 32;

/// Performs a plan. `at_step` is called before each step that changes the disk.
pub(super) fn perform(
    plan: InstallPlan,
    at_step: &mut dyn FnMut(),
) -> Result<Outcome, InstallError> {
    let InstallPlan {
        host,
        bundle,
        group_dir,
        steps,
        staged,
        obsolete,
        manifest,
        previous,
        again,
        old_stores,
        ..
    } = plan;
    let stores = manifest.stores.union(&old_stores).cloned().collect();
    let mut journal =
        Journal { phase: Phase::Staging, steps, manifest, previous, again, obsolete, stores };
    let mut run = Run { host: &host, group_dir: &group_dir, at_step };
    run.write(&journal)?;
    let files = staged.len();
    let copied = match run.stage(&bundle, &mut journal, staged) {
        Ok(copied) => copied,
        Err(error) => {
            // The first error is the one that helps; what cannot be emptied now is emptied by recovery.
            run.drop_staged(&journal).ok();
            return Err(error);
        }
    };
    journal.phase = Phase::Switching;
    run.write(&journal)?;
    run.complete(journal)?;
    Ok(Outcome { files, copied_files: copied })
}

/// Brings an interrupted install of a group to its end: the new tree if the switch had begun, else the old one.
pub(super) fn recover(
    host: &Host,
    group_dir: &Path,
    at_step: &mut dyn FnMut(),
) -> Result<Recovery, InstallError> {
    let Some(journal) =
        load::<Journal>(group_dir, JOURNAL).map_err(InstallError::io("reading", group_dir))?
    else {
        return Ok(Recovery::Nothing);
    };
    let mut run = Run { host, group_dir, at_step };
    match journal.phase {
        Phase::Staging => run.drop_staged(&journal).map(|()| Recovery::Old),
        Phase::Switching => run.complete(journal).map(|()| Recovery::New),
        Phase::Undoing => run.undo(journal).map(|()| Recovery::Old),
    }
}

struct Run<'a> {
    host: &'a Host,
    group_dir: &'a Path,
    at_step: &'a mut dyn FnMut(),
}

impl Run<'_> {
    fn write(&mut self, journal: &Journal) -> Result<(), InstallError> {
        (self.at_step)();
        store(self.group_dir, JOURNAL, journal)
            .map_err(InstallError::io("writing the journal in", self.group_dir))
    }

    fn failed(
        &self,
        action: &'static str,
        path: &str,
    ) -> impl FnOnce(io::Error) -> InstallError + use<> {
        InstallError::io(action, self.host.outside(path))
    }

    /// Lays the new files, and second names of the old ones, next to their places. Returns how many were copied.
    fn stage(
        &mut self,
        bundle: &Host,
        journal: &mut Journal,
        staged: Vec<Staged>,
    ) -> Result<usize, InstallError> {
        let sequence = journal.manifest.sequence;
        for store in &journal.manifest.stores {
            (self.at_step)();
            let dir = format!("{store}/{sequence}");
            self.host.remove_all(&dir).map_err(self.failed("emptying", &dir))?;
            for part in ["new", "old"] {
                let dir = format!("{dir}/{part}");
                self.host.mkdir_all(&dir, 0o700).map_err(self.failed("creating", &dir))?;
            }
        }
        check_space(self.host, &journal.manifest.stores, &staged)?;
        let each = staged.iter().filter(|file| file.same.is_none()).count() <= SYNC_EACH;
        let mut copied = 0;
        for file in staged {
            (self.at_step)();
            let needed = if let Want::File { bytes, .. } = file.want { bytes } else { 0 };
            let outcome = stage_file(self.host, bundle, &file, each);
            copied +=
                usize::from(outcome.map_err(|error| full(self.host, &file.new, needed, error))?);
            let found = self.host.find(&file.new).map_err(self.failed("reading", &file.new))?;
            let source = file.want.source().unwrap_or_default().to_owned();
            if let Some(found) = found {
                let installed = Installed { source, stamp: found.stamp, meta: file.meta };
                journal.manifest.files.insert(file.path, installed);
            }
        }
        for step in &journal.steps {
            if let Step::Remove { path, old } | Step::Place { path, old: Some(old), .. } = step {
                (self.at_step)();
                keep(self.host, path, old).map_err(self.failed("keeping", path))?;
            }
        }
        for store in journal.manifest.stores.iter().filter(|_| !each) {
            self.host.sync(store).map_err(self.failed("writing", store))?;
        }
        Ok(copied)
    }

    fn drop_staged(&mut self, journal: &Journal) -> Result<(), InstallError> {
        for store in &journal.manifest.stores {
            (self.at_step)();
            let dir = format!("{store}/{}", journal.manifest.sequence);
            self.host.remove_all(&dir).map_err(self.failed("emptying", &dir))?;
            drop_empty(self.host, store);
        }
        (self.at_step)();
        remove(self.group_dir, JOURNAL).map_err(InstallError::io("writing to", self.group_dir))
    }

    /// Does all steps and finishes, or undoes them all.
    fn complete(&mut self, mut journal: Journal) -> Result<(), InstallError> {
        let switched = to_do(self.host, &journal.steps).and_then(|steps| {
            steps.iter().try_for_each(|step| {
                (self.at_step)();
                step.redo(self.host)
            })
        });
        let Err(error) = switched.and_then(|()| self.note(&journal)) else {
            // The new tree stands; if its leftovers cannot be taken away now, the journal stays, and recovery does it.
            self.finish(&journal).ok();
            return Ok(());
        };
        journal.phase = Phase::Undoing;
        let undone = self.write(&journal).and_then(|()| self.undo(journal));
        match undone {
            Ok(()) => Err(error),
            Err(source) => {
                Err(InstallError::HalfWay { cause: error.to_string(), source: Box::new(source) })
            }
        }
    }

    fn undo(&mut self, mut journal: Journal) -> Result<(), InstallError> {
        for step in to_undo(self.host, &journal.steps)? {
            (self.at_step)();
            step.undo(self.host)?;
        }
        // From here on, nothing must be undone again: what shows which steps were done is taken away.
        journal.phase = Phase::Staging;
        self.write(&journal)?;
        self.drop_staged(&journal)
    }

    /// Notes what is installed now. If that is not possible, the switch is undone: what nobody knows of would be
    /// somebody else's at the next install.
    fn note(&mut self, journal: &Journal) -> Result<(), InstallError> {
        let failed = || InstallError::io("writing to", self.group_dir);
        if !journal.again {
            (self.at_step)();
            store(self.group_dir, PREVIOUS, &journal.previous).map_err(failed())?;
        }
        (self.at_step)();
        store(self.group_dir, INSTALLED, &journal.manifest).map_err(failed())
    }

    /// The directories with files that are kept from now on.
    fn kept(&self, journal: &Journal) -> Result<BTreeSet<String>, InstallError> {
        let parents = |previous: &Previous| {
            previous.kept.values().map(|path| split(path).0.to_owned()).collect()
        };
        if !journal.again {
            return Ok(parents(&journal.previous));
        }
        let previous = load(self.group_dir, PREVIOUS);
        let previous = previous.map_err(InstallError::io("reading", self.group_dir))?;
        Ok(parents(&previous.unwrap_or_default()))
    }

    /// Takes away what nobody needs any more.
    fn finish(&mut self, journal: &Journal) -> Result<(), InstallError> {
        for dir in journal.obsolete.iter().rev() {
            (self.at_step)();
            match self.host.rmdir(dir) {
                // Whatever keeps it, an empty directory too many is no failed install.
                Ok(()) | Err(_) => {}
            }
        }
        let kept = self.kept(journal)?;
        for store in &journal.stores {
            (self.at_step)();
            for name in self.host.names(store).map_err(self.failed("reading", store))? {
                let install = format!("{store}/{name}");
                let gone = if kept.contains(&format!("{install}/old")) {
                    format!("{install}/new")
                } else {
                    install
                };
                self.host.remove_all(&gone).map_err(self.failed("emptying", &gone))?;
            }
            drop_empty(self.host, store);
        }
        (self.at_step)();
        remove(self.group_dir, JOURNAL).map_err(InstallError::io("writing to", self.group_dir))
    }
}

/// Stages one file. Returns whether it had to be copied.
fn stage_file(host: &Host, bundle: &Host, file: &Staged, sync: bool) -> io::Result<bool> {
    if let Some(same) = &file.same
        && host.hard_link(same, &file.new).is_ok()
    {
        return Ok(false);
    }
    match &file.want {
        Want::Symlink { target, .. } => {
            host.symlink(target, &file.new)?;
            host.set_meta(&file.new, file.meta)?;
            Ok(false)
        }
        Want::File { source, mtime, .. } => {
            let mut to = host.create(&file.new)?;
            io::copy(&mut bundle.read(source)?, &mut to)?;
            host.set_meta(&file.new, file.meta)?;
            // After the mode, because a mode would change the ACL's mask.
            label(&to, &file.labels)?;
            host.set_mtime(&file.new, mtime.0, mtime.1)?;
            if sync {
                to.sync_all()?;
            }
            Ok(true)
        }
        Want::Dir { .. } => Ok(false),
    }
}

/// Gives the file that will go a second name, or copies it where it cannot have one. Its mode may have become 0.
fn keep(host: &Host, path: &str, old: &str) -> io::Result<()> {
    match host.hard_link(path, old) {
        Ok(()) => return Ok(()),
        Err(error) if is_absent(&error) => return Ok(()),
        Err(_) => {}
    }
    let Some(found) = host.find(path)? else { return Ok(()) };
    if let Some(target) = &found.stamp.link {
        host.symlink(target, old)?;
        return host.set_meta(old, found.meta);
    }
    let mut to = host.create(old)?;
    io::copy(&mut host.read(path)?, &mut to)?;
    host.set_meta(old, found.meta)?;
    host.set_mtime(old, found.stamp.mtime_s, found.stamp.mtime_ns)?;
    to.sync_all()
}

/// Refuses an install that the disks have no space for.
fn check_space(
    host: &Host,
    stores: &BTreeSet<String>,
    staged: &[Staged],
) -> Result<(), InstallError> {
    for store in stores {
        let here = staged
            .iter()
            .filter(|file| file.same.is_none() && file.new.starts_with(&format!("{store}/")));
        let needed =
            here.map(|file| if let Want::File { bytes, .. } = file.want { bytes } else { 0 }).sum();
        let free =
            host.free_bytes(store).map_err(InstallError::io("reading", host.outside(store)))?;
        if needed > free {
            return Err(InstallError::DiskFull { path: store.clone(), needed, free });
        }
    }
    Ok(())
}

/// The error of writing `path`, which says so if the disk is full.
fn full(host: &Host, path: &str, needed: u64, source: io::Error) -> InstallError {
    if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        let free = host.free_bytes(split(path).0).unwrap_or(0);
        return InstallError::DiskFull { path: path.to_owned(), needed, free };
    }
    InstallError::Io { action: "writing", path: host.outside(path), source }
}

/// Takes the runner's directories away where they are empty.
fn drop_empty(host: &Host, store: &str) {
    // They stay where they are in use.
    for dir in [store, split(store).0] {
        if host.rmdir(dir).is_err() {
            return;
        }
    }
}
