//! Whole bundles of each type, good and bad, through the public functions.

mod common;
mod whole;

use std::io::{self, Cursor, Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::{BundleError, EntryKind, Kind, Limits, Problem, inspect, sniff, visit};
use engine::appspec::Position;
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const APPSPEC: &str = "version: 0.0
os: linux
files:
  - source: /app
    destination: /srv/app
hooks:
  AfterInstall:
    - location: scripts/after.sh
      timeout: 10
";

const KINDS: [Kind; 3] = [Kind::Zip, Kind::Tar, Kind::Tgz];

/// What a test puts into an archive.
enum Item<'a> {
    File(&'a str, &'a [u8], u32),
    Dir(&'a str),
    Symlink(&'a str, &'a str),
}
use Item::{Dir, File, Symlink};

fn good(prefix: &str) -> Vec<(String, &'static [u8], u32)> {
    vec![
        (format!("{prefix}appspec.yml"), APPSPEC.as_bytes(), 0o644),
        (format!("{prefix}app/index.html"), b"hello", 0o644),
        (format!("{prefix}scripts/after.sh"), b"#!/bin/sh\n", 0o755),
    ]
}

fn pack(kind: Kind, items: &[Item<'_>]) -> Vec<u8> {
    match kind {
        Kind::Zip => pack_zip(items),
        Kind::Tar => pack_tar(items),
        Kind::Tgz => gzip(&pack_tar(items)),
    }
}

fn pack_good(kind: Kind, prefix: &str, more: &[Item<'_>]) -> Vec<u8> {
    let good = good(prefix);
    let mut items: Vec<Item<'_>> =
        good.iter().map(|(name, data, mode)| File(name, data, *mode)).collect();
    items.extend(more.iter().map(|item| match item {
        File(name, data, mode) => File(name, data, *mode),
        Dir(name) => Dir(name),
        Symlink(name, target) => Symlink(name, target),
    }));
    pack(kind, &items)
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn pack_zip(items: &[Item<'_>]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for item in items {
        let options = SimpleFileOptions::default();
        match item {
            File(name, data, mode) => {
                zip.start_file(*name, options.unix_permissions(*mode)).unwrap();
                zip.write_all(data).unwrap();
            }
            Dir(name) => zip.add_directory(*name, options).unwrap(),
            Symlink(name, target) => zip.add_symlink(*name, *target, options).unwrap(),
        }
    }
    zip.finish().unwrap().into_inner()
}

/// A header with the name exactly as given, which the crate's own builder would not write.
fn header(name: &str, kind: EntryType, size: usize, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_mode(mode);
    header.set_mtime(1_700_000_000);
    header
}

fn append(tar: &mut Builder<Vec<u8>>, mut header: Header, data: &[u8]) {
    header.set_cksum();
    tar.append(&header, data).unwrap();
}

fn tar_of(items: &[Item<'_>]) -> Builder<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    for item in items {
        match item {
            File(name, data, mode) => {
                append(&mut tar, header(name, EntryType::Regular, data.len(), *mode), data);
            }
            Dir(name) => append(&mut tar, header(name, EntryType::Directory, 0, 0o755), b""),
            Symlink(name, target) => append(&mut tar, link(name, target, EntryType::Symlink), b""),
        }
    }
    tar
}

fn link(name: &str, target: &str, kind: EntryType) -> Header {
    let mut header = header(name, kind, 0, 0o777);
    header.set_link_name_literal(target).unwrap();
    header
}

fn pack_tar(items: &[Item<'_>]) -> Vec<u8> {
    tar_of(items).into_inner().unwrap()
}

fn check(archive: &[u8]) -> Result<crate::Inspection, BundleError> {
    inspect(Cursor::new(archive), &Limits::default())
}

/// What a Python program writes, which has `appspec` for the AppSpec and `out` for its standard output.
#[track_caller]
fn python(program: &str) -> Vec<u8> {
    let head = format!(
        "import io, os, sys, tarfile, zipfile\nappspec = {APPSPEC:?}\nout = sys.stdout.buffer\n"
    );
    let output = Command::new("python3")
        .args(["-c", &(head + program)])
        .stderr(Stdio::inherit())
        .output()
        .expect("python3 makes archives for the tests");
    assert!(output.status.success());
    output.stdout
}

fn problem(archive: &[u8]) -> Problem {
    match check(archive) {
        Err(BundleError::Entry { problem, .. }) => problem,
        other => panic!("not refused for an entry: {other:?}"),
    }
}

#[test]
fn a_bundle_of_each_type_is_known_by_its_content() {
    for kind in KINDS {
        let archive = pack_good(kind, "", &[]);
        assert_eq!(sniff(&archive), Some(kind));
        let found = check(&archive).unwrap();
        assert_eq!((found.kind, found.strip_prefix.as_deref()), (kind, None));
        assert_eq!((found.entries, found.unpacked_bytes), (5, APPSPEC.len() as u64 + 5 + 10));
        assert_eq!(found.appspec.hooks["AfterInstall"][0].location, "scripts/after.sh");
    }
    assert_eq!(sniff(b"hello"), None);
    assert!(matches!(check(b"hello"), Err(BundleError::UnknownType)));
    assert!(matches!(check(b""), Err(BundleError::UnknownType)));
    assert!(matches!(check(b"version: 0.0 # PK\x05\x06"), Err(BundleError::UnknownType)));
}

#[test]
fn a_single_top_level_folder_is_stripped_and_two_are_not() {
    for kind in KINDS {
        let found = check(&pack_good(kind, "shop-1.2/", &[])).unwrap();
        assert_eq!(found.strip_prefix.as_deref(), Some("shop-1.2"));
        assert_eq!(found.appspec_file, "shop-1.2/appspec.yml");
        let two = pack_good(kind, "shop-1.2/", &[File("README", b"", 0o644)]);
        assert!(matches!(check(&two), Err(BundleError::NoAppSpec { .. })));
    }
}

#[test]
fn a_bundle_with_both_names_of_the_appspec_is_refused() {
    for kind in KINDS {
        let both = pack_good(kind, "", &[File("appspec.yaml", APPSPEC.as_bytes(), 0o644)]);
        assert!(matches!(check(&both), Err(BundleError::TwoAppSpecs { .. })));
    }
}

#[test]
fn an_error_in_the_appspec_names_file_line_and_column() {
    let archive = pack(Kind::Zip, &[File("d/appspec.yaml", b"version: 0.0\n", 0o644)]);
    let error = check(&archive).unwrap_err();
    assert_eq!(error.file(), Some("d/appspec.yaml"));
    assert!(error.position().is_some());
    assert!(error.to_string().starts_with("d/appspec.yaml:1:1: "), "{error}");

    let archive = pack(
        Kind::Tar,
        &[File("appspec.yml", APPSPEC.as_bytes(), 0o644), File("app/x", b"", 0o644)],
    );
    let error = check(&archive).unwrap_err();
    assert_eq!(error.position(), Some(Position { line: 8, column: 17 }), "{error}");
    let archive = pack(
        Kind::Tar,
        &[File("appspec.yml", APPSPEC.as_bytes(), 0o644), File("scripts/after.sh", b"", 0o644)],
    );
    let error = check(&archive).unwrap_err();
    assert_eq!(error.position(), Some(Position { line: 4, column: 13 }), "{error}");
}

#[test]
fn a_source_may_be_reached_through_a_link_inside_the_bundle() {
    for kind in KINDS {
        let items = [
            File("appspec.yml", APPSPEC.as_bytes(), 0o644),
            File("build/out/index.html", b"", 0o644),
            Symlink("app", "build/out"),
            Symlink("scripts/after.sh", "real.sh"),
            File("scripts/real.sh", b"", 0o755),
        ];
        check(&pack(kind, &items)).unwrap();
    }
}

#[test]
fn entries_that_lead_out_of_the_bundle_are_refused() {
    for kind in [Kind::Tar, Kind::Tgz] {
        let with = |item| problem(&pack_good(kind, "", &[item]));
        assert_eq!(with(File("/etc/passwd", b"", 0o644)), Problem::Absolute);
        assert_eq!(with(File("../x", b"", 0o644)), Problem::Upwards);
        assert_eq!(with(File("a/../../x", b"", 0o644)), Problem::Upwards);
        assert_eq!(with(Dir("a/..")), Problem::Upwards);
    }
    // The zip crate's writer cleans names, so they are written over afterwards.
    for (good, bad, expected) in [
        ("xx/evil", "../evil", Problem::Upwards),
        ("xetc/pw", "/etc/pw", Problem::Absolute),
        ("xetc/pw", "a\0tc/pw", Problem::Nameless),
    ] {
        let archive = pack_good(Kind::Zip, "", &[File(good, b"", 0o644)]);
        assert_eq!(problem(&replace(&archive, good.as_bytes(), bad.as_bytes())), expected);
    }
}

fn replace(data: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut data = data.to_vec();
    for at in 0..=data.len() - from.len() {
        if &data[at..at + from.len()] == from {
            data[at..at + from.len()].copy_from_slice(to);
        }
    }
    data
}

#[test]
fn links_may_lead_anywhere_and_nothing_may_lie_below_one() {
    for kind in KINDS {
        for (name, target) in [
            ("venv/bin/python", "/usr/bin/python3"),
            ("storage", "/var/lib/shop"),
            ("app/l", "../../x"),
            ("app/m", "deep/../../x"),
            ("app/n", "../scripts/after.sh"),
            ("dangling", "nowhere"),
        ] {
            let archive = pack_good(kind, "top/", &[Symlink(&format!("top/{name}"), target)]);
            let mut found = None;
            visit(Cursor::new(&archive), &Limits::default(), &mut |entry| {
                if let EntryKind::Symlink { target } = entry.kind {
                    found = Some((entry.path.to_owned(), target.to_owned()));
                }
                Ok(())
            })
            .unwrap();
            assert_eq!(found, Some((format!("top/{name}"), target.to_owned())));
            let below = format!("top/{name}/x");
            let through = pack_good(
                kind,
                "top/",
                &[Symlink(&format!("top/{name}"), target), File(&below, b"", 0o644)],
            );
            assert!(matches!(problem(&through), Problem::BelowNonDirectory { .. }));
        }
    }
}

#[test]
fn a_source_may_be_a_link_that_leads_out_and_a_script_may_not() {
    for (target, good) in [("/srv/old", true), ("../../old", true), ("nowhere", true)] {
        let items = [
            File("appspec.yml", APPSPEC.as_bytes(), 0o644),
            Symlink("app", target),
            File("scripts/after.sh", b"", 0o755),
        ];
        assert_eq!(check(&pack_tar(&items)).is_ok(), good, "{target}");
        let items = [
            File("appspec.yml", APPSPEC.as_bytes(), 0o644),
            File("app/x", b"", 0o644),
            Symlink("scripts/after.sh", target),
        ];
        let error = check(&pack_tar(&items)).unwrap_err().to_string();
        assert!(error.contains("is no file of the bundle"), "{error}");
    }
    // What is absolute is no path in the bundle, even if one of that name is there.
    let items = [
        File("appspec.yml", APPSPEC.as_bytes(), 0o644),
        File("app/x", b"", 0o644),
        File("real.sh", b"", 0o755),
        Symlink("scripts/after.sh", "/real.sh"),
    ];
    assert!(check(&pack_tar(&items)).is_err());
}

#[test]
fn a_file_where_there_is_a_directory_is_refused() {
    for kind in KINDS {
        let file_and_dir = pack_good(kind, "", &[File("app", b"", 0o644)]);
        assert_eq!(problem(&file_and_dir), Problem::Collides);
        let dir_and_file = pack_good(kind, "", &[Dir("appspec.yml/")]);
        assert_eq!(problem(&dir_and_file), Problem::Collides);
        let warnings = check(&pack_good(kind, "", &[Dir("app/")])).unwrap().warnings;
        assert_eq!(warnings, [""; 0]);
    }
}

#[test]
fn special_files_and_setuid_bits_are_refused() {
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo, EntryType::new(b'Z')] {
        let mut tar = tar_of(&[]);
        append(&mut tar, header("dev", kind, 0, 0o644), b"");
        assert!(matches!(problem(&tar.into_inner().unwrap()), Problem::Special { .. }));
    }
    for kind in KINDS {
        if kind != Kind::Zip {
            let archive = pack_good(kind, "", &[File("su", b"", 0o4755)]);
            assert_eq!(problem(&archive), Problem::SetId);
        }
    }
    // The zip crate's writer drops the bit: 0o100755 becomes 0o104755 in the central directory.
    let archive = pack_good(Kind::Zip, "", &[File("zz", b"", 0o751)]);
    assert_eq!(problem(&replace(&archive, &[0xe9, 0x81], &[0xe9, 0x89])), Problem::SetId);
}

#[test]
fn a_hard_link_must_be_to_an_earlier_file() {
    for (target, good) in
        [("app/index.html", true), ("../x", false), ("/etc/passwd", false), ("later", false)]
    {
        let items = good_items();
        let mut tar = tar_of(&items);
        append(&mut tar, link("h", target, EntryType::Link), b"");
        let outcome = check(&tar.into_inner().unwrap());
        assert_eq!(outcome.is_ok(), good, "{target}: {outcome:?}");
    }
}

fn good_items() -> [Item<'static>; 3] {
    [
        File("appspec.yml", APPSPEC.as_bytes(), 0o644),
        File("app/index.html", b"hello", 0o644),
        File("scripts/after.sh", b"", 0o755),
    ]
}

#[test]
fn an_encrypted_zip_is_refused() {
    // Bit 0 of the general purpose flags, in the central directory's headers.
    let mut archive = pack_good(Kind::Zip, "", &[]);
    let at = archive.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    archive[at + 8] |= 1;
    assert_eq!(problem(&archive), Problem::Encrypted);
}

#[test]
fn an_archive_cut_off_anywhere_is_an_error() {
    for kind in KINDS {
        let archive = pack_good(kind, "top/", &[Symlink("top/l", "app")]);
        let whole = check(&archive).unwrap();
        // The first block of zeros ends a tar; what fills it up may be missing.
        let content = archive.len() - archive.iter().rev().take_while(|byte| **byte == 0).count();
        let end = match kind {
            Kind::Tar => content.next_multiple_of(512) + 512,
            Kind::Zip | Kind::Tgz => archive.len(),
        };
        for end in 0..end {
            assert!(check(&archive[..end]).is_err(), "{kind} cut at {end} of {}", archive.len());
        }
        assert_eq!(check(&archive[..end]).unwrap(), whole);
    }
}

#[test]
fn a_flipped_byte_never_panics_and_never_changes_content_unseen() {
    for kind in KINDS {
        let archive = pack_good(kind, "", &[File("app/data", &[7; 300], 0o644)]);
        for at in 0..archive.len() {
            let mut broken = archive.clone();
            broken[at] ^= 0x55;
            let mut seen = Vec::new();
            let outcome = visit(Cursor::new(&broken), &Limits::default(), &mut |entry| {
                if let EntryKind::File { reader, .. } = entry.kind {
                    reader.read_to_end(&mut seen)?;
                }
                Ok(())
            });
            // A plain tar has no checksum over the content; the SHA-256 of the bundle is what guards it.
            if outcome.is_ok() && kind != Kind::Tar {
                assert!(seen.ends_with(&[7; 300]), "{kind}: byte {at} changed the content unseen");
            }
        }
    }
}

#[test]
fn long_names_of_both_tar_dialects_are_read() {
    let long = format!("app/{}/x", "d/".repeat(100));
    let items = good_items();
    let mut gnu = tar_of(&items);
    gnu.append_data(&mut header("", EntryType::Regular, 2, 0o644), &long, &b"hi"[..]).unwrap();
    assert_eq!(check(&gnu.into_inner().unwrap()).unwrap().unpacked_bytes, APPSPEC.len() as u64 + 7);
    let mut pax = tar_of(&items);
    pax.append_pax_extensions([("path", long.as_bytes()), ("mtime", b"12.5")]).unwrap();
    append(&mut pax, header("short", EntryType::Regular, 2, 0o644), b"hi");
    let mut seen = Vec::new();
    visit(Cursor::new(pax.into_inner().unwrap()), &Limits::default(), &mut |entry| {
        seen.push((entry.path.to_owned(), entry.modified));
        Ok(())
    })
    .unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(12_500);
    assert_eq!(seen.last().unwrap(), &(long.replace("//", "/"), time));
}

#[test]
fn entries_are_handed_out_in_order_with_mode_and_content() {
    for kind in KINDS {
        let archive = pack_good(kind, "", &[Symlink("app/l", "index.html"), Dir("empty/")]);
        let mut seen = Vec::new();
        visit(Cursor::new(&archive), &Limits::default(), &mut |entry| {
            let what = match entry.kind {
                EntryKind::File { mode, size, reader } => {
                    let mut text = Vec::new();
                    reader.read_to_end(&mut text)?;
                    assert_eq!(text.len() as u64, size);
                    format!("{mode:o}")
                }
                EntryKind::HardLink { target } => format!("={target}"),
                EntryKind::Dir { .. } => "dir".to_owned(),
                EntryKind::Symlink { target } => format!(">{target}"),
            };
            seen.push(format!("{} {what}", entry.path));
            Ok(())
        })
        .unwrap();
        assert_eq!(
            seen,
            [
                "appspec.yml 644",
                "app/index.html 644",
                "scripts/after.sh 755",
                "app/l >index.html",
                "empty dir"
            ]
        );
    }
}

#[test]
fn a_failing_sink_is_told_from_a_damaged_archive() {
    let archive = pack_good(Kind::Tgz, "", &[]);
    let full = |_: crate::Entry<'_>| Err(io::ErrorKind::StorageFull.into());
    let outcome = visit(Cursor::new(&archive), &Limits::default(), &mut { full });
    let Err(BundleError::Sink { source, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_bomb_is_refused_before_it_goes_off() {
    // Ten gigabytes in ten megabytes; deflate's best is 1030 to 1. A thousand equal members make the packing quick.
    let mut member = GzEncoder::new(Vec::new(), Compression::best());
    io::copy(&mut io::repeat(0).take(10 << 20), &mut member).unwrap();
    let member = member.finish().unwrap();
    let mut declared = header("zeros", EntryType::Regular, 0, 0o644);
    declared.set_size(10_000 << 20);
    declared.set_cksum();
    let mut tgz = gzip(declared.as_bytes());
    for _ in 0..1000 {
        tgz.extend_from_slice(&member);
    }
    assert!(tgz.len() < 11 << 20);
    let mut read = 0;
    let outcome = visit(Cursor::new(&tgz), &Limits::default(), &mut |entry| {
        if let EntryKind::File { reader, .. } = entry.kind {
            let mut buffer = [0; 65536];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                read += count;
            }
        }
        Ok(())
    });
    assert!(matches!(outcome, Err(BundleError::Bomb { .. })), "{outcome:?}");
    assert!(read < 200 << 20, "{read} bytes were unpacked first");

    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().large_file(true);
    zip.start_file("zeros", options).unwrap();
    io::copy(&mut io::repeat(0).take(100 << 20), &mut zip).unwrap();
    let zip = zip.finish().unwrap().into_inner();
    let outcome =
        visit(Cursor::new(&zip), &Limits::default(), &mut |_| panic!("nothing may be unpacked"));
    assert!(matches!(outcome, Err(BundleError::Bomb { .. })), "{outcome:?}");
}

#[test]
fn limits_are_kept() {
    let small = Limits { entries: 5, ..Limits::default() };
    for kind in KINDS {
        let archive = pack_good(kind, "", &[]);
        inspect(Cursor::new(&archive), &small).unwrap();
        let archive = pack_good(kind, "", &[File("a/b/c", b"", 0o644)]);
        assert!(matches!(
            inspect(Cursor::new(&archive), &small),
            Err(BundleError::TooManyEntries { limit: 5 })
        ));
        let tiny = Limits { unpacked_bytes: 20, ..Limits::default() };
        assert!(matches!(
            inspect(Cursor::new(&archive), &tiny),
            Err(BundleError::TooLarge { limit: 20 })
        ));
        let deep = "d/".repeat(40) + "x";
        let short = Limits { path_bytes: 64, ..Limits::default() };
        let archive = pack_good(kind, "", &[File(&deep, b"", 0o644)]);
        let outcome = inspect(Cursor::new(&archive), &short);
        assert!(matches!(
            outcome,
            Err(BundleError::Entry { problem: Problem::PathTooLong { .. }, .. })
        ));
    }
}
