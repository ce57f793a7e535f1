//! What strangers send about images: names, manifests, challenges, payloads, keys, programs, archives. Whatever the bytes,
//! reading them ends, and what was read means the same when it is read again.
//!
//! `cargo +nightly fuzz run oci -- -max_total_time=60`.
#![no_main]

use deployctl_oci::{Challenge, Document, Payload, Platform, PublicKey, Reference};
use deployctl_readiness::inspect::{self, Limits, secrets};
use deployctl_readiness::{Target, judge, sarif};
use libfuzzer_sys::fuzz_target;
use std::cell::OnceCell;
use std::path::PathBuf;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    match kind % 8 {
        0 => {
            if let Ok(reference) = text.parse::<Reference>() {
                assert_eq!(reference.to_string().parse(), Ok(reference));
            }
        }
        1 => drop(Document::parse(bytes)),
        2 => drop(Challenge::parse(&text)),
        3 => drop(Payload::parse(bytes)),
        4 => drop(PublicKey::parse(bytes).map(|key| assert!(!key.made(bytes, b"nobody signed this")))),
        5 => drop((inspect::start_of(bytes), text.parse::<Platform>())),
        6 => drop((secrets::in_file("app/.env", bytes), secrets::in_variable("TOKEN", &text))),
        _ => look(bytes),
    }
});

thread_local! {
    static FOLDER: OnceCell<PathBuf> = const { OnceCell::new() };
}

/// An archive of any kind, or an image in one.
fn look(bytes: &[u8]) {
    let folder = FOLDER.with(|folder| {
        let made = || {
            let path = std::env::temp_dir().join(format!("deployctl-fuzz-{}", std::process::id()));
            std::fs::create_dir_all(&path).expect("a folder");
            path
        };
        folder.get_or_init(made).clone()
    });
    let path = folder.join("shop-1.0-py3-none-any.whl");
    std::fs::write(&path, bytes).expect("a file");
    let platform = Platform::here();
    let limits = Limits { bytes_max: 1 << 20, entries_max: 1_000, file_bytes_max: 1 << 16 };
    if let Ok(subject) = inspect::path(&path, &platform, &limits) {
        let report = judge(subject, &platform, Target::ALL);
        assert_eq!(report.verdicts.len(), Target::ALL.len());
        drop(sarif::log(&report, "0"));
    }
}
