//! What files take of the disk, and what is free.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// No more files are counted.
const FILES_MAX: usize = 1_000_000;

/// What is free for us on the file system of a folder; none if it cannot be seen.
pub fn free(folder: &Path) -> Option<u64> {
    rustix::fs::statvfs(folder).ok().map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize))
}

/// What the files below a folder take, links not followed; none if it cannot be seen, or if there are too many.
pub fn taken(folder: &Path) -> Option<u64> {
    let mut left = FILES_MAX;
    let mut sum = 0_u64;
    let mut folders = vec![folder.to_owned()];
    std::fs::read_dir(folder).ok()?;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            // Of the link itself, not of what it leads to.
            let Ok(file) = entry.metadata() else { continue };
            sum = sum.saturating_add(file.blocks().saturating_mul(512));
            left = left.checked_sub(1)?;
            if file.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Some(sum)
}

/// Bytes, for people.
pub fn say(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576..10_737_418_240 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_once_and_links_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        std::fs::write(folder.path().join("a/b"), vec![1; 100_000]).unwrap();
        std::os::unix::fs::symlink("/", folder.path().join("all")).unwrap();
        let bytes = taken(folder.path()).unwrap();
        assert!((100_000..200_000).contains(&bytes), "{bytes}");
        assert_eq!(taken(&folder.path().join("none")), None);
        assert!(free(folder.path()).is_some());
    }

    #[test]
    fn bytes_are_said_in_the_unit_that_fits() {
        assert_eq!([12, 3 << 10, 5 << 20, 20 << 30].map(say), ["12 B", "3 KiB", "5 MiB", "20 GiB"]);
    }
}
