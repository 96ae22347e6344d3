//! Archives that other programs made, under a true signature and a manifest that is right in everything: who writes the
//! very tar that packages are gets it installed, and everything else is refused by the entry and the rule, or by the piece
//! that is no member of ours, with nothing left.

#![expect(clippy::disallowed_methods, reason = "runs other programs, and looks at what was installed")]

#[path = "support/built.rs"]
mod built;
#[path = "support/needs.rs"]
mod needs;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/tars.rs"]
mod tars;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use built::{Built, built, install};
use deployctl::message::SigningKey;
use deployctl::package::{Manifest, VerifiedManifest, tree};
use sandbox::Sandbox;
use tars::{member, promise};

/// What is in `$T`, by options that leave out owners and times.
const PLAIN: &str = "--sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner";
/// As packages are written, by Python: sorted, without owners and times, two zero blocks at the end.
const PYTHON: &str = r#"
import io, os, sys, tarfile
kind, place, out = sys.argv[1:4]
os.chdir(place)
names = sorted(os.path.relpath(os.path.join(at, n), '.') for at, ds, fs in os.walk('.') for n in ds + fs)
raw = io.BytesIO()
formats = {'ustar': tarfile.USTAR_FORMAT, 'pax': tarfile.PAX_FORMAT, 'gnu': tarfile.GNU_FORMAT}
with tarfile.open(fileobj=raw, mode='w', format=formats[kind.split('-')[0]]) as tar:
    for name in names:
        info = tar.gettarinfo(name)
        info.uid = info.gid = 0
        info.uname = info.gname = ''
        info.mtime = 1.5 if 'times' in kind else 0
        info.mode = 0o777 if info.issym() else 0o755 if info.mode & 0o100 else 0o644
        if 'comment' in kind:
            info.pax_headers = {'comment': 'hello'}
        tar.addfile(info, open(name, 'rb') if info.isfile() else None)
    end = tar.offset
raw = raw.getvalue()[:end + 1024]
open(out, 'wb').write(raw)
"#;

struct Stage {
    sandbox: Sandbox,
    like: Manifest,
    tree: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.init_nowhere("n");
        let built = built(&sandbox, "1.0.0", "one").resigned();
        sandbox.trust("n", "maker", &format!("deploy://{}", built.signer), "provide");
        let bytes = fs::read(&built.manifest).expect("a manifest");
        let manifest = VerifiedManifest::open(&bytes, &built.signer.parse().expect("a key")).expect("a true manifest");
        let tree = sandbox.path().join("tree");
        fs::create_dir_all(tree.join("bin")).expect("a folder");
        fs::write(tree.join("bin/run"), "#!/bin/sh\necho hello\n").expect("a file");
        fs::write(tree.join("note"), "a note\n").expect("a file");
        fs::set_permissions(tree.join("bin/run"), fs::Permissions::from_mode(0o755)).expect("a mode");
        fs::set_permissions(tree.join("note"), fs::Permissions::from_mode(0o644)).expect("a mode");
        symlink("note", tree.join("link")).expect("a link");
        Self { sandbox, like: (*manifest).clone(), tree }
    }
    /// What a program writes to `$O`, told to archive the tree `$T`.
    fn made_by(&self, script: &str) -> Vec<u8> {
        let out = self.sandbox.path().join("made");
        let _none_yet = fs::remove_file(&out);
        let mut shell = Command::new("sh");
        shell.args(["-ec", script]).env("T", &self.tree).env("O", &out).env("P", PYTHON).current_dir(&self.tree);
        let output = shell.output().expect("a shell");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        fs::read(out).expect("it wrote an archive")
    }
    /// How many entries bsdtar finds in it.
    fn entries(&self) -> u64 {
        let listed = Command::new("bsdtar").arg("-tf").arg(self.sandbox.path().join("made")).output().expect("bsdtar");
        listed.stdout.split_inclusive(|byte| *byte == b'\n').count() as u64
    }
    /// A program of these pieces, each with its raw length, with a manifest that is true.
    fn signed(&self, pieces: &[(Vec<u8>, u64)], entries: u64) -> Built {
        let mut manifest = self.like.clone();
        let bytes = promise(&mut manifest, pieces, entries, tree::hash_folder(&self.tree).expect("a tree"));
        let key = SigningKey::from_seed(&[3; 32]).expect("a key");
        let at = |name: &str| self.sandbox.path().join(name).to_string_lossy().into_owned();
        let built = Built { package: at("x.tar.gz"), manifest: at("x.json"), signer: key.key().to_string() };
        fs::write(&built.package, bytes).expect("a package");
        fs::write(&built.manifest, manifest.seal(&key).to_json()).expect("a manifest");
        built
    }
    fn installs(&self, built: &Built) -> PathBuf {
        self.sandbox.state("n").join("installs/programs").join(&built.signer).join("tool")
    }
    /// Installs it, with exactly the tree in it, and removes it.
    fn takes(&self, built: &Built, what: &str) {
        let told = install(&self.sandbox, built, &["--yes"]);
        assert_eq!(told.code, 0, "{what}: {told:#?}");
        let folder = told.ok()["folder"].as_str().expect("a folder").to_owned();
        let [here, there] = [Path::new(&folder), &self.tree].map(|tree| tree::hash_folder(tree).expect("a tree"));
        assert_eq!(here, there, "{what}");
        self.sandbox.run("n", &["remove", "tool"]).ok();
    }
    /// What is wrong with how it is refused: the exit code, the words, or what is left.
    fn refuses(&self, built: &Built, what: &str, words: &[&str]) -> Option<String> {
        let told = install(&self.sandbox, built, &["--yes"]);
        let fits = told.code == 8 && words.iter().all(|word| told.stderr.replace("\\\"", "\"").contains(word));
        let is_left = self.installs(built).exists();
        (!fits || is_left).then(|| format!("{what}: {} {} left: {is_left}", told.code, told.stderr))
    }
}

