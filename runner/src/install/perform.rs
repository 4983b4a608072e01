//! Performing a planned install: stage, switch, finish; and recovery from every point in between.
//!
//! Until the journal says `Switching`, only the runner's own directories are written to. From then on the switch is
//! completed, by whoever comes: each step can be repeated. If a step cannot be done, all are undone, as repeatably. What
//! is staged is on the disk before the journal says that the switch begins, and what was switched before it says that
//! something is installed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::error::InstallError;
use super::host::{Host, join, split};
use super::journal::{Journal, Phase, Step, changed, keep, placed, restored, to_do, to_undo};
use super::labels::set_label;
use super::permissions::label;
use super::planned::{InstallPlan, Staged};
use super::state::{
    INSTALLED, Installed, JOURNAL, Manifest, PREVIOUS, Previous, load, remove, store,
};
use super::tree::Want;

/// What an install did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// How many files and links were put in place.
    pub files: usize,
    /// How many of them had to be copied.
    pub copied_files: usize,
}

/// What recovery found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// No install was interrupted.
    Nothing,
    /// The host has what it had before the interrupted install.
    Old,
    /// The interrupted install was completed.
    New,
}

/// Performs a plan, which must be the latest of its group.
///
/// # Errors
/// [`InstallError`]; the host has what it had before then, except after [`InstallError::HalfWay`].
pub fn perform(plan: InstallPlan) -> Result<Outcome, InstallError> {
    let InstallPlan { host, bundle, group_dir, steps, staged, manifest, .. } = plan;
    let stores = manifest.stores.union(&plan.old_stores).cloned().collect();
    let mut journal = Journal {
        phase: Phase::Staging,
        steps,
        manifest,
        previous: plan.previous,
        again: plan.again,
        obsolete: plan.obsolete,
        stores,
    };
    let run = Run { host: &host, group_dir: &group_dir, sync: plan.sync };
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
    if let Err(error) = run.write(&journal) {
        return Err(half_way(error, run.give_up(journal)));
    }
    run.complete(journal)?;
    Ok(Outcome { files, copied_files: copied })
}

/// Brings an interrupted install of a group to its end: the new tree if the switch had begun, else the old one.
pub(super) fn recover(host: &Host, group_dir: &Path, sync: bool) -> Result<Recovery, InstallError> {
    let Some(journal) = load::<Journal>(group_dir, JOURNAL)? else {
        return Ok(Recovery::Nothing);
    };
    let run = Run { host, group_dir, sync };
    match journal.phase {
        Phase::Staging => run.drop_staged(&journal).map(|()| Recovery::Old),
        Phase::Switching if run.is_noted(&journal)? => {
            // What cannot be taken away now stands in nobody's way.
            run.finish(&journal).ok();
            Ok(Recovery::New)
        }
        Phase::Switching => run.complete(journal).map(|()| Recovery::New),
        Phase::Undoing => run.undo(journal).map(|()| Recovery::Old),
    }
}

/// The error of an install that went back, which is another one if that failed too.
fn half_way(cause: InstallError, back: Result<(), InstallError>) -> InstallError {
    match back {
        Ok(()) => cause,
        Err(source) => InstallError::HalfWay { cause: cause.to_string(), source: Box::new(source) },
    }
}

struct Run<'a> {
    host: &'a Host,
    group_dir: &'a Path,
    /// Whether installed files are forced to the disk.
    sync: bool,
}

