//! Values of secrets, read where the command runs: `env:NAME`, `file:PATH`, `stdin:`.

use crate::compose::{self, Values};
use crate::fail::Failure;
use crate::render;
use deployctl_compose::SECRET_SCHEME;
use deployctl_core::ask::SecretBytes;
use deployctl_core::config::SecretRef;
use deployctl_core::instance::SecretValues;
use deployctl_kubernetes::secrets::SCHEME;
use deployctl_spec::Spec;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Read};
use std::sync::Arc;

/// No secret is larger.
const VALUE_BYTES_MAX: u64 = 1 << 20;

/// Reads references, each once.
pub(crate) struct Reader<'a> {
    /// Relative files are relative to its directory; what its Compose files hold is asked for when it is needed.
    spec: &'a Spec,
    known: BTreeMap<SecretRef, SecretBytes>,
}

impl<'a> Reader<'a> {
    /// `known`: values that were read already.
    pub(crate) fn new(spec: &'a Spec, known: Values) -> Self {
        let mut reader = Self { spec, known };
        reader.know(spec.secret_values());
        reader
    }

    fn know(&mut self, values: &SecretValues) {
        self.known.extend(values.0.iter().map(|(reference, value)| (reference.clone(), SecretBytes(value.clone()))));
    }

    pub(crate) fn read(&mut self, reference: &SecretRef) -> Result<SecretBytes, Failure> {
        if let Some(value) = self.known.get(reference) {
            return Ok(value.clone());
        }
        if reference.0.split_once(':').is_some_and(|(scheme, _)| scheme == SECRET_SCHEME) {
            self.known.extend(compose::values(self.spec)?);
            return self.known.get(reference).cloned().ok_or_else(|| {
                let message = format!(
                    "the secret `{reference}` cannot be read: the Compose file has it no more",
                    reference = reference.0
                );
                Failure::usage("secret-missing", message)
            });
        }
        if reference.0.split_once(':').is_some_and(|(scheme, _)| scheme == SCHEME) {
            // The specification was kept with a release, its values were not: they are where it was read from.
            self.know(render::read(self.spec.read_again()?, None)?.secret_values());
            return self.known.get(reference).cloned().ok_or_else(|| {
                let message = format!("the secret `{}` cannot be read: the manifests have it no more", reference.0);
                Failure::usage("secret-missing", message)
            });
        }
        let bytes = self.fetch(&reference.0)?;
        let value = SecretBytes(Arc::from(bytes));
        self.known.insert(reference.clone(), value.clone());
        Ok(value)
    }

    fn fetch(&self, reference: &str) -> Result<Vec<u8>, Failure> {
        let missing =
            |why: String| Failure::usage("secret-missing", format!("the secret `{reference}` cannot be read: {why}"));
        match reference.split_once(':') {
            Some(("env", name)) => {
                let value = std::env::var_os(name).ok_or_else(|| missing(format!("the variable {name} is not set")))?;
                Ok(std::os::unix::ffi::OsStringExt::into_vec(value))
            }
            Some(("file", path)) => {
                let path = self.spec.dir().join(path);
                let read = std::fs::File::open(&path).and_then(bounded);
                read.map_err(|e| missing(format!("{}: {e}", path.display())))
            }
            Some(("stdin", "")) => {
                let input = std::io::stdin();
                if input.is_terminal() {
                    return Err(missing("standard input is a terminal; pipe the value in".into()));
                }
                bounded(input.lock()).map_err(|e| missing(e.to_string()))
            }
            _ => Err(missing("no such kind of reference; there are env:NAME, file:PATH and stdin:".into())),
        }
    }
}

/// The bytes without one line end at their end, as editors and `echo` leave it.
fn bounded(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(VALUE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > VALUE_BYTES_MAX {
        return Err(std::io::Error::other("it is larger than 1 MiB"));
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(bytes)
}
