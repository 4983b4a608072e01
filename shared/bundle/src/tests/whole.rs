//! An archive is taken as a whole or not at all: all that it says about itself is held against what is there.

use super::{File, KINDS, check, good, gzip, pack_good, pack_tar, pack_zip, python};
use crate::{BundleError, Kind};

/// Why an archive is refused as damaged.
#[track_caller]
fn damage(archive: &[u8]) -> String {
    match check(archive) {
        Err(BundleError::Damaged { source, .. }) => source.to_string(),
        other => panic!("not refused as damaged: {other:?}"),
    }
}

/// Where `what` begins, the last time.
fn last(archive: &[u8], what: &[u8]) -> usize {
    archive.windows(what.len()).rposition(|window| window == what).unwrap()
}

fn first(archive: &[u8], what: &[u8]) -> usize {
    archive.windows(what.len()).position(|window| window == what).unwrap()
}

/// The archive as a tool writes it that does not know zip64: with the last 16 bits of the number of its entries.
fn without_zip64(archive: &[u8], count: u64) -> Vec<u8> {
    let (record, end) = (last(archive, b"PK\x06\x06"), last(archive, b"PK\x05\x06"));
    let size = &archive[record + 40..record + 44];
    let start = &archive[record + 48..record + 52];
    let mut old = archive[..record].to_vec();
    old.extend_from_slice(&archive[end..]);
    let count = u16::try_from(count % 65_536).unwrap().to_le_bytes();
    for (field, value) in [(8, &count[..]), (10, &count), (12, size), (16, start)] {
        old[record + field..record + field + value.len()].copy_from_slice(value);
    }
    old
}

#[test]
fn an_archive_of_70001_files_is_taken_whole_whatever_its_end_record_can_count() {
    let archive = python(
        "archive = io.BytesIO()
with zipfile.ZipFile(archive, 'w') as z:
    z.writestr('appspec.yml', 'version: 0.0\\nos: linux\\n')
    for number in range(70000): z.writestr(f'f/{number}', '')
out.write(archive.getvalue())",
    );
    let old = without_zip64(&archive, 70_001);
    assert_eq!(u16::from_le_bytes(old[old.len() - 12..old.len() - 10].try_into().unwrap()), 4465);
    for (archive, bits) in [(&archive, 64), (&old, 16)] {
        for _ in 0..2 {
            assert_eq!(check(archive).unwrap().entries, 70_002, "counted with {bits} bits");
        }
    }
    for count in [70_000, 70_002, 4466] {
        let why = damage(&without_zip64(&archive, count));
        assert!(why.contains("has 70001 entries, and its end record says"), "{why}");
    }
    let mut other = archive.clone();
    let record = last(&other, b"PK\x06\x06");
    for field in [24, 32] {
        other[record + field] ^= 1;
    }
    let why = damage(&other);
    assert_eq!(why, "its central directory has 70001 entries, and its end record says 70000");
}

#[test]
fn whatever_a_zip_says_about_itself_is_compared() {
    let archive = pack_good(Kind::Zip, "", &[File("app/data", &[7; 300], 0o644)]);
    check(&archive).unwrap();
    let central = first(&archive, b"PK\x01\x02");
    let end = last(&archive, b"PK\x05\x06");
    let all = [
        (0, &[0, 8, 14, 18, 22, 26, 28, 30][..]),
        (central, &[0, 10, 16, 20, 24, 28, 30, 32, 34, 42, 46]),
        (end, &[0, 4, 6, 8, 10, 12, 16, 20]),
    ];
    for (record, fields) in all {
        for field in fields {
            let mut other = archive.clone();
            other[record + field] ^= 2;
            assert!(check(&other).is_err(), "the byte {field} of the record at {record} counts");
        }
    }
}

#[test]
fn whatever_zip64_says_is_compared_too() {
    let archive = python(
        "archive = io.BytesIO()
with zipfile.ZipFile(archive, 'w', zipfile.ZIP_DEFLATED) as z:
    z.writestr('app/index.html', 'hello')
    z.writestr('scripts/after.sh', '')
    with z.open('appspec.yml', 'w', force_zip64=True) as f: f.write(appspec.encode())
zipfile.ZIP_FILECOUNT_LIMIT = 1
with zipfile.ZipFile(archive, 'a') as z: z.writestr('more', 'more')
out.write(archive.getvalue())",
    );
    assert_eq!(check(&archive).unwrap().entries, 6);
    let (record, locator) = (last(&archive, b"PK\x06\x06"), last(&archive, b"PK\x06\x07"));
    let all = [(record, &[0, 4, 16, 20, 24, 32, 40, 48][..]), (locator, &[4, 8, 16])];
    for (record, fields) in all {
        for field in fields {
            let mut other = archive.clone();
            other[record + field] ^= 2;
            assert!(check(&other).is_err(), "the byte {field} of the record at {record} counts");
        }
    }
}

