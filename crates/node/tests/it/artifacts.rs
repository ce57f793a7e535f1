//! Artifacts of every kind, good and bad.

use crate::world::*;
use deployctl_core::config::{Artifact, ArtifactFormat, ArtifactSource};
use deployctl_core::id::Sha256Hex;
use deployctl_node::artifacts::{IngestError, IngestKind, Limits, Store};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

struct Bench {
    at: TempDir,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        let at = tempfile::tempdir().unwrap();
        let store = Store::new(&at.path().join("state")).with_spare(Duration::ZERO);
        Self { at, store }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.at.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn ingest(&self, path: &Path) -> Result<Artifact, IngestError> {
        self.store.ingest(&ArtifactSource::Path(path.display().to_string()), None)
    }

    fn refused(&self, path: &Path) -> IngestError {
        let error = self.ingest(path).unwrap_err();
        self.nothing_is_left();
        error
    }

    fn nothing_is_left(&self) {
        for folder in ["blobs", "trees", "tmp"] {
            let entries = fs::read_dir(self.at.path().join("state/artifacts").join(folder));
            let left: Vec<_> = entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Trees are read-only; who is not root must open them before they can be removed.
        let _ = self.store.retain(&[]);
    }
}

/// What one entry of a test's archive is.
enum Entry<'a> {
    File(&'a str, u32, &'a [u8]),
    Special(&'a str, tar::EntryType, &'a str),
}

fn tar_of(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        let (name, link, bytes) = match entry {
            Entry::File(name, mode, bytes) => {
                header.set_mode(*mode);
                (name, "", *bytes)
            }
            Entry::Special(name, kind, link) => {
                header.set_entry_type(*kind);
                header.set_mode(0o755);
                (name, *link, &[][..])
            }
        };
        // Names that the builder itself would refuse go in as bytes.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        builder.append(&header, bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn good_tar() -> Vec<u8> {
    tar_of(&[
        Entry::Special("bin/", tar::EntryType::Directory, ""),
        Entry::File("bin/run", 0o755, b"#!/bin/sh\n"),
        Entry::File("./data.txt", 0o600, b"data"),
        Entry::Special("bin/link", tar::EntryType::Symlink, "../data.txt"),
        Entry::Special("second", tar::EntryType::Link, "bin/run"),
    ])
}

fn is_good(bench: &Bench, artifact: &Artifact) {
    let tree = bench.store.tree(artifact);
    let mode = |name: &str| fs::metadata(tree.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(fs::read(tree.join("bin/link")).unwrap(), b"data");
    assert_eq!((mode("bin/run"), mode("data.txt"), mode("bin"), mode(".")), (0o555, 0o444, 0o555, 0o555));
}

#[test]
fn archives_of_every_kind() {
    let bench = Bench::new();
    let tar = good_tar();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("bin/run", options.unix_permissions(0o755)).unwrap();
    zip.write_all(b"#!/bin/sh\n").unwrap();
    zip.start_file("data.txt", options.unix_permissions(0o644)).unwrap();
    zip.write_all(b"data").unwrap();
    zip.add_symlink("bin/link", "../data.txt", options).unwrap();
    let zip = zip.finish().unwrap().into_inner();
    for (name, bytes, format) in [
        ("a.tar.gz", gz(&tar), ArtifactFormat::TarGz),
        ("a.tar.zst", zstd::encode_all(&tar[..], 1).unwrap(), ArtifactFormat::TarZst),
        ("a.tar", tar.clone(), ArtifactFormat::Tar),
        ("a.zip", zip, ArtifactFormat::Zip),
    ] {
        let artifact = bench.ingest(&bench.file(name, &bytes)).unwrap();
        assert_eq!(artifact, Artifact { sha256: Sha256Hex::of(&bytes), format }, "{name}");
        is_good(&bench, &artifact);
        assert_eq!(bench.ingest(&bench.file(name, &bytes)).unwrap(), artifact, "again");
    }
    assert!(fs::read_dir(bench.at.path().join("state/artifacts/tmp")).unwrap().next().is_none());
}

/// Several environments get the same new version at once: who has it may start from it, whatever the others still do.
#[test]
fn the_same_bytes_taken_in_at_once_never_go_away_again() {
    let bench = Bench::new();
    let path = bench.file("app.tar.gz", &gz(&good_tar()));
    let (ready, left) = (std::sync::Barrier::new(8), std::sync::atomic::AtomicUsize::new(8));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                ready.wait();
                let artifact = bench.ingest(&path).unwrap();
                left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                loop {
                    let last = left.load(std::sync::atomic::Ordering::SeqCst) == 0;
                    assert_eq!(fs::read(bench.store.tree(&artifact).join("bin/link")).unwrap(), b"data");
                    if last {
                        return;
                    }
                }
            });
        }
    });
}

