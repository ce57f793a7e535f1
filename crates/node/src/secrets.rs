//! How values of secrets reach a shim: in a nameless file in memory that becomes its standard input. Never in its
//! arguments, its environment or a file with a name.

use deployctl_core::config::SecretRef;
use deployctl_core::instance::SecretValues;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::sync::Arc;

/// Puts `values` into a file in memory, positioned at its start.
pub(crate) fn pack(values: &SecretValues) -> io::Result<File> {
    let plain: BTreeMap<&str, String> =
        values.0.iter().map(|(name, value)| (name.0.as_str(), hex::encode(value))).collect();
    let mut file = File::from(rustix::fs::memfd_create("deployctl", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(&serde_json::to_vec(&plain)?)?;
    file.rewind()?;
    Ok(file)
}

/// Reads what [`pack`] wrote; nothing at all is no secrets.
pub(crate) fn unpack(from: &mut impl Read) -> io::Result<SecretValues> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Ok(SecretValues::default());
    }
    let garbled = |_| io::Error::new(io::ErrorKind::InvalidData, "the secrets handed to the shim are garbled");
    let plain: BTreeMap<String, String> = serde_json::from_slice(&bytes).map_err(|_| garbled(()))?;
    let mut values = BTreeMap::new();
    for (name, value) in plain {
        values.insert(SecretRef(name), Arc::from(hex::decode(value).map_err(|_| garbled(()))?));
    }
    Ok(SecretValues(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_out_as_they_went_in() {
        let value: Arc<[u8]> = Arc::from(&b"line\n\xff\0end"[..]);
        let values = SecretValues([(SecretRef("env:KEY".into()), Arc::clone(&value))].into());
        let back = unpack(&mut pack(&values).unwrap()).unwrap();
        assert_eq!(back.0[&SecretRef("env:KEY".into())], value);
        assert!(unpack(&mut io::empty()).unwrap().0.is_empty());
        assert_eq!(unpack(&mut &b"{"[..]).unwrap_err().to_string(), "the secrets handed to the shim are garbled");
    }
}
