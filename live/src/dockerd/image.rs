//! Images made from files of this machine.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An archive of these files (from, to), with the libraries that they need.
pub fn archive(files: &[(PathBuf, &str)]) -> Result<Vec<u8>, String> {
    let tree = tempfile::tempdir().map_err(|e| e.to_string())?;
    lay_out(files, tree.path())?;
    let mut tar = Command::new("tar");
    tar.args(["-c", "--owner=0", "--group=0", "-C"]).arg(tree.path()).arg(".");
    tar.output().map(|done| done.stdout).map_err(|e| format!("tar: {e}"))
}

/// Runs `docker import ... - NAME`, which takes the archive from its input.
pub fn import(mut command: Command, archive: &[u8]) -> Result<(), String> {
    let import = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut import = import.map_err(|e| format!("docker: {e}"))?;
    let given = import.stdin.take().map_or(Ok(()), |mut into| into.write_all(archive));
    let done = import.wait_with_output().map_err(|e| format!("docker: {e}"))?;
    let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    match (given, done.status.success()) {
        (Ok(()), true) => Ok(()),
        (Err(error), true) => Err(format!("docker import takes no archive: {error}")),
        (_, false) => Err(format!("docker import: {said}")),
    }
}

/// Copies files (from, to) into a folder that becomes the root of an image, with the libraries that they need.
fn lay_out(files: &[(PathBuf, &str)], tree: &Path) -> Result<(), String> {
    let put = |from: &Path, to: &str| {
        let to = tree.join(to.trim_start_matches('/'));
        let made = to.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| std::fs::copy(from, &to)).map_err(|e| format!("{}: {e}", from.display()))
    };
    for (from, to) in files {
        put(from, to)?;
    }
    for library in libraries(files)? {
        put(Path::new(&library), &library)?;
    }
    Ok(())
}

/// The shared libraries of programs, as `ldd` tells them.
fn libraries(files: &[(PathBuf, &str)]) -> Result<BTreeSet<String>, String> {
    let mut all = BTreeSet::new();
    for (file, _) in files {
        let told = Command::new("ldd").arg(file).output().map_err(|e| format!("ldd: {e}"))?;
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        all.extend(
            told.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':')).map(str::to_owned),
        );
    }
    Ok(all)
}
