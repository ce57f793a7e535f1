//! The specification parser: whatever the bytes, it ends, and refuses with at least one error or resolves everything.
//!
//! `cargo +nightly fuzz run spec -- -max_total_time=60`; the cases of the parser's tests make a good corpus:
//! `cargo +nightly fuzz run spec fuzz/corpus/spec crates/spec/tests/cases`.
#![no_main]

use deployctl_spec::{Source, Spec};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    // Two documents, split at a form feed, are a specification and its overlay.
    let sources: Vec<Source> = text
        .splitn(2, '\u{c}')
        .zip(["deployctl.yaml", "overlay.yaml"])
        .map(|(text, name)| Source { name: name.into(), text: text.into() })
        .collect();
    match Spec::parse(Path::new("/project"), sources) {
        Err(errors) => {
            assert!(errors.errors() > 0, "refused without a reason");
            let _ = errors.render(true);
        }
        Ok(spec) => {
            for environment in &spec.environments {
                assert_eq!(spec.order(&environment.name).len(), spec.apps().len());
            }
        }
    }
});
