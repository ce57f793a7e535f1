//! Values of secrets as files in memory, mounted into the containers of a release. Never in an environment, a label, an
//! image or a file on a disk.

use crate::compose;
use crate::docker::Inner;
use crate::labels;
use deployctl_core::config::{DockerConfig, SecretRef};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::Sha256Hex;
use deployctl_runner::trouble::trouble;
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where they are in a container.
pub(crate) const INSIDE: &str = "/run/secrets";
/// A file system in memory on every Linux.
const MEMORY: &str = "/dev/shm";

impl Inner {
    /// The folder of this state's secrets, which nobody else may enter.
    fn secrets_root(&self) -> Result<PathBuf, Fault> {
        Ok(Path::new(MEMORY).join(format!("deployctl-{}", self.engine()?.identity.state)))
    }

    /// Writes the secrets of a release, where they are missing; none if it has none.
    pub(crate) fn put_secrets(&self, release: &Sha256Hex, config: &DockerConfig) -> Result<Option<PathBuf>, Fault> {
        let files: Vec<(String, &SecretRef)> = compose::files(config).map(|(path, of)| (file_of(path), of)).collect();
        if config.secrets.is_empty() && files.is_empty() {
            return Ok(None);
        }
        let values = (self.options.secrets)(release)?;
        let root = self.secrets_root()?;
        let folder = root.join(release.as_str());
        let cannot = |e: io::Error| trouble("secrets cannot be written to", &folder, &e);
        private(&root).map_err(cannot)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(cannot)?;
        // Nobody gets here but through the mount; inside, whoever the program runs as must be able to read.
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).map_err(cannot)?;
        let named = config.secrets.iter().map(|(name, reference)| (name.clone(), reference));
        for (name, reference) in named.chain(files) {
            let Some(value) = values.0.get(reference) else { return Err(lost(&name, release)) };
            put(&folder, &name, value).map_err(cannot)?;
        }
        Ok(Some(folder))
    }

    /// The variables of a Compose file whose values are not kept with the release.
    pub(crate) fn secret_env(&self, release: &Sha256Hex, config: &DockerConfig) -> Result<Vec<String>, Fault> {
        let secrets = config.compose.iter().flat_map(|service| &service.env_secrets);
        let mut values = None;
        let mut env = Vec::new();
        for (name, reference) in secrets {
            let values = match &mut values {
                Some(values) => values,
                none => none.insert((self.options.secrets)(release)?),
            };
            let Some(value) = values.0.get(reference) else { return Err(lost(name, release)) };
            env.push(format!("{name}={}", String::from_utf8_lossy(value)));
        }
        Ok(env)
    }

    /// Removes the secrets of releases that no container has. Trouble is left for the next time.
    pub(crate) async fn sweep_secrets(&self) {
        let _one = self.secrets.lock().await;
        let Ok(root) = self.secrets_root() else { return };
        if !root.exists() {
            return;
        }
        let (Ok(all), Ok(engine)) = (self.containers(&[]).await, self.engine()) else { return };
        let records = all.iter().filter_map(|c| labels::read(c.labels.as_ref()?, &engine.identity.state));
        let used: BTreeSet<String> =
            records.filter(|record| record.secrets).map(|record| record.revision.release.to_string()).collect();
        for entry in fs::read_dir(&root).into_iter().flatten().flatten() {
            if !used.contains(&*entry.file_name().to_string_lossy()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let _ = fs::remove_dir(&root);
    }
}

/// What a file of a Compose file is called among the secrets of its release.
pub(crate) fn file_of(path: &str) -> String {
    format!("file-{}", Sha256Hex::of(path.as_bytes()).short())
}

fn lost(name: &str, release: &Sha256Hex) -> Fault {
    let message = format!("the secret `{name}` of release {} is not kept any more", release.short());
    Fault::refused(FaultKind::Spec, message).hint("deploy the version again, so that it is read anew")
}

/// Makes the folder for this user alone; one that somebody else made is not used.
fn private(root: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    match DirBuilder::new().mode(0o700).create(root) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let there = fs::symlink_metadata(root)?;
    if !there.is_dir() || there.uid() != rustix::process::geteuid().as_raw() || there.mode() & 0o077 != 0 {
        return Err(io::Error::other("somebody else made this folder"));
    }
    Ok(())
}

fn put(folder: &Path, name: &str, value: &[u8]) -> io::Result<()> {
    let path = folder.join(name);
    if fs::read(&path).is_ok_and(|there| there == value) {
        return Ok(());
    }
    let new = folder.join(format!(".{name}.new"));
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(&new)?;
    file.write_all(value)?;
    fs::set_permissions(&new, Permissions::from_mode(0o444))?;
    fs::rename(&new, &path)
}
