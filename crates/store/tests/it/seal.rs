//! Keys, sealed values, signatures.

use deployctl_core::config::SecretRef;
use deployctl_core::id::Sha256Hex;
use deployctl_core::instance::SecretValues;
use deployctl_store::seal::{Key, KeyError, SealError, SealedSecrets};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

fn values(pairs: &[(&str, &[u8])]) -> SecretValues {
    SecretValues(pairs.iter().map(|(name, value)| (SecretRef((*name).into()), Arc::from(*value))).collect())
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_key_is_made_once_and_then_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let keys: Vec<String> = std::thread::scope(|scope| {
        let made: Vec<_> = (0..8).map(|_| scope.spawn(|| Key::load_or_create(&path).unwrap().sign(b"x"))).collect();
        made.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(keys.iter().all(|signature| *signature == keys[0]), "all that begin at once have one key");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(Key::parse(&text).unwrap().sign(b"x"), keys[0], "the file's text is the key by reference");
    let other = Key::load_or_create(&folder.path().join("other")).unwrap();
    assert_ne!(other.sign(b"x"), keys[0]);
    assert_eq!(format!("{other:?}"), "Key(masked)");
}

#[test]
fn a_bad_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    Key::load_or_create(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let exposed = Key::load_or_create(&path).unwrap_err();
    assert_eq!(exposed.to_string(), format!("the key {} has mode 0640: others may read it", path.display()));
    assert!(exposed.hint().starts_with("run chmod 600 on it"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    for bad in ["", "abc", &"g".repeat(64), &"a".repeat(66), &"a".repeat(5000)] {
        fs::write(&path, bad).unwrap();
        assert!(matches!(Key::load_or_create(&path), Err(KeyError::Malformed { .. })), "{bad}");
        assert_eq!(fs::read_to_string(&path).unwrap(), bad, "it is left as it is");
    }
    let nowhere = Key::load_or_create(&folder.path().join("none/key")).unwrap_err();
    assert!(matches!(nowhere, KeyError::Io { .. }));
}

#[test]
fn digests_tell_changes_and_nothing_else() {
    let (one, two) = (Key::parse(&"1".repeat(64)).unwrap(), Key::parse(&"2".repeat(64)).unwrap());
    let (a, ab) = (SecretRef("env:A".into()), SecretRef("env:AB".into()));
    let digest = one.digest(&a, b"value");
    assert_eq!(digest, one.digest(&a, b"value"));
    for other in [one.digest(&a, b"valuf"), one.digest(&ab, b"value"), two.digest(&a, b"value")] {
        assert_ne!(digest, other);
    }
    assert_ne!(one.digest(&a, b"Bvalue"), one.digest(&ab, b"value"), "a name does not flow into its value");
    assert_ne!(digest, Sha256Hex::of(b"value"));
}

#[test]
fn signatures() {
    let key = Key::parse(&"1".repeat(64)).unwrap();
    let signature = key.sign(b"the plan");
    assert!(key.verify(b"the plan", &signature));
    assert!(!key.verify(b"the plan.", &signature));
    assert!(!Key::parse(&"2".repeat(64)).unwrap().verify(b"the plan", &signature));
    for bad in [
        "",
        "zz",
        &signature[..62],
        &signature.replace(&signature[..1], if signature.starts_with('0') { "1" } else { "0" }),
    ] {
        assert!(!key.verify(b"the plan", bad), "{bad}");
    }
    let (length, reference) = (0_u64.to_be_bytes(), SecretRef(String::new()));
    assert_ne!(key.sign(&length), key.digest(&reference, b"").as_str(), "a digest is no signature of the same bytes");
}

#[test]
fn sealed_values_come_back_and_are_no_plain_text() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::parse(&"1".repeat(64)).unwrap();
    let sealed = SealedSecrets::open(&folder.path().join("secrets"), &key).unwrap();
    let (a, b, c) = (Sha256Hex::of(b"a"), Sha256Hex::of(b"b"), Sha256Hex::of(b"c"));
    let secret = values(&[("env:TOKEN", b"hunter2hunter2"), ("file:/x", b"\0\xff\n"), ("env:EMPTY", b"")]);
    sealed.put(&a, &secret).unwrap();
    sealed.put(&b, &values(&[])).unwrap();
    let again = SealedSecrets::open(&folder.path().join("secrets"), &key).unwrap();
    assert_eq!(again.get(&a).unwrap().unwrap().0, secret.0);
    assert!(again.get(&b).unwrap().unwrap().0.is_empty());
    assert!(again.get(&c).unwrap().is_none());
    let path = folder.path().join("secrets").join(format!("{a}.sealed"));
    let file = fs::read(&path).unwrap();
    for plain in [&b"hunter2"[..], b"TOKEN"] {
        assert!(!file.windows(plain.len()).any(|w| w == plain));
    }
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    sealed.put(&a, &secret).unwrap();
    assert_ne!(fs::read(&path).unwrap(), file, "each sealing has its own nonce");
    assert_eq!(format!("{:?}", again.get(&a).unwrap()), "Some(SecretValues(3 masked))");
    assert_eq!(sealed.retain(std::slice::from_ref(&b)).unwrap(), 1);
    assert!(sealed.get(&a).unwrap().is_none() && sealed.get(&b).unwrap().is_some());
}

#[test]
fn what_was_altered_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::parse(&"1".repeat(64)).unwrap();
    let sealed = SealedSecrets::open(folder.path(), &key).unwrap();
    let (a, b) = (Sha256Hex::of(b"a"), Sha256Hex::of(b"b"));
    sealed.put(&a, &values(&[("env:TOKEN", b"hunter2")])).unwrap();
    let (path, other) = (folder.path().join(format!("{a}.sealed")), folder.path().join(format!("{b}.sealed")));
    let whole = fs::read(&path).unwrap();
    fs::write(&other, &whole).unwrap();
    let refused = sealed.get(&b).unwrap_err();
    let why = "were altered, or sealed by another key or for another release";
    assert_eq!(refused.to_string(), format!("the sealed secrets {} {why}", other.display()));
    for n in 0..whole.len() {
        let mut altered = whole.clone();
        altered[n] ^= 1;
        fs::write(&path, &altered).unwrap();
        assert!(matches!(sealed.get(&a), Err(SealError::Altered { .. })), "byte {n}");
        fs::write(&path, &whole[..n]).unwrap();
        assert!(matches!(sealed.get(&a), Err(SealError::Altered { .. })), "{n} bytes");
    }
    fs::write(&path, &whole).unwrap();
    let stranger = SealedSecrets::open(folder.path(), &Key::parse(&"2".repeat(64)).unwrap()).unwrap();
    assert!(matches!(stranger.get(&a), Err(SealError::Altered { .. })));
    assert!(sealed.get(&a).unwrap().is_some());
}
