//! A valid signature over hostile content: every kind is refused for its own reason, and nothing appears outside.
#![expect(clippy::disallowed_methods, reason = "tests make and look at files themselves")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::builder::{Tar, file_of, member, packed_members, packed_raw, record, sealed};
use super::*;
use crate::model::{Code, Error, Hash};

/// Unpacks into a staging folder with neighbours, checks that those are untouched, and returns the refusal.
fn refusal(bytes: &[u8], manifest: &Manifest) -> Error {
    let temp = tempfile::tempdir().unwrap();
    let staging = temp.path().join("staging");
    std::fs::create_dir(&staging).unwrap();
    std::fs::write(temp.path().join("neighbour"), "mine").unwrap();
    let error = unpack(&file_of(bytes), &sealed(manifest), Folder::open(&staging).unwrap(), &mut |_| {}).unwrap_err();
    let names = |folder: &Path| {
        let mut names: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(temp.path()), ["neighbour", "staging"], "{error}");
    assert_eq!(std::fs::read(temp.path().join("neighbour")).unwrap(), b"mine", "{error}");
    assert!(!Path::new("/deployctl-was-here").exists(), "{error}");
    error
}

/// The refusal of a tar whose entries are counted as `entries`.
fn refused(raw: &[u8], entries: u64) -> Error {
    let (bytes, manifest) = packed_raw(raw, entries, Hash::of(b"whatever"));
    refusal(&bytes, &manifest)
}

fn tar() -> Tar {
    Tar::default()
}

#[test]
fn hostile_names_are_refused_by_rule() {
    let deep = (1..=65).map(|n| vec!["d"; n].join("/") + "/").fold(tar(), |tar, name| {
        if name.len() <= 100 { tar.folder(&name) } else { tar.pax(b'x', &record("path", &name)).folder(&name[..100]) }
    });
    let long = "x".repeat(256);
    let far = ["y"; 4].map(|y| y.repeat(255)).join("/") + "/zz";
    let cases: Vec<(&str, Tar)> = vec![
        ("“..” component", tar().file("../evil", b"x")),
        ("“..” component", tar().folder("a/").file("a/../../evil", b"x")),
        ("absolute name", tar().file("/deployctl-was-here", b"x")),
        ("“.” component", tar().file("./a", b"x")),
        ("“.” component", tar().folder("./")),
        ("empty component", tar().folder("a/").file("a//b", b"x")),
        ("empty component", tar().file("", b"x")),
        ("backslash", tar().file("a\\b", b"x")),
        ("control character U+000A", tar().file("a\nb", b"x")),
        ("control character U+001B", tar().file("\u{1b}[2J", b"x")),
        ("control character U+009B", tar().pax(b'x', &record("path", "a\u{9b}b")).file("a__b", b"x")),
        ("direction mark U+202E", tar().pax(b'x', &record("path", "a\u{202e}gpj.exe")).file("a___gpj.exe", b"x")),
        ("invisible character U+200B", tar().pax(b'x', &record("path", "a\u{200b}")).file("a___", b"x")),
        ("not UTF-8", tar().header(b"a\xffb", b'0', 0, |_| {})),
        ("cannot be read", tar().pax(b'x', "12 path=a\u{fffd}").file("a", b"")),
        ("folders deep", deep),
        ("component of 256 bytes", tar().pax(b'x', &record("path", &long)).file(&long[..100], b"x")),
        ("name of 1026 bytes", tar().pax(b'x', &record("path", &far)).file(&far[..100], b"x")),
    ];
    expect_reasons(cases);
}