impl Run<'_> {
    fn write(&self, journal: &Journal) -> Result<(), InstallError> {
        store(self.host.disk(), self.group_dir, JOURNAL, journal)
            .map_err(InstallError::io("writing the journal in", self.group_dir))
    }

    fn remove_journal(&self) -> Result<(), InstallError> {
        remove(self.host.disk(), self.group_dir, JOURNAL)
            .map_err(InstallError::io("writing to", self.group_dir))
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
        &self,
        bundle: &Host,
        journal: &mut Journal,
        staged: Vec<Staged>,
    ) -> Result<usize, InstallError> {
        let sequence = journal.manifest.sequence;
        for store in &journal.manifest.stores {
            let dir = format!("{store}/{sequence}");
            self.host.remove_all(&dir).map_err(self.failed("emptying", &dir))?;
            for part in ["new", "old"] {
                let dir = format!("{dir}/{part}");
                self.host.mkdir_all(&dir, 0o700).map_err(self.failed("creating", &dir))?;
            }
        }
        check_space(self.host, &journal.manifest.stores, &staged)?;
        let copies = staged.iter().filter(|file| file.same.is_none()).count();
        let each = self.sync && copies <= self.host.disk().sync_each();
        let mut copied = 0;
        for file in staged {
            let needed = if let Want::File { bytes, .. } = file.want { bytes } else { 0 };
            let outcome = stage_file(self.host, bundle, &file, each);
            copied +=
                usize::from(outcome.map_err(|error| full(self.host, &file.new, needed, error))?);
            let found = self.host.find(&file.new).map_err(self.failed("reading", &file.new))?;
            let source = file.want.source().unwrap_or_default().to_owned();
            if let Some(found) = found {
                let (meta, retimed) = (file.meta, file.retimed);
                let installed = Installed { source, stamp: found.stamp, meta, retimed };
                journal.manifest.files.insert(file.path, installed);
            }
        }
        for step in &journal.steps {
            if let Step::Place { path, old: Some(old), .. } = step {
                match keep(self.host, path, old) {
                    // It can still be moved away when its turn comes.
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                    kept => kept.map_err(self.failed("keeping", path))?,
                }
            }
        }
        for store in journal.manifest.stores.iter().filter(|_| self.sync) {
            self.settle_store(store, sequence, each).map_err(self.failed("writing", store))?;
        }
        Ok(copied)
    }

    /// Makes what was staged in a store last.
    fn settle_store(&self, store: &str, sequence: u64, each: bool) -> io::Result<()> {
        if !each {
            return self.host.sync_all(store);
        }
        let (runner, install) = (split(store).0, format!("{store}/{sequence}"));
        for part in ["new", "old"] {
            self.host.sync_dir(&join(&install, part))?;
        }
        [install.as_str(), store, runner, split(runner).0]
            .iter()
            .try_for_each(|dir| self.host.sync_dir(dir))
    }

    /// Makes what was switched in these directories last.
    fn settle(&self, dirs: &BTreeSet<&str>) -> Result<(), InstallError> {
        if !self.sync {
            return Ok(());
        }
        let mut mounts = BTreeSet::new();
        for dir in dirs {
            let mut settle = || {
                if dirs.len() <= self.host.disk().sync_each() {
                    self.host.sync_dir(dir)
                } else if self.host.is_dir(dir)? && mounts.insert(self.host.mount(dir)?) {
                    self.host.sync_all(dir)
                } else {
                    Ok(())
                }
            };
            settle().map_err(self.failed("writing", dir))?;
        }
        Ok(())
    }

    /// Ends an install of which no step is done, or none any more.
    fn give_up(&self, mut journal: Journal) -> Result<(), InstallError> {
        // From here on, no step must be done or undone again: what shows which ones were is taken away.
        journal.phase = Phase::Staging;
        if self.write(&journal).is_err() {
            // As on a full disk.
            self.remove_journal()?;
        }
        // What cannot be removed now, recovery or the next install of the group removes.
        self.drop_staged(&journal).ok();
        Ok(())
    }

    fn drop_staged(&self, journal: &Journal) -> Result<(), InstallError> {
        for store in &journal.manifest.stores {
            let dir = format!("{store}/{}", journal.manifest.sequence);
            self.host.remove_all(&dir).map_err(self.failed("emptying", &dir))?;
            drop_empty(self.host, store);
        }
        self.remove_journal()
    }

    /// Does all steps and finishes, or undoes them all.
    fn complete(&self, mut journal: Journal) -> Result<(), InstallError> {
        let Err(error) = self.switch(&journal.steps).and_then(|()| self.note(&journal.manifest))
        else {
            // The new tree stands; if its leftovers cannot be taken away now, the journal stays, and recovery does it.
            self.finish(&journal).ok();
            return Ok(());
        };
        journal.phase = Phase::Undoing;
        // Where that cannot be written, the steps are undone all the same, so that they can be done again: if the runner
        // dies before the journal is gone, recovery does so.
        self.write(&journal).ok();
        Err(half_way(error, self.undo(journal)))
    }

    fn switch(&self, steps: &[Step]) -> Result<(), InstallError> {
        let mut unsettled = BTreeSet::new();
        let mut last: Option<&Step> = None;
        for step in to_do(self.host, steps)? {
            // A directory is taken away only when what was in it is, and files are put only into one that will be there.
            if matches!(
                (last, step),
                (Some(Step::Remove { .. } | Step::Rmdir { .. }), Step::Rmdir { .. })
                    | (Some(Step::Mkdir { .. }), Step::Place { .. })
            ) {
                self.settle(&std::mem::take(&mut unsettled))?;
            }
            step.redo(self.host)?;
            unsettled.extend(step.changes());
            last = Some(step);
        }
        // All of them: what a runner that died has done may not be on the disk yet.
        self.settle(&changed(steps, &placed(self.host, steps)?))
    }

    fn undo(&self, journal: Journal) -> Result<(), InstallError> {
        for step in to_undo(self.host, &journal.steps)? {
            step.undo(self.host)?;
        }
        self.settle(&changed(&journal.steps, &restored(self.host, &journal.steps)?))?;
        if self.is_noted(&journal)? {
            self.note(&journal.previous.manifest)?;
        }
        self.give_up(journal)
    }

    /// Whether what is noted as installed is what the journal is about.
    fn is_noted(&self, journal: &Journal) -> Result<bool, InstallError> {
        let installed = load::<Manifest>(self.group_dir, INSTALLED)?;
        Ok(installed.is_some_and(|installed| installed.sequence == journal.manifest.sequence))
    }

    /// Notes what is installed now. If that is not possible, the switch is undone: what nobody knows of would be
    /// somebody else's at the next install.
    fn note(&self, manifest: &Manifest) -> Result<(), InstallError> {
        store(self.host.disk(), self.group_dir, INSTALLED, manifest)
            .map_err(InstallError::io("writing to", self.group_dir))
    }

    /// Notes what is kept, and takes away what nobody needs any more.
    fn finish(&self, journal: &Journal) -> Result<(), InstallError> {
        let failed = || InstallError::io("writing to", self.group_dir);
        let kept = self.kept(journal)?;
        // On a full disk, this may make the space for the note. A note of files that are gone does no harm: each is looked
        // at before it is used.
        let noted = if journal.again {
            Ok(())
        } else {
            store(self.host.disk(), self.group_dir, PREVIOUS, &journal.previous).map_err(failed())
        };
        for dir in journal.obsolete.iter().rev() {
            match self.host.rmdir(dir) {
                // Whatever keeps it, an empty directory too many is no failed install.
                Ok(()) | Err(_) => {}
            }
        }
        for store in &journal.stores {
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
        noted?;
        self.remove_journal()
    }

    /// The directories with files that are kept from now on.
    fn kept(&self, journal: &Journal) -> Result<BTreeSet<String>, InstallError> {
        let parents = |kept: &BTreeMap<String, String>| {
            kept.values().map(|path| split(path).0.to_owned()).collect()
        };
        if !journal.again {
            return Ok(parents(&journal.previous.kept));
        }
        let previous = load::<Previous>(self.group_dir, PREVIOUS)?;
        Ok(parents(&previous.unwrap_or_default().kept))
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
            set_label(host, &file.new, file.labels.label.as_ref());
            Ok(false)
        }
        Want::File { source, mtime, .. } => {
            let to = host.create(&file.new)?;
            host.copy(bundle.read(source)?, &to)?;
            set_label(host, &file.new, file.labels.label.as_ref());
            if let Some(acl) = &file.acl {
                acl.apply(host, &file.new)?;
            }
            host.set_meta(&file.new, file.meta)?;
            // After the mode, because a mode would change the ACL's mask.
            label(&to, &file.labels)?;
            host.set_mtime(&file.new, mtime.0, mtime.1)?;
            if sync {
                host.disk().sync_file(&to)?;
            }
            Ok(true)
        }
        Want::Dir { .. } => Ok(false),
    }
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

/// Removes everything in the runner's directories on a host that is a group's.
pub(super) fn forget(host: &Host, group_dir: &Path) -> Result<(), InstallError> {
    let installed: Option<Manifest> = load(group_dir, INSTALLED)?;
    let previous: Option<Previous> = load(group_dir, PREVIOUS)?;
    let before = previous.map(|previous| previous.manifest.stores);
    let stores = installed.map(|installed| installed.stores).into_iter().chain(before).flatten();
    for store in stores.collect::<BTreeSet<String>>() {
        host.remove_all(&store).map_err(InstallError::io("removing", host.outside(&store)))?;
        // Where other groups have something the runner's own directory stays.
        host.rmdir(split(&store).0).ok();
    }
    Ok(())
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