#[test]
fn a_folder_has_the_same_digest_whenever_the_same_is_in_it() {
    let bench = Bench::new();
    let make = |name: &str, first: &str, second: &str| {
        let folder = bench.at.path().join(name);
        fs::create_dir_all(folder.join("bin")).unwrap();
        for file in [first, second] {
            fs::write(folder.join(file), file).unwrap();
        }
        fs::write(folder.join("bin/run"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(folder.join("bin/run"), fs::Permissions::from_mode(0o700)).unwrap();
        symlink("../a", folder.join("bin/link")).unwrap();
        folder
    };
    let one = bench.ingest(&make("one", "a", "b")).unwrap();
    let two = bench.ingest(&make("two", "b", "a")).unwrap();
    assert_eq!(one, two);
    assert_eq!(one.format, ArtifactFormat::Tar);
    let tree = bench.store.tree(&one);
    assert_eq!(fs::read_to_string(tree.join("bin/link")).unwrap(), "a");
    assert_eq!(fs::metadata(tree.join("bin/run")).unwrap().permissions().mode() & 0o777, 0o555);
    fs::write(bench.at.path().join("two/a"), "changed").unwrap();
    assert_ne!(bench.ingest(&bench.at.path().join("two")).unwrap(), one);
}

#[test]
fn a_file_is_executable_under_its_name() {
    let bench = Bench::new();
    let artifact = bench.ingest(&bench.file("shop-v1", b"#!/bin/sh\n")).unwrap();
    let same = bench.ingest(&bench.file("shop-v2", b"#!/bin/sh\n")).unwrap();
    assert_eq!((&artifact, artifact.format), (&same, ArtifactFormat::File));
    for name in ["shop-v1", "shop-v2", "artifact"] {
        let mode = fs::metadata(bench.store.tree(&artifact).join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o555, "{name}");
    }
}

#[test]
fn what_could_do_harm_is_refused_and_leaves_nothing() {
    use tar::EntryType::{Block, Char, Fifo, Link, Symlink};
    let bench = Bench::new();
    let file = |name| Entry::File(name, 0o644, b"x");
    for (entries, why) in [
        (vec![file("../evil")], "the entry `../evil` is outside of the archive (`..`)"),
        (vec![file("a/../../evil")], "the entry `a/../../evil` is outside of the archive (`..`)"),
        (vec![file("/etc/evil")], "the entry `/etc/evil` is of an absolute path"),
        (vec![Entry::Special("l", Symlink, "/etc/passwd")], "the link `l` points outside: `/etc/passwd`"),
        (vec![Entry::Special("l", Symlink, "../x")], "the link `l` points outside: `../x`"),
        (
            vec![Entry::Special("d", Symlink, "."), Entry::Special("l", Symlink, "d/../x")],
            "the link `l` points outside: `d/../x`",
        ),
        (vec![Entry::Special("d", Symlink, "."), file("d/x")], "`d/x` lies below `d`, which is no folder"),
        (vec![Entry::Special("l", Link, "/etc/passwd")], "the entry `/etc/passwd` is of an absolute path"),
        (vec![Entry::Special("l", Link, "later")], "the link `l` points at no file of the archive before it"),
        (vec![Entry::Special("n", Char, "")], "the entry `n` is a device"),
        (vec![Entry::Special("n", Block, "")], "the entry `n` is a device"),
        (vec![Entry::Special("n", Fifo, "")], "the entry `n` is a FIFO"),
        (vec![file("a"), file("b"), file("./a")], "the archive has `a` twice"),
    ] {
        let path = bench.file("bad.tar.gz", &gz(&tar_of(&entries)));
        let error = bench.refused(&path);
        assert_eq!(error.message, format!("{}: {why}", path.display()));
        assert_eq!(error.kind, IngestKind::Refused);
    }
    assert!(!bench.at.path().join("evil").exists() && !bench.at.path().join("state/evil").exists());
}

#[test]
fn archives_that_unpack_to_too_much() {
    let mut bench = Bench::new();
    let limits = Limits { unpacked_bytes_max: 10_000, entries_max: 5, packed_bytes_max: 50_000, ..Limits::default() };
    bench.store = bench.store.clone().with_limits(limits);
    let bomb = bench.file("bomb.tar.gz", &gz(&tar_of(&[Entry::File("big", 0o644, &[0; 20_000])])));
    assert!(fs::metadata(&bomb).unwrap().len() < 1000);
    let error = bench.ingest(&bomb).unwrap_err();
    assert!(error.message.ends_with("the archive unpacks to more than 10000 bytes"), "{error}");
    let many = bench.file("many.tar", &tar_of(&[Entry::File("a/b/c/d/e", 0o644, b""), Entry::File("f", 0o644, b"")]));
    assert!(bench.ingest(&many).unwrap_err().message.ends_with("the archive has more than 5 files, folders and links"));
    let large = bench.file("large", &[1; 60_000]);
    assert_eq!(bench.ingest(&large).unwrap_err().message, "the artifact has more than 50000 bytes");
}

#[test]
fn what_is_not_there_or_not_what_it_seems() {
    let bench = Bench::new();
    let missing = bench.at.path().join("shop-v9.9.9.tar.gz");
    let error = bench.refused(&missing);
    assert_eq!(error.kind, IngestKind::NotFound);
    assert_eq!(error.message, format!("there is no artifact at {}", missing.display()));
    let whole = gz(&good_tar());
    for (name, bytes) in [
        ("cut.tar.gz", &whole[..whole.len() - 9]),
        ("flipped.tar.gz", &[&whole[..whole.len() - 5], &[0xff; 5][..]].concat()),
        ("text.tar.gz", b"<html>not found</html>"),
        ("text.tar.zst", b"<html>not found</html>"),
        ("text.zip", b"<html>not found</html>"),
        ("half.zip", b"PK\x03\x04 and no more"),
        ("empty.tar", b""),
        ("empty.tar.gz", b""),
    ] {
        let error = bench.refused(&bench.file(name, bytes));
        assert_eq!(error.kind, IngestKind::Corrupt, "{name}: {error}");
        assert!(error.message.contains(name), "{error}");
    }
    let path = bench.file("shop.tar.gz", &whole);
    let expected = Sha256Hex::of(b"other");
    let error = bench.store.ingest(&ArtifactSource::Path(path.display().to_string()), Some(&expected)).unwrap_err();
    let wanted = format!("{} has the sha256 {}, expected was {expected}", path.display(), Sha256Hex::of(&whole));
    assert_eq!((error.kind, error.message), (IngestKind::WrongDigest, wanted));
    bench.nothing_is_left();
}

#[test]
fn what_is_kept_stays_and_the_rest_goes() {
    let bench = Bench::new();
    let kept = bench.ingest(&bench.file("a", b"a")).unwrap();
    let gone = bench.ingest(&bench.file("b.tar", &good_tar())).unwrap();
    assert_eq!(bench.store.retain(std::slice::from_ref(&kept.sha256)).unwrap(), 1);
    assert!(bench.store.tree(&kept).is_dir() && !bench.store.tree(&gone).exists());
    assert_eq!(bench.store.ensure(&gone).unwrap_err().kind, IngestKind::NotFound);
    // A tree that was lost is made from its bytes again.
    let kept_tree = bench.store.tree(&kept);
    fs::set_permissions(&kept_tree, fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_dir_all(&kept_tree).unwrap();
    assert_eq!(fs::read(bench.store.ensure(&kept).unwrap().join("artifact")).unwrap(), b"a");
    let spared = Store::new(&bench.at.path().join("state"));
    assert_eq!(spared.retain(&[]).unwrap(), 0, "taken in a moment ago");
}

/// A server of one answer; returns its address.
fn server(answer: Vec<u8>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 2048];
        let _ = stream.read(&mut head).unwrap();
        let _ = stream.write_all(&answer);
    });
    format!("http://{address}")
}