#[test]
fn tars_of_other_programs_are_taken_only_as_packages_are_written() {
    if !needs::has(&["tar", "bsdtar", "python3"]) {
        return;
    }
    let stage = Stage::new();
    let python = |kind: &str| format!("python3 -c \"$P\" {kind} \"$T\" \"$O\"");
    let gnu = |options: &str| format!("tar -b1 -cf \"$O\" {options} bin link note");
    let raw = stage.made_by(&gnu(&format!("--format=ustar {PLAIN}")));
    stage.takes(&stage.signed(&[(member(&raw), raw.len() as u64)], 4), "GNU tar, ustar");
    let owned = "has a header with owners, times, modes or other fields";
    let bad = [
        ("python, ustar", python("ustar"), "\"bin\"", owned),
        ("python, gnu", python("gnu"), "\"bin/\"", "not ustar"),
        ("python, pax with times", python("pax-times"), "\"bin/\"", "the pax record \"mtime\""),
        ("python, pax with a comment", python("pax-comment"), "\"bin/\"", "the pax record \"comment\""),
        ("GNU tar, setuid", gnu(&format!("--format=ustar --mode=u+s {PLAIN}")), "\"bin", "set-user-id"),
        (
            "GNU tar, padded",
            gnu(&format!("--format=ustar {PLAIN}")) + "; head -c 1024 /dev/zero >> \"$O\"",
            "tar",
            "1024 bytes after its end",
        ),
        ("GNU tar, its own", gnu(&format!("--format=gnu {PLAIN}")), "\"bin/\"", "not ustar"),
        ("GNU tar, v7", gnu(&format!("--format=v7 {PLAIN}")), "\"bin/\"", "not ustar"),
        ("GNU tar, with times", gnu("--format=ustar"), "\"bin\"", owned),
        ("GNU tar, pax", gnu("--format=pax"), "pax", "bin"),
        ("GNU tar, from the folder itself", "tar -b1 -cf \"$O\" --format=ustar .".into(), "\".\"", owned),
        (
            "GNU tar, sparse",
            "truncate -s 1M ../hole; tar -b1 --format=gnu --sparse -C .. -cf \"$O\" hole".into(),
            "\"hole\"",
            "not ustar",
        ),
        (
            "GNU tar, a hard link",
            "ln -f note ../other; ln -f note ../another; tar -b1 --format=ustar -C .. -cf \"$O\" another other; rm ../other ../another".into(),
            "\"another\"",
            owned,
        ),
        ("GNU tar, absolute", format!("tar -b1 -P --format=ustar {PLAIN} -cf \"$O\" \"$T/note\""), "note\"", "absolute"),
        ("bsdtar, ustar", "bsdtar --format ustar -b1 -cf \"$O\" bin link note".into(), "\"bin\"", owned),
        ("bsdtar, pax", "bsdtar --format pax -b1 -cf \"$O\" bin link note".into(), "bin", "pax"),
        ("bsdtar, gnutar", "bsdtar --format gnutar -b1 -cf \"$O\" bin link note".into(), "\"bin/\"", "not ustar"),
    ];
    let wrong = bad.into_iter().filter_map(|(what, script, entry, rule)| {
        let raw = stage.made_by(&script);
        stage.refuses(&stage.signed(&[(member(&raw), raw.len() as u64)], stage.entries()), what, &[entry, rule])
    });
    assert_eq!(wrong.collect::<String>(), "");
}

#[test]
fn what_other_programs_compressed_is_refused_by_its_piece() {
    if !needs::has(&["tar", "bsdtar", "python3", "gzip"]) {
        return;
    }
    let stage = Stage::new();
    let raw = stage.made_by(&format!("tar -b1 -cf \"$O\" --format=ustar {PLAIN} bin link note"));
    let length = raw.len() as u64;
    fs::write(stage.sandbox.path().join("plain"), &raw).expect("a tar");
    let header = "does not begin with the one header allowed";
    for (what, script) in [
        ("gzip", "gzip -9nc ../plain > \"$O\""),
        ("gzip with a name and a time", "gzip -c ../plain > \"$O\""),
        ("gzip --rsyncable", "gzip -n --rsyncable -c ../plain > \"$O\""),
        ("bsdtar, gzip", "bsdtar --format ustar -czf \"$O\" bin link note"),
        ("bsdtar, zstd", "bsdtar --zstd -cf \"$O\" bin link note"),
        ("bsdtar, xz", "bsdtar -cJf \"$O\" bin link note"),
        ("bsdtar, zip", "bsdtar --format zip -cf \"$O\" bin link note"),
        ("bsdtar, 7zip", "bsdtar --format 7zip -cf \"$O\" bin link note"),
        ("bsdtar, cpio", "bsdtar --format newc -cf \"$O\" bin link note"),
        ("not compressed", "cp ../plain \"$O\""),
    ] {
        let bytes = stage.made_by(script);
        let wrong = stage.refuses(&stage.signed(&[(bytes, length)], 4), what, &["piece at byte 0", header]);
        assert_eq!(wrong, None);
    }
    // Two members where the manifest names one piece; the same two as the pieces that they are.
    let halves = [&raw[..512], &raw[512..]].map(|half| (member(half), half.len() as u64));
    let both = [halves[0].0.as_slice(), &halves[1].0].concat();
    let one = stage.signed(&[(both, length)], 4);
    assert_eq!(stage.refuses(&one, "two members as one piece", &["piece at byte 0"]), None);
    stage.takes(&stage.signed(&halves, 4), "two members as two pieces");
}