#[test]
fn what_stands_behind_the_content_is_compared() {
    let archive = python(
        "class Pipe(io.RawIOBase):
    def writable(self): return True
    def write(self, data): return out.write(data)
with zipfile.ZipFile(Pipe(), 'w', zipfile.ZIP_DEFLATED) as z:
    z.writestr('app/index.html', 'hello')
    z.writestr('scripts/after.sh', '')
    z.writestr('appspec.yml', appspec)",
    );
    check(&archive).unwrap();
    let descriptor = first(&archive, b"PK\x07\x08");
    for field in [4, 8, 12] {
        let mut other = archive.clone();
        other[descriptor + field] ^= 1;
        let why = damage(&other);
        assert!(why.starts_with("what stands behind its content"), "{why}");
    }
}

#[test]
fn two_entries_cannot_share_their_bytes() {
    let archive = pack_good(Kind::Zip, "", &[]);
    let (central, end) = (first(&archive, b"PK\x01\x02"), last(&archive, b"PK\x05\x06"));
    let next = central + 4 + first(&archive[central + 4..], b"PK\x01\x02");
    let mut doubled = archive[..next].to_vec();
    doubled.extend_from_slice(&archive[central..]);
    let moved = next - central;
    let size = u32::try_from(end - central + moved).unwrap().to_le_bytes();
    let end = end + moved;
    for (field, value) in [(8, &4_u16.to_le_bytes()[..]), (10, &4_u16.to_le_bytes()), (12, &size)] {
        doubled[end + field..end + field + value.len()].copy_from_slice(value);
    }
    assert!(check(&doubled).is_err());
}

#[test]
fn nothing_but_zeros_may_follow_an_archive() {
    for kind in KINDS {
        let archive = pack_good(kind, "", &[]);
        for zeros in [1, 511, 512, 10_240, 60_000] {
            check(&[&archive[..], &vec![0; zeros]].concat()).unwrap();
        }
        for more in [&b"x"[..], b"\0x", &[0, 0x1f], &archive, &archive[..archive.len() / 2]] {
            let why = check(&[&archive[..], more].concat()).unwrap_err().to_string();
            assert!(why.contains("cut off or damaged"), "{kind}: {why}");
        }
    }
    // What is no further member is no end that came too early.
    let packed = pack_good(Kind::Tgz, "", &[]);
    for more in [&b"x"[..], b"junk", b"\x1fjunk that is longer than a header", b"PK\x03\x04"] {
        let why = damage(&[&packed[..], more].concat());
        assert_eq!(why, "there is something else after the end of its gzip data");
    }
    // Two archives in one stream of gzip, as `cat a.tar b.tar | gzip` makes them.
    let one = pack_good(Kind::Tar, "", &[]);
    let why = damage(&gzip(&[&one[..], &one].concat()));
    assert!(why.contains("two archives in one"), "{why}");
    let zip = pack_good(Kind::Zip, "", &[]);
    let why = damage(&[&zip[..], &zip].concat());
    assert!(why.contains("two archives in one"), "{why}");
}

#[test]
fn a_tar_ends_with_one_block_of_zeros_at_least() {
    let items = good("");
    let items: Vec<_> = items.iter().map(|(name, data, mode)| File(name, data, *mode)).collect();
    let archive = pack_tar(&items);
    let content = archive.len() - archive.iter().rev().take_while(|byte| **byte == 0).count();
    let content = content.next_multiple_of(512);
    for zeros in [512, 513, 1024, 4096] {
        check(&[&archive[..content], &vec![0; zeros]].concat()).unwrap();
    }
    for zeros in [0, 1, 511] {
        assert!(check(&[&archive[..content], &vec![0; zeros]].concat()).is_err(), "{zeros}");
    }
}

#[test]
fn gzip_may_come_in_members_each_of_which_is_checked() {
    let tar = pack_good(Kind::Tar, "", &[File("app/data", &[7; 3000], 0o644)]);
    let (front, back) = tar.split_at(1000);
    let members = [gzip(front), gzip(b""), gzip(back)];
    assert_eq!(check(&members.concat()).unwrap(), check(&gzip(&tar)).unwrap());
    for member in 0..members.len() {
        for from_end in 1..=8 {
            let mut other = members.clone();
            let at = other[member].len() - from_end;
            other[member][at] ^= 1;
            assert!(check(&other.concat()).is_err(), "byte {from_end} from the end of {member}");
        }
    }
}

#[test]
fn a_zip_with_a_comment_is_read() {
    let comment = "PK\x05\x06 of nothing";
    let mut archive = pack_zip(&[File("appspec.yml", b"version: 0.0\nos: linux\n", 0o644)]);
    let at = archive.len() - 2;
    archive[at..].copy_from_slice(&u16::try_from(comment.len()).unwrap().to_le_bytes());
    archive.extend_from_slice(comment.as_bytes());
    assert_eq!(check(&archive).unwrap().entries, 1);
    assert!(check(&archive[..archive.len() - 1]).is_err());
}