#[test]
fn hostile_kinds_and_headers_are_refused_by_rule() {
    let mode = |bits: &'static [u8; 8]| move |block: &mut [u8; 512]| block[100..108].copy_from_slice(bits);
    let text =
        |at: usize, text: &'static [u8]| move |block: &mut [u8; 512]| block[at..at + text.len()].copy_from_slice(text);
    let cases: Vec<(&str, Tar)> = vec![
        ("hard link", tar().file("a", b"x").header(b"b", b'1', 0, text(157, b"a"))),
        ("hard link", tar().header(b"b", b'1', 0, text(157, b"/etc/passwd"))),
        ("named pipe", tar().header(b"a", b'6', 0, |_| {})),
        ("device", tar().header(b"a", b'3', 0, text(329, b"0000001\x000000003"))),
        ("device", tar().header(b"a", b'4', 0, text(329, b"0000010\x000000000"))),
        ("contiguous", tar().header(b"a", b'7', 0, |_| {})),
        ("time before ustar", tar().header(b"a", 0, 0, |_| {})),
        ("unknown kind 'V'", tar().header(b"a", b'V', 0, |_| {})),
        ("GNU sparse", tar().header(b"a", b'S', 0, |_| {})),
        ("GNU long name", tar().header(b"././@LongLink", b'L', 4, |_| {}).body(b"../x").file("a", b"")),
        ("global pax", tar().pax(b'g', &record("path", "../evil")).file("a", b"x")),
        ("second pax", tar().pax(b'x', &record("path", "a")).pax(b'x', &record("path", "b")).file("a", b"x")),
        ("\"size\"", tar().pax(b'x', &record("size", "5")).file("a", b"")),
        ("\"GNU.sparse.major\"", tar().pax(b'x', &record("GNU.sparse.major", "1")).file("a", b"")),
        ("twice", tar().pax(b'x', &(record("path", "a") + &record("path", "b"))).file("a", b"")),
        ("other fields", tar().pax(b'x', &record("path", "short")).file("short", b"")),
        ("pax records, more than", tar().header(b"p", b'x', 1 << 30, |_| {})),
        ("set-user-id", tar().header(b"a", b'0', 0, mode(b"0004755\0"))),
        ("set-user-id", tar().header(b"a/", b'5', 0, mode(b"0002755\0"))),
        ("other fields", tar().header(b"a", b'0', 0, mode(b"0000666\0"))),
        ("other fields", tar().header(b"a", b'0', 0, text(136, b"14720000000"))),
        ("other fields", tar().header(b"a", b'0', 0, text(108, b"0001750"))),
        ("other fields", tar().header(b"a", b'0', 0, text(265, b"root"))),
        ("other fields", tar().header(b"a", b'0', 0, text(345, b"../.."))),
        ("other fields", tar().header(b"a", b'0', 0, text(157, b"target"))),
        ("not ustar", tar().header(b"a", b'0', 0, text(257, b"ustar  \0"))),
        ("wrong checksum", tar().header(b"a", b'0', 0, text(148, b"000001\0 "))),
        ("not an octal number", tar().header(b"a", b'0', 0, text(124, b"\x80\0\0\0\0\0\0\0\0\0\0\x05"))),
        ("not an octal number", tar().header(b"a", b'0', 0, text(124, b"-0000000005"))),
        ("without “/”", tar().folder("a")),
    ];
    expect_reasons(cases);
}

#[test]
fn hostile_trees_are_refused_by_rule() {
    let cases: Vec<(&str, Tar)> = vec![
        ("leads outside", tar().link("a", "../outside")),
        ("leads outside", tar().folder("d/").link("d/a", "../../outside")),
        ("absolute target", tar().link("a", "/etc/passwd")),
        ("inside its target", tar().link("a", "b/../../outside")),
        ("empty component", tar().link("a", "")),
        ("control character", tar().link("a", "b\u{7}")),
        ("under a symbolic link", tar().link("a", ".").file("a/evil", b"x")),
        ("under a symbolic link", tar().link("a", "b").folder("a/c/")),
        ("under a file", tar().file("a", b"x").file("a/b", b"x")),
        ("comes twice", tar().file("a", b"x").file("a", b"y")),
        ("comes twice", tar().link("a", "b").file("a", b"y")),
        ("comes twice", tar().folder("a/").folder("a/")),
        ("upper and lower case", tar().file("A", b"x").file("a", b"y")),
        ("upper and lower case", tar().folder("A/").file("a/b", b"y")),
        ("upper and lower case", tar().file("K", b"x").pax(b'x', &record("path", "\u{212a}")).file("___", b"y")),
        ("out of order", tar().file("b", b"x").file("a", b"y")),
        ("comes twice", tar().file("a", b"x").folder("a/")),
        ("no entry for its folder", tar().file("a/b", b"x")),
    ];
    expect_reasons(cases);
}

