//! Certificates of registries that no public authority vouches for, kept as Docker keeps them: `FOLDER/HOST:PORT/*.crt`.

use crate::trouble::{Trouble, TroubleKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

/// Where they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    folder: Option<PathBuf>,
}

impl Trust {
    pub(crate) fn at(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// The folder of a registry.
    fn folder_of(&self, host: &str) -> Option<PathBuf> {
        let plain = !host.contains('/') && !host.starts_with('.');
        self.folder.as_ref().filter(|_| plain).map(|folder| folder.join(host)).filter(|folder| folder.is_dir())
    }

    /// Whether a registry has certificates here.
    pub(crate) fn knows(&self, host: &str) -> bool {
        self.folder_of(host).is_some_and(|folder| files(&folder).next().is_some())
    }

    /// Who vouches for a registry: whoever does here, and then nobody else.
    pub(crate) fn roots(&self, host: &str) -> Result<Option<RootCerts>, Trouble> {
        let mut all: Vec<Certificate<'static>> = Vec::new();
        for path in self.folder_of(host).iter().flat_map(|folder| files(folder)) {
            let bad = |why: &dyn std::fmt::Display| {
                Trouble::new(TroubleKind::Usage, format!("the certificates of {host} in {}: {why}", path.display()))
            };
            let text = std::fs::read(&path).map_err(|e| bad(&e))?;
            for item in parse_pem(&text) {
                if let PemItem::Certificate(one) = item.map_err(|e| bad(&e))? {
                    all.push(one);
                }
            }
        }
        Ok(if all.is_empty() { None } else { Some(RootCerts::Specific(Arc::new(all))) })
    }
}

fn files(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let listed = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    listed.filter(|path| path.extension().is_some_and(|end| end == "crt"))
}
