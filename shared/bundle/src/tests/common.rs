//! What common tools make is taken, as they mean it. The archives here are made by GNU tar and by Python.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::process::Command;

use super::{APPSPEC, File, Item, Symlink, check, pack, pack_tar, problem, python};
use crate::names::to_bytes;
use crate::{BundleError, EntryKind, Kind, Limits, Problem, inspect, visit};

/// What is left of each path when an archive is unpacked, with the names as bytes.
fn unpacked(archive: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut found: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    visit(Cursor::new(archive), &Limits::default(), &mut |entry| {
        let content = match entry.kind {
            EntryKind::File { reader, size, .. } => {
                let mut content = Vec::new();
                reader.read_to_end(&mut content)?;
                assert_eq!(content.len() as u64, size);
                content
            }
            EntryKind::HardLink { target } => found[&to_bytes(target)].clone(),
            EntryKind::Dir { .. } => b"/".to_vec(),
            EntryKind::Symlink { target } => [b"->", to_bytes(target).as_slice()].concat(),
        };
        let before = found.insert(to_bytes(entry.path), content);
        assert_eq!(entry.replaces, before.is_some_and(|before| before != b"/"), "{}", entry.path);
        Ok(())
    })
    .unwrap();
    found
}

/// What a shell makes in a fresh directory that has the good AppSpec and what that names.
fn made(script: &str) -> Vec<u8> {
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(place.path().join("b/app")).unwrap();
    std::fs::create_dir_all(place.path().join("b/scripts")).unwrap();
    std::fs::write(place.path().join("b/appspec.yml"), APPSPEC).unwrap();
    std::fs::write(place.path().join("b/scripts/after.sh"), "#!/bin/sh\n").unwrap();
    std::fs::write(place.path().join("b/app/index.html"), "hello").unwrap();
    let status = Command::new("sh")
        .args(["-ec", script])
        .current_dir(place.path().join("b"))
        .status()
        .unwrap();
    assert!(status.success());
    std::fs::read(place.path().join("out")).unwrap()
}

#[test]
fn of_a_path_that_comes_twice_the_last_one_counts_and_that_is_said() {
    let appended = made(
        "tar -cf ../out appspec.yml scripts app; echo new >app/index.html; ln -s index.html app/l
         tar -rf ../out app/index.html app/l; rm app/l; echo file >app/l; tar -rf ../out app/l",
    );
    let spec = format!("{APPSPEC}\n# the second");
    let python = python(
        "import warnings
warnings.simplefilter('ignore')
archive = io.BytesIO()
with zipfile.ZipFile(archive, 'w') as z:
    z.writestr('appspec.yml', 'broken')
    z.writestr('scripts/after.sh', '')
    z.writestr('app/index.html', 'hello')
    z.writestr('app/l', 'link')
    z.writestr('app/l', 'file\\n')
    z.writestr('./app//index.html', 'new\\n')
    z.writestr('appspec.yml', appspec + '\\n# the second')
out.write(archive.getvalue())",
    );
    for (archive, again) in [(&appended, 2), (&python, 3)] {
        for _ in 0..2 {
            let found = unpacked(archive);
            assert_eq!(found[&b"app/index.html"[..]], b"new\n");
            assert_eq!(found[&b"app/l"[..]], b"file\n");
            let warnings = check(archive).unwrap().warnings;
            assert_eq!(warnings.len(), again, "{warnings:?}");
            let said = "`app/index.html` is in the archive more than once; the last one counts";
            assert!(warnings.iter().any(|warning| warning == said), "{warnings:?}");
        }
    }
    assert_eq!(unpacked(&python)[&b"appspec.yml"[..]], spec.as_bytes());
    // An AppSpec file that a link takes the place of is none.
    let items = [
        File("appspec.yml", APPSPEC.as_bytes(), 0o644),
        File("app/x", b"", 0o644),
        File("scripts/after.sh", b"", 0o755),
        Symlink("appspec.yml", "app/x"),
    ];
    let error = check(&pack_tar(&items)).unwrap_err().to_string();
    assert!(error.contains("must be a regular file"), "{error}");
    let names: Vec<String> = (0..12).map(|number| format!("app/{number}")).collect();
    let items = names.iter().chain(&names).map(|name| File(name, b"", 0o644));
    let good = [File("appspec.yml", b"version: 0.0\nos: linux\n", 0o644)];
    let items: Vec<Item<'_>> = good.into_iter().chain(items).collect();
    let warnings = check(&pack(Kind::Tar, &items)).unwrap().warnings;
    assert_eq!((warnings.len(), warnings[5].as_str()), (6, "so it is with 7 more"));
}

