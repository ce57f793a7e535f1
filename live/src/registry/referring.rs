//! A registry that has the interface for referrers, which Debian's has not: `cargo xtask registry` builds it.

use super::Registry;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

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
    let var = |name| std::env::var_os(name).map(PathBuf::from);
    let base = var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache")))?.join("deployctl-ci");
    let folders = std::fs::read_dir(base).ok()?.flatten().map(|entry| entry.path());
    let mut programs = folders.map(|folder| folder.join("deployctl-live-registry"));
    programs.find(|program| program.is_file())
}