/// Every case is refused as a bad archive for the reason given; as many entries as can be are promised.
fn expect_reasons(cases: Vec<(&str, Tar)>) {
    for (reason, tar) in cases {
        let raw = tar.end();
        let error = refused(&raw, (raw.len() as u64 - 1024) / 512);
        assert_eq!(error.code, Code::BadArchive, "{reason}: {error}");
        assert!(error.message.contains(reason), "{reason}: {error}");
        assert!(!error.message.chars().any(char::is_control), "{error:?}");
    }
}

#[test]
fn lengths_that_lie_are_refused() {
    let many = |count| (0..count).fold(tar(), |tar, n| tar.file(&format!("f{n}"), b"x"));
    let mut no_end = tar().file("a", b"x").0;
    no_end.extend_from_slice(&[0; 512]);
    let mut goes_on = tar().file("a", b"x").end();
    goes_on.extend_from_slice(&tar().file("b", b"x").end());
    let mut zeros_after = tar().file("a", b"x").end();
    zeros_after.resize(10240, 0);
    let mut one_zero = tar().file("a", b"x").0;
    one_zero.extend_from_slice(&[0; 512]);
    one_zero.extend_from_slice(&tar().file("b", b"x").end());
    let dirty = tar().header(b"a", b'0', 1, |_| {}).body(&[1; 512]).end();
    let cases: Vec<(&str, Vec<u8>, u64)> = vec![
        ("ends without", no_end, 1),
        ("ends without", tar().file("a", b"x").file("b", b"x").0, 2),
        ("after its end", goes_on, 1),
        ("after its end", zeros_after, 1),
        ("goes on after a zero block", one_zero, 1),
        ("claims 1048576 bytes", tar().header(b"a", b'0', 1 << 20, |_| {}).body(b"x").end(), 1),
        ("bytes that are not zero", dirty, 1),
        ("one more than", many(3).end(), 2),
        ("1 entries fewer", many(2).end(), 3),
        ("ends without", tar().header(b"a", b'x', 600, |_| {}).body(&[b'x'; 600]).0, 0),
    ];
    for (reason, raw, entries) in cases {
        let error = refused(&raw, entries);
        assert_eq!(error.code, Code::BadArchive, "{reason}: {error}");
        assert!(error.message.contains(reason), "{reason}: {error}");
    }
}

#[test]
fn members_that_are_not_ours_are_refused() {
    let raw = tar().file("a", b"x").end();
    let length = raw.len() as u64;
    let good = member(&raw);
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        edit(&mut bytes);
        bytes
    };
    let last = good.len();
    let cases: Vec<(&str, Vec<u8>, u64)> = vec![
        ("more than the promised", member(&vec![0; 1 << 20]), length),
        ("inflates to 2048 bytes", good.clone(), length + 512),
        ("wrong trailer", edited(&|bytes| bytes[last - 1] ^= 1), length),
        ("wrong trailer", edited(&|bytes| bytes[last - 8] ^= 1), length),
        ("header", edited(&|bytes| bytes[3] = 8), length),
        ("header", edited(&|bytes| bytes[4] = 1), length),
        ("after its end", edited(&|bytes| bytes.splice(last - 8..last - 8, [0; 4]).for_each(drop)), length),
        ("after its end", edited(&|bytes| bytes.extend_from_slice(&member(b""))), length),
        // Its true trailer, and once more where a reader would look for it that does not know where the member ends.
        ("after its end", edited(&|bytes| bytes.extend_from_slice(&good[last - 8..])), length),
        ("after its end", edited(&|bytes| bytes.extend([&[7; 9], &good[last - 8..]].concat())), length),
        ("cut off", edited(&|bytes| drop(bytes.drain(last - 12..last - 8))), length),
        ("header", vec![0; 40], length),
        ("cannot be inflated", edited(&|bytes| bytes[10] = 0xff), length),
    ];
    for (reason, member, raw_length) in cases {
        let (bytes, manifest) = packed_members(&[(member, raw_length)], 1, Hash::of(b"whatever"));
        let error = refusal(&bytes, &manifest);
        assert_eq!(error.code, Code::BadArchive, "{reason}: {error}");
        assert!(error.message.contains(reason), "{reason}: {error}");
    }
}