#[test]
fn sparse_files_of_gnu_tar_are_whole() {
    let mut expected = vec![0; 3 << 20];
    expected[1 << 20..(1 << 20) + 4].copy_from_slice(b"data");
    let holes = "truncate -s 3M app/sparse
        printf data | dd of=app/sparse bs=1M seek=1 conv=notrunc 2>/dev/null
        truncate -s 1M app/hole; : >app/empty
        i=0; while [ $i -lt 60 ]; do printf x | dd of=app/many bs=8192 seek=$i conv=notrunc 2>/dev/null; i=$((i+2)); done";
    for format in [
        "--format=gnu",
        "--format=oldgnu",
        "--format=posix --sparse-version=0.0",
        "--format=posix --sparse-version=0.1",
        "--format=posix --sparse-version=1.0",
    ] {
        let tar = |hole| {
            format!(
                "{holes}\ntar --sparse --hole-detection={hole} {format} -cf ../out appspec.yml scripts app"
            )
        };
        for hole in ["seek", "raw"] {
            let archive = made(&tar(hole));
            assert!(archive.len() < 1 << 20, "{format}: GNU tar has written the holes");
            let found = unpacked(&archive);
            assert!(found[&b"app/sparse"[..]] == expected, "{format}");
            assert!(found[&b"app/hole"[..]] == vec![0; 1 << 20], "{format}");
            assert_eq!(found[&b"app/empty"[..]], b"", "{format}");
            let many = &found[&b"app/many"[..]];
            assert_eq!(many.len(), 58 * 8192 + 1, "{format}");
            assert!(
                many.iter()
                    .enumerate()
                    .all(|(at, byte)| { *byte == if at % (2 * 8192) == 0 { b'x' } else { 0 } })
            );
            for at in (0..archive.len()).step_by(97) {
                let mut other = archive.clone();
                other[at] ^= 0x15;
                drop(check(&other));
            }
        }
    }
    // Holes are written to the disk, too.
    let archive =
        made("truncate -s 20G app/huge; tar --sparse -czf ../out appspec.yml scripts app");
    let error = inspect(Cursor::new(&archive), &Limits::default()).unwrap_err();
    assert!(matches!(error, BundleError::TooLarge { .. }), "{error}");
    let archive = made("truncate -s 5G app/huge; tar --sparse -czf ../out appspec.yml scripts app");
    let error = inspect(Cursor::new(&archive), &Limits::default()).unwrap_err();
    assert!(matches!(error, BundleError::Bomb { .. }), "{error}");
}

#[test]
fn labels_and_the_lists_of_incremental_archives_are_no_content() {
    for format in ["gnu", "oldgnu", "posix"] {
        for options in ["-V shop", "--listed-incremental=../list", "-V shop -g ../list"] {
            let long = "d".repeat(120);
            let archive = made(&format!(
                "mkdir app/many app/{long}; for i in $(seq 200); do : >app/many/file-$i; done
                 tar --format={format} {options} -cf ../out appspec.yml scripts app"
            ));
            let found = unpacked(&archive);
            assert_eq!(found[&b"app/index.html"[..]], b"hello", "{format} {options}");
            assert_eq!(found[&b"app/many"[..]], b"/", "{format} {options}");
            assert_eq!(found[format!("app/{long}").as_bytes()], b"/", "{format} {options}");
            assert_eq!(found.len(), 207, "{format} {options}");
            check(&archive).unwrap();
            check(&super::gzip(&archive)).unwrap();
        }
    }
}

