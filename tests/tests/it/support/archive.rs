//! Bundles: an AppSpec, a file for `/srv/shop`, and hooks, packed as an upload is.

use std::fs;
use std::io::{Cursor, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use zip::write::SimpleFileOptions;

/// The files of a bundle.
#[derive(Clone, Default)]
pub(crate) struct Bundle {
    files: Vec<(String, Vec<u8>, u32)>,
    hooks: Vec<(String, String)>,
    destination: String,
}

impl Bundle {
    /// A bundle that installs `page.txt` with `page` into `/srv/shop`.
    pub(crate) fn new(page: &str) -> Self {
        let bundle = Self { destination: "/srv/shop".to_owned(), ..Self::default() };
        bundle.file("www/page.txt", page, 0o644)
    }

    /// One more file.
    pub(crate) fn file(mut self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Self {
        self.files.push((path.to_owned(), content.as_ref().to_owned(), mode));
        self
    }

    /// A shell script for an event, with a time-out of a minute.
    pub(crate) fn hook(self, event: &str, script: &str) -> Self {
        self.hook_with(event, script, "timeout: 60")
    }

    /// A shell script for an event, with lines of its own in the AppSpec.
    pub(crate) fn hook_with(mut self, event: &str, script: &str, options: &str) -> Self {
        let path = format!("hooks/{event}-{}.sh", self.hooks.len());
        self.hooks.push((
            event.to_owned(),
            format!("    - location: {path}\n      {}\n", options.replace('\n', "\n      ")),
        ));
        self.file(&path, format!("#!/bin/sh\n{script}\n"), 0o755)
    }

    fn app_spec(&self) -> String {
        let mut text = format!(
            "version: 0.0\nos: linux\nfiles:\n  - source: www\n    destination: {}\nfile_exists_behavior: OVERWRITE\n",
            self.destination
        );
        let mut events: Vec<&str> = self.hooks.iter().map(|(event, _)| event.as_str()).collect();
        events.dedup();
        if !events.is_empty() {
            text.push_str("hooks:\n");
        }
        for event in events {
            text.push_str(&format!("  {event}:\n"));
            for (_, lines) in self.hooks.iter().filter(|(of, _)| of == event) {
                text.push_str(lines);
            }
        }
        text
    }

    /// Its files, with the AppSpec.
    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>, u32)> {
        let mut files = self.files.clone();
        if !files.iter().any(|(path, ..)| path.starts_with("appspec.")) {
            files.push(("appspec.yml".to_owned(), self.app_spec().into_bytes(), 0o644));
        }
        files
    }

    /// Writes its files into a directory, which need not be there.
    pub(crate) fn unpack(&self, dir: &Path) {
        for (path, content, mode) in self.files() {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    /// As a zip.
    pub(crate) fn zip(&self) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (path, content, mode) in self.files() {
            zip.start_file(path, SimpleFileOptions::default().unix_permissions(mode)).unwrap();
            zip.write_all(&content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    /// As a tar.
    pub(crate) fn tar(&self) -> Vec<u8> {
        tar(&self.files())
    }

    /// As a tar of the files that were given, without an AppSpec of its own.
    pub(crate) fn tar_of_files(&self) -> Vec<u8> {
        tar(&self.files)
    }

    /// As a tar, with one more entry of any kind.
    pub(crate) fn tar_with(&self, path: &str, kind: u8, mode: u32, link: &str) -> Vec<u8> {
        let mut tar = self.tar();
        tar.truncate(tar.len() - 1024);
        entry(&mut tar, path, kind, mode, link, b"");
        end(tar)
    }
}

fn tar(files: &[(String, Vec<u8>, u32)]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (path, content, mode) in files {
        entry(&mut tar, path, b'0', *mode, "", content);
    }
    end(tar)
}

/// Packs with gzip.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar.gz of 10 GB of zeros in some 10 MB: many gzip members of one content.
pub(crate) fn bomb() -> Vec<u8> {
    const MEMBER: usize = 16 << 20;
    let size = MEMBER as u64 * 640;
    let mut bomb = gzip(&header("www/big", b'0', 0o644, "", size));
    let zeros = {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![0; MEMBER]).unwrap();
        encoder.finish().unwrap()
    };
    for _ in 0..640 {
        bomb.extend_from_slice(&zeros);
    }
    bomb.extend(gzip(&Bundle::new("small").tar()));
    bomb
}

fn entry(tar: &mut Vec<u8>, path: &str, kind: u8, mode: u32, link: &str, content: &[u8]) {
    tar.extend(header(path, kind, mode, link, content.len() as u64));
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

/// A header with any path at all, also one that no archiver would write.
fn header(path: &str, kind: u8, mode: u32, link: &str, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    {
        let fields = header.as_ustar_mut().unwrap();
        fields.name[..path.len()].copy_from_slice(path.as_bytes());
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
    }
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(mode);
    header.set_size(size);
    if kind == b'3' {
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
    }
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn end(mut tar: Vec<u8>) -> Vec<u8> {
    tar.resize(tar.len() + 1024, 0);
    tar
}
