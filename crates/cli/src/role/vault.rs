//! The vault port over sealed files and the state's key.

use async_trait::async_trait;
use deployctl_core::config::SecretRef;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::Sha256Hex;
use deployctl_core::instance::SecretValues;
use deployctl_core::ports::Vault;
use deployctl_store::seal::{Key, SealError, SealedSecrets};
use std::sync::Arc;

pub(crate) struct FileVault {
    pub(crate) key: Key,
    pub(crate) sealed: Arc<SealedSecrets>,
}

pub(crate) fn fault(error: &SealError) -> Fault {
    Fault::platform(error.to_string()).hint(error.hint())
}

#[async_trait]
impl Vault for FileVault {
    fn digest(&self, reference: &SecretRef, value: &[u8]) -> Sha256Hex {
        self.key.digest(reference, value)
    }

    async fn seal(&self, release: &Sha256Hex, values: &SecretValues) -> Result<(), Fault> {
        self.sealed.put(release, values).map_err(|e| fault(&e))
    }

    async fn has(&self, release: &Sha256Hex) -> Result<bool, Fault> {
        Ok(self.sealed.get(release).map_err(|e| fault(&e))?.is_some())
    }

    async fn retain(&self, keep: &[Sha256Hex]) -> Result<(), Fault> {
        self.sealed.retain(keep).map(drop).map_err(|e| fault(&e))
    }

    fn sign(&self, bytes: &[u8]) -> String {
        self.key.sign(bytes)
    }

    fn is_ours(&self, bytes: &[u8], signature: &str) -> bool {
        self.key.verify(bytes, signature)
    }
}

/// Where the node finds the values of a release's secrets.
pub(crate) fn source(sealed: Arc<SealedSecrets>) -> deployctl_node::SecretSource {
    Arc::new(move |release| match sealed.get(release) {
        Ok(Some(values)) => Ok(values),
        Ok(None) => {
            let message = format!("the secrets of release {} are not kept any more", release.short());
            Err(Fault::refused(FaultKind::Spec, message).hint("deploy the version again, so that they are read anew"))
        }
        Err(error) => Err(fault(&error)),
    })
}
