//! A registry that has the interface for referrers, which Debian's has not: `cargo xtask registry` builds it.

use super::Registry;
use crate::built;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

const PROGRAM: &str = "deployctl-live-registry";

impl Registry {
    /// Starts one that says itself what refers to an image; none, with a word about it, where it was not built.
    pub fn with_referrers() -> Option<Self> {
        let Some(program) = program() else {
            let lacking = "the registry with referrers is not there: `cargo xtask registry` builds it";
            assert_ne!(std::env::var("DEPLOYCTL_LIVE").as_deref(), Ok("all"), "{lacking}");
            eprintln!("skipped: {lacking}");
            return None;
        };
        let mut keeper = Command::new(program);
        let keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut keeper = keeper.expect("the registry starts");
        let mut port = String::new();
        let _ = BufReader::new(keeper.stdout.take().expect("a pipe")).read_line(&mut port);
        let address = format!("127.0.0.1:{}", port.trim());
        let folder = tempfile::tempdir().expect("a folder");
        Some(Self { address, login: None, has_tls: false, keeper: Some(keeper), folder })
    }
}

fn program() -> Option<PathBuf> {
    let go_mod = include_str!("../../registry/go.mod");
    let folder = built::folder("registry", go_mod, "github.com/google/go-containerregistry", PROGRAM)?;
    Some(folder.join(PROGRAM))
}