#[test]
fn bytes_that_are_not_the_promised_ones_are_refused_before_they_are_inflated() {
    let raw = tar().file("a", b"x").end();
    let (bytes, manifest) = packed_raw(&raw, 1, Hash::of(b"another tree"));
    let mut longer = bytes.clone();
    longer.push(0);
    let mut cases = vec![bytes[..bytes.len() - 1].to_vec(), longer, Vec::new()];
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        cases.push(changed);
    }
    for case in &cases {
        assert_eq!(refusal(case, &manifest).code, Code::BadDigest);
    }
    // The right bytes with the wrong tree: the last check of all.
    let error = refusal(&bytes, &manifest);
    assert_eq!(error.code, Code::BadDigest);
    assert!(error.message.contains("tree"), "{error}");
}

#[test]
fn nothing_is_written_below_a_link_even_if_one_is_planted_in_the_staging_folder() {
    let temp = tempfile::tempdir().unwrap();
    let (staging, outside) = (temp.path().join("staging"), temp.path().join("outside"));
    std::fs::create_dir(&staging).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, staging.join("a")).unwrap();
    let (bytes, manifest) = packed_raw(&tar().folder("a/").file("a/b", b"x").end(), 2, Hash::of(b""));
    unpack(&file_of(&bytes), &sealed(&manifest), Folder::open(&staging).unwrap(), &mut |_| {}).unwrap_err();
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    // The staging folder itself a link.
    let link = temp.path().join("link");
    std::os::unix::fs::symlink(&outside, &link).unwrap();
    Folder::open(&link).err().unwrap();
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

/// Files and folders in several pieces, so that something can happen in between.
fn forest() -> (Vec<u8>, Manifest) {
    let temp = tempfile::tempdir().unwrap();
    let mut noise = vec![0; 300_000];
    for n in 0..12_u64 {
        let folder = temp.path().join(format!("d/e{n}"));
        std::fs::create_dir_all(&folder).unwrap();
        blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut noise);
        std::fs::write(folder.join("f"), &noise).unwrap();
    }
    let mut bytes = Vec::new();
    let packed = pack(temp.path(), &mut bytes).unwrap();
    (bytes, builder::manifest(1, packed))
}

#[test]
fn a_folder_that_becomes_a_link_while_it_is_unpacked_into_leads_nowhere() {
    let (bytes, manifest) = forest();
    let manifest = sealed(&manifest);
    assert!(manifest.pieces.len() > 4);
    for at in 2..=manifest.pieces.len() {
        let temp = tempfile::tempdir().unwrap();
        let [into, outside] = ["into", "outside"].map(|name| temp.path().join(name));
        std::fs::create_dir_all(&into).unwrap();
        std::fs::create_dir_all(outside.join("e3")).unwrap();
        std::fs::set_permissions(&outside, std::fs::Permissions::from_mode(0o700)).unwrap();
        let mut pieces = 0;
        let unpacked = unpack(&file_of(&bytes), &manifest, Folder::open(&into).unwrap(), &mut |_| {
            pieces += 1;
            if pieces == at && into.join("d").exists() {
                std::fs::rename(into.join("d"), temp.path().join("moved")).unwrap();
                std::os::unix::fs::symlink(&outside, into.join("d")).unwrap();
            }
        });
        let swapped = temp.path().join("moved").exists();
        assert!(swapped || at == 2, "piece {at}");
        if swapped && at < manifest.pieces.len() {
            assert_eq!(unpacked.unwrap_err().code, Code::Io);
        }
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
        assert_eq!(std::fs::read_dir(outside.join("e3")).unwrap().count(), 0);
        assert_eq!(std::fs::metadata(&outside).unwrap().permissions().mode() & 0o777, 0o700);
    }
}

#[test]
fn folders_that_are_links_every_other_moment_lead_nowhere() {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let (bytes, manifest) = forest();
    let manifest = sealed(&manifest);
    for _ in 0..10 {
        let temp = tempfile::tempdir().unwrap();
        let [into, outside, link] = ["into", "outside", "link"].map(|name| temp.path().join(name));
        std::fs::create_dir(&into).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::set_permissions(&outside, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink(&outside, &link).unwrap();
        let (folder, package) = (Folder::open(&into).unwrap(), file_of(&bytes));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _nothing_there = renameat_with(CWD, &link, CWD, into.join("d"), RenameFlags::EXCHANGE);
                }
            });
            let _refused = unpack(&package, &manifest, folder, &mut |_| {});
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
        assert_eq!(std::fs::metadata(&outside).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