#[test]
fn a_blank_size_is_none_where_there_is_no_content_and_damage_where_there_may_be() {
    let blank = |archive: &[u8], at: usize, fill: u8| {
        let mut archive = archive.to_vec();
        archive[at + 124..at + 136].fill(fill);
        archive[at + 148..at + 156].fill(b' ');
        let sum: u32 = archive[at..at + 512].iter().map(|byte| u32::from(*byte)).sum();
        archive[at + 148..at + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive
    };
    let archive = made("tar -cf ../out app/ scripts appspec.yml");
    for fill in [0, b' '] {
        check(&blank(&archive, 0, fill)).unwrap();
        let error = check(&blank(&archive, 512, fill)).unwrap_err();
        assert!(matches!(error, BundleError::Damaged { .. }), "{error}");
    }
}

#[test]
fn an_archive_that_is_not_taken_is_called_what_it_is() {
    let tar = |mode: &str| {
        python(&format!(
            "with tarfile.open(mode='w|{mode}', fileobj=out) as t: t.addfile(tarfile.TarInfo('x'))"
        ))
    };
    let zip = zip_with("");
    let behind = "a zip archive behind something else, as self-extracting ones are";
    for (archive, expected) in [
        (tar("xz"), "an xz archive"),
        (tar("bz2"), "a bzip2 archive"),
        (python("import bz2; out.write(bz2.compress(b''))"), "a bzip2 archive"),
        (b"\x28\xb5\x2f\xfd\x04\x00\x01\0\0".to_vec(), "a zstd archive"),
        (b"!<arch>\ndebian-binary   ".to_vec(), "an ar archive, as Debian packages are"),
        ([b"#!/bin/sh\nexit\n", &*zip].concat(), behind),
        ([b"MZ\0\0", &*zip, &[0; 700]].concat(), behind),
    ] {
        match check(&archive) {
            Err(BundleError::OtherType { what }) => assert_eq!(what, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

/// A zip archive that is good, into which a Python program puts more: `add(NAME, TEXT)` an entry, `gap(BYTES)` what
/// belongs to none, and `hide(NAME)` takes an entry out of the directory.
fn zip_with(more: &str) -> Vec<u8> {
    python(&format!(
        r"archive = io.BytesIO()
z = zipfile.ZipFile(archive, 'w', zipfile.ZIP_DEFLATED)
def add(name, text): z.writestr(name, text)
def gap(data):
    z.fp.seek(z.start_dir)
    z.fp.write(data)
    z.start_dir = z.fp.tell()
def hide(name): z.filelist.remove(z.NameToInfo.pop(name))
add('first', 'first')
add('appspec.yml', appspec)
add('app/hidden', 'x' * 1000)
add('app/index.html', 'hello')
add('scripts/after.sh', '')
{more}
z.close()
out.write(archive.getvalue())"
    ))
}

#[test]
fn what_the_directory_of_a_zip_does_not_list_is_told() {
    let warnings = |more: &str| check(&zip_with(more)).unwrap().warnings;
    let unlisted = |name: &str| {
        format!(
            "`{name}` is in the archive, but not in its central directory, so it is not unpacked; pack the archive anew"
        )
    };
    assert_eq!(warnings(""), [""; 0]);
    assert_eq!(warnings("hide('app/hidden')"), [unlisted("app/hidden")]);
    assert_eq!(warnings("hide('first')"), [unlisted("first")]);
    assert_eq!(
        warnings("add('last', 'x'); hide('last'); hide('first')"),
        [unlisted("first"), unlisted("last")]
    );
    let said = warnings("gap(b'PK00 of nothing')");
    assert!(said.len() == 1 && said[0].starts_with("15 bytes of the archive, from"), "{said:?}");
    let said = warnings("for at in range(8): add(f'app/{at}', 'x'); gap(b'gap')");
    assert_eq!(said.len(), 6, "{said:?}");
    assert_eq!(said[5], "so it is in 3 more places of the archive");
}

#[test]
fn what_common_tools_leave_between_the_entries_of_a_zip_is_not_told() {
    for more in ["gap(bytes(4095))", "gap(b'signature' * 9 + b'APK Sig Block 42')"] {
        assert_eq!(check(&zip_with(more)).unwrap().warnings, [""; 0], "{more}");
    }
    // Descriptors in all forms, one of them behind an entry whose header says all.
    let described = python(
        "class Pipe(io.RawIOBase):
    def writable(self): return True
    def write(self, data): return out.write(data)
with zipfile.ZipFile(Pipe(), 'w', zipfile.ZIP_DEFLATED) as z:
    z.writestr('app/index.html', 'hello')
    z.writestr('app/empty/', '')
    z.writestr('app/empty/none', '', zipfile.ZIP_STORED)
    z.writestr('scripts/after.sh', '')
    with z.open('app/large', 'w', force_zip64=True) as f: f.write(b'x' * 1000)
    z.writestr('appspec.yml', appspec)",
    );
    assert_eq!(check(&described).unwrap().warnings, [""; 0]);
}

#[test]
fn names_of_a_tar_are_bytes() {
    for format in ["gnu", "ustar", "posix"] {
        let archive = made(&format!(
            "printf one >\"$(printf 'app/gr\\374n')\"; printf two >\"app/gr\u{fc}n\"
             ln -s \"$(printf 'gr\\374n')\" app/l; printf three >'app/a
b'
             tar --format={format} -cf ../out appspec.yml scripts app"
        ));
        let found = unpacked(&archive);
        assert_eq!(found[&b"app/gr\xfcn"[..]], b"one", "{format}");
        assert_eq!(found["app/gr\u{fc}n".as_bytes()], b"two");
        assert_eq!(found[&b"app/l"[..]], b"->gr\xfcn");
        assert_eq!(found[&b"app/a\nb"[..]], b"three");
    }
}

#[test]
fn names_of_a_zip_are_what_its_tool_meant() {
    let archive = python(
        r"import struct, zlib
archive = io.BytesIO()
class Info(zipfile.ZipInfo):
    def _encodeFilenameFlags(self): return self.raw, self.flag_bits | self.flag
with zipfile.ZipFile(archive, 'w') as z:
    z.writestr('appspec.yml', appspec)
    z.writestr('scripts/after.sh', '')
    def add(raw, system, flag=0, unicode=None):
        info = Info('x%d' % len(z.filelist))
        info.raw, info.flag, info.create_system = raw, flag, system
        if unicode: info.extra = struct.pack('<HHBI', 0x7075, 5 + len(unicode[1]), 1, zlib.crc32(unicode[0])) + unicode[1]
        z.writestr(info, b'' if raw.endswith(b'\\') else raw)
    add(b'app\\dos\\gr\x81n', 0)
    add(b'app\\ntfs\\gr\xfcn', 10)
    add(b'app\\flag\\gr\xc3\xbcn', 0, flag=0x800)
    add(b'app/unix\\gr\xfcn', 3)
    add(b'app/gr?n', 3, unicode=(b'app/gr?n', 'app/gr\u00fcn'.encode()))
    add(b'app/renamed', 3, unicode=(b'app/before', b'app/other'))
    for at in range(128, 256, 32): add(b'app/dos/' + bytes(range(at, at + 32)), 0)
    add(b'app\\dir\\', 0)
out.write(archive.getvalue())",
    );
    let found = unpacked(&archive);
    let names: Vec<&[u8]> = found.keys().map(Vec::as_slice).collect();
    let all = python(
        "for at in range(128, 256, 32): out.write(b'app/dos/' + bytes(range(at, at + 32)).decode('cp437').encode() + b'|')",
    );
    let all: Vec<&[u8]> = all.split(|byte| *byte == b'|').filter(|name| !name.is_empty()).collect();
    let mut expected: Vec<&[u8]> = vec![
        b"appspec.yml",
        b"scripts/after.sh",
        "app/dos/gr\u{fc}n".as_bytes(),
        b"app/ntfs/gr\xfcn",
        "app/flag/gr\u{fc}n".as_bytes(),
        b"app/unix\\gr\xfcn",
        "app/gr\u{fc}n".as_bytes(),
        b"app/renamed",
        b"app/dir",
    ];
    expected.extend(all);
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(found["app/dos/gr\u{fc}n".as_bytes()], b"app\\dos\\gr\x81n");
    // What leads out, leads out with any separator.
    let evil = python(
        r"archive = io.BytesIO()
with zipfile.ZipFile(archive, 'w') as z:
    info = zipfile.ZipInfo('..\\evil')
    info.create_system = 0
    z.writestr(info, '')
out.write(archive.getvalue())",
    );
    assert_eq!(problem(&evil), Problem::Upwards);
}

#[test]
fn hard_links_of_tar_are_what_they_link_to() {
    let archive = made(
        "ln app/index.html app/hard; ln -s index.html app/soft; ln app/soft app/softer
         tar -cf ../out appspec.yml scripts app; tar -rf ../out app",
    );
    let found = unpacked(&archive);
    assert_eq!(found[&b"app/hard"[..]], b"hello");
    assert_eq!(found[&b"app/softer"[..]], b"->index.html");
}

#[test]
fn times_are_those_of_the_archive() {
    let python = python(
        r"import struct
archive = io.BytesIO()
with zipfile.ZipFile(archive, 'w') as z:
    z.writestr(zipfile.ZipInfo('appspec.yml', (2021, 6, 1, 12, 30, 58)), appspec)
    z.writestr(zipfile.ZipInfo('scripts/after.sh', (2107, 12, 31, 23, 59, 58)), '')
    for name, year, seconds in [('app/a', 2020, 1600000001), ('app/b', 2038, 0x80000001), ('app/c', 1980, 0xffffffff)]:
        info = zipfile.ZipInfo(name, (year, 1, 20, 0, 0, 0))
        info.extra = struct.pack('<HHBI', 0x5455, 5, 1, seconds)
        z.writestr(info, '')
out.write(archive.getvalue())",
    );
    let zip = [
        ("app/a", 1_600_000_001_000_000_000),
        ("app/b", 0x8000_0001 * 1_000_000_000),
        ("app/c", -1_000_000_000),
        ("appspec.yml", 1_622_550_658_000_000_000),
        ("scripts/after.sh", 4_354_819_198_000_000_000),
    ];
    assert_eq!(times(&python), zip.map(|(name, time)| (name.to_owned(), time)).into());
    for (format, fraction) in [("gnu", 0), ("ustar", 0), ("posix", 500_000_000)] {
        // Octal digits hold neither what is before 1970 nor what is after 2242.
        let (old, far) =
            if format == "ustar" { ("@5.5", 8_589_934_591_u64) } else { ("@-1.5", 12_000_000_000) };
        let archive = made(&format!(
            "touch -d @1600000001.5 app/index.html; touch -d {old} scripts/after.sh
             touch -d @{far} appspec.yml
             tar --format={format} -cf ../out appspec.yml scripts/after.sh app/index.html"
        ));
        let found = times(&archive);
        assert_eq!(found["app/index.html"], 1_600_000_001_000_000_000 + fraction, "{format}");
        assert_eq!(found["appspec.yml"], i128::from(far) * 1_000_000_000, "{format}");
        let old = match format {
            "ustar" => 5_000_000_000,
            "gnu" => -2_000_000_000,
            _ => -1_500_000_000,
        };
        assert_eq!(found["scripts/after.sh"], old, "{format}");
    }
}

fn times(archive: &[u8]) -> BTreeMap<String, i128> {
    let mut found = BTreeMap::new();
    visit(Cursor::new(archive), &Limits::default(), &mut |entry| {
        let nanoseconds = |time: std::time::Duration| i128::try_from(time.as_nanos()).unwrap();
        let time = match entry.modified.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => nanoseconds(since),
            Err(before) => -nanoseconds(before.duration()),
        };
        found.insert(entry.path.to_owned(), time);
        Ok(())
    })
    .unwrap();
    found
}

#[test]
fn without_an_appspec_file_it_is_said_what_is_there() {
    let said = |names: &[&str]| {
        let items: Vec<Item<'_>> =
            names.iter().map(|name| File(name, b"version: 0.0\nos: linux\n", 0o644)).collect();
        match check(&pack_tar(&items)) {
            Err(BundleError::NoAppSpec { there }) => there,
            other => panic!("{names:?}: {other:?}"),
        }
    };
    for (names, expected) in [
        (
            &["shop/appspec.yml", "__MACOSX/shop/._appspec.yml"][..],
            "`__MACOSX`, which macOS adds, lies beside the folder `shop`; pack the folder with `zip -r shop.zip shop`, which leaves it out",
        ),
        (
            &["AppSpec.yml", "app/x"],
            "`AppSpec.yml` is there, but it has to be called `appspec.yml`; rename it",
        ),
        (
            &["shop/appspec.YAML"],
            "`shop/appspec.YAML` is there, but it has to be called `appspec.yml`; rename it",
        ),
        (
            &["appspec.yml.txt"],
            "`appspec.yml.txt` is there, but it has to be called `appspec.yml`; rename it",
        ),
        (
            &["a/b/appspec.yml", "a/b/c/appspec.yml"],
            "`a/b/appspec.yml` lies too deep; pack what is in `a/b`",
        ),
        (
            &["shop/appspec.yml", "README"],
            "`shop/appspec.yml` lies too deep; pack what is in `shop`",
        ),
        (&["app/x"], "there is `app`; put one beside it"),
        (
            &["a", "b", "c", "d", "e", "f", "g"],
            "there is `a`, `b`, `c`, `d`, `e` and 2 more; put one beside them",
        ),
    ] {
        assert_eq!(said(names), expected);
    }
}

#[test]
fn a_name_that_is_nearly_an_event_is_refused_in_what_is_new_and_not_in_what_is_unpacked() {
    let spec = APPSPEC.replace("AfterInstall", "After Install");
    let items = [
        File("appspec.yml", spec.as_bytes(), 0o644),
        File("app/x", b"", 0o644),
        File("scripts/after.sh", b"", 0o755),
    ];
    let archive = pack_tar(&items);
    let error = check(&archive).unwrap_err();
    assert_eq!(
        error.to_string(),
        "appspec.yml:7:3: `After Install` is not a lifecycle event, so its scripts would never run; did you mean `AfterInstall`?"
    );
    visit(Cursor::new(&archive), &Limits::default(), &mut |_| Ok(())).unwrap();
    // All that is missing is told at once to who asks for it.
    let (found, faults) =
        crate::survey(Cursor::new(pack_tar(&items[..1])), &Limits::default(), &mut |_| Ok(()))
            .unwrap();
    let faults = faults.into_iter().chain(crate::misspelt(&found.appspec));
    let lines: Vec<u32> = faults.map(|fault| fault.position.unwrap().line).collect();
    assert_eq!(lines, [4, 8, 7]);
    let spec = APPSPEC.replace("AfterInstall", "CustomEvent");
    let items = [
        File("appspec.yml", spec.as_bytes(), 0o644),
        File("app/x", b"", 0o644),
        File("scripts/after.sh", b"", 0o755),
    ];
    check(&pack_tar(&items)).unwrap();
}
