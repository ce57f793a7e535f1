//! What an archive says about itself: the file `release.conf` beside the programs.

use std::path::PathBuf;

/// The contents of `release.conf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The version, such as `v1.0.0`.
    pub version: String,
    /// The protocol of the store that this release needs.
    pub store_protocol: u32,
}

impl Release {
    /// Reads it from beside the running program.
    pub fn load() -> Result<Self, String> {
        let path = beside_program().ok_or("cannot tell where this program lies")?;
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Self::parse(&text).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Reads lines of the form `name=value`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let get = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .ok_or(format!("`{name}=` is missing"))
        };
        let store_protocol = get("store_protocol")?.parse().map_err(|e| format!("store_protocol: {e}"))?;
        Ok(Self { version: get("version")?.to_owned(), store_protocol })
    }
}

fn beside_program() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.join("release.conf"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses() {
        let release = Release { version: "v1.0.0".into(), store_protocol: 1 };
        assert_eq!(Release::parse("version=v1.0.0\nstore_protocol=1\n"), Ok(release));
        assert_eq!(Release::parse("version=v1.0.0\n"), Err("`store_protocol=` is missing".into()));
    }
}