fn http(status: &str, body: &[u8], length: usize) -> Vec<u8> {
    [format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n").as_bytes(), body].concat()
}

#[test]
fn downloads() {
    let bench = Bench::new();
    let bytes = gz(&good_tar());
    let base = server(http("200 OK", &bytes, bytes.len()));
    let artifact = bench.store.ingest(&ArtifactSource::Url(format!("{base}/v1/shop.tar.gz?x=1")), None).unwrap();
    assert_eq!(artifact, Artifact { sha256: Sha256Hex::of(&bytes), format: ArtifactFormat::TarGz });
    is_good(&bench, &artifact);
    bench.store.retain(&[]).unwrap();
    for (answer, kind, why) in [
        (http("404 Not Found", b"", 0), IngestKind::NotFound, "there is no artifact at URL (404 Not Found)"),
        (http("403 Forbidden", b"", 0), IngestKind::Unreadable, "URL may not be read (403 Forbidden)"),
        (
            http("503 Service Unavailable", b"", 0),
            IngestKind::Unreachable,
            "URL cannot be fetched: the server answered 503 Service Unavailable",
        ),
        (http("200 OK", &bytes[..20], bytes.len()), IngestKind::Unreachable, "URL cannot be fetched: "),
    ] {
        let base = server(answer);
        let url = format!("{}/shop.tar.gz", base.replace("//", "//user:secret@"));
        let error = bench.store.ingest(&ArtifactSource::Url(url), None).unwrap_err();
        let shown = error.message.replace(&format!("{base}/shop.tar.gz"), "URL");
        assert_eq!(error.kind, kind, "{error}");
        assert!(shown.starts_with(why), "{shown}");
        assert!(!error.message.contains("secret"), "{error}");
        bench.nothing_is_left();
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = bench.store.ingest(&ArtifactSource::Url(format!("http://{closed}/a.zip")), None).unwrap_err();
    assert_eq!(error.kind, IngestKind::Unreachable, "{error}");
}

#[test]
fn what_a_killed_process_left_half_done_is_removed() {
    let bench = Bench::new();
    let half = bench.at.path().join("state/artifacts/tmp/1-1-0/tree/sub");
    fs::create_dir_all(&half).unwrap();
    let own = deployctl_sys::process::Identity::own().unwrap();
    let at_work = bench.at.path().join(format!("state/artifacts/tmp/{}-{}-0", own.pid, own.start));
    fs::create_dir_all(&at_work).unwrap();
    let _ = Store::new(&bench.at.path().join("state"));
    assert!(!half.exists());
    assert!(at_work.exists(), "who lives may be at work");
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let bench = Bench::new();
    let disk = bench.at.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(&disk)
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        skipped("a full disk", "the right to mount");
        return;
    }
    let store = Store::new(&disk);
    let large = bench.file("large", &[7; 200_000]);
    let error = store.ingest(&ArtifactSource::Path(large.display().to_string()), None).unwrap_err();
    let small = bench.file("small", b"fits");
    let fits = store.ingest(&ArtifactSource::Path(small.display().to_string()), None);
    let unmounted = std::process::Command::new("umount").arg(&disk).status().unwrap();
    assert_eq!(error.kind, IngestKind::Full, "{error}");
    assert!(error.message.starts_with("no space is left for "), "{error}");
    fits.unwrap();
    assert!(unmounted.success());
}

#[tokio::test]
async fn an_instance_runs_from_its_artifact_and_cannot_change_it() {
    use deployctl_core::instance::Instances;
    let world = World::new();
    let source = world.state.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("start"), "#!/bin/sh\necho from $PWD with $(cat config)\nexec sleep 1000\n").unwrap();
    fs::set_permissions(source.join("start"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(source.join("config"), "its config").unwrap();
    let node = world.node();
    let from = ArtifactSource::Path(source.display().to_string());
    let artifact = node.artifacts().ingest(&from, None).unwrap();
    let mut app = App::new("api", vec![text("start")]);
    app.artifact = Some(artifact.clone());
    let spec = app.instance(0);
    node.start(&spec, FENCE).await.unwrap();
    until_ready(&node, &spec).await;
    assert_eq!(node.artifacts_in_use().await.unwrap(), std::slice::from_ref(&artifact.sha256));
    let tree = node.artifacts().tree(&artifact);
    let log = fs::read_to_string(folder(&world, &spec).log()).unwrap();
    assert_eq!(log, format!("from {} with its config\n", tree.display()));
    assert_eq!(fs::metadata(&tree).unwrap().permissions().mode() & 0o222, 0);
}
