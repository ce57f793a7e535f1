//! A folder of files.

use super::{Limits, NotRead, look};
use crate::subject::{Files, Secret};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The files below a folder; links are not followed.
pub(super) fn files(root: &Path, limits: &Limits) -> Result<Files, NotRead> {
    let mut files = Files { is_folder: true, ..Files::default() };
    let mut waiting: Vec<PathBuf> = vec![PathBuf::new()];
    let mut entries = 0;
    while let Some(inside) = waiting.pop() {
        let folder = root.join(&inside);
        let listed = fs::read_dir(&folder).map_err(|e| NotRead::new(&folder, e))?;
        for entry in listed {
            let entry = entry.map_err(|e| NotRead::new(&folder, e))?;
            entries += 1;
            if entries > limits.entries_max {
                files.scan.stopped = Some(format!("there are more than {} files", limits.entries_max));
                return Ok(files);
            }
            let path = inside.join(entry.file_name());
            let kind = entry.file_type().map_err(|e| NotRead::new(&entry.path(), e))?;
            if kind.is_dir() {
                waiting.push(path);
            } else if kind.is_file() {
                file(&entry.path(), &path.to_string_lossy(), &mut files, limits)?;
            } else if !kind.is_symlink() {
                files.unsafe_entries.push((path.display().to_string(), "it is neither a file nor a folder".into()));
            }
        }
    }
    files.programs.sort_by(|a, b| a.path.cmp(&b.path));
    files.secrets.sort();
    Ok(files)
}

fn file(path: &Path, shown: &str, files: &mut Files, limits: &Limits) -> Result<(), NotRead> {
    let open = || {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let executable = metadata.permissions().mode() & 0o111 != 0;
        Ok((look::at(shown, executable, file, limits.file_bytes_max)?, metadata.len()))
    };
    let (looked, size) = open().map_err(|e: std::io::Error| NotRead::new(path, e))?;
    files.count += 1;
    files.scan.bytes += size;
    files.programs.extend(looked.program);
    for what in looked.secrets {
        let what = what.to_owned();
        files.secrets.push(Secret { place: shown.to_owned(), what, in_env: false, hidden: false });
    }
    Ok(())
}
