//! Values that are known only when an instance starts.

use super::Late;
use deployctl_core::config::LatePart;

/// The first words of late values.
pub(super) const NAMES: &[&str] = &["port", "data", "folder", "slot", "apps"];
/// As they are suggested.
pub(super) const SHOWN: &[&str] = &["port", "data", "folder", "slot", "apps.NAME.address"];

/// A late value, as it is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    Part(LatePart),
    Address(&'a str),
}

/// Reads an expression that is nothing but a late value.
pub(super) fn parse(inner: &str) -> Option<Parsed<'_>> {
    Some(Parsed::Part(match inner {
        "port" => LatePart::Port,
        "data" => LatePart::Data,
        "folder" => LatePart::Folder,
        "slot" => LatePart::Slot,
        _ => return address(inner).map(Parsed::Address),
    }))
}

/// `apps.NAME.address` or `apps["NAME"].address`.
fn address(inner: &str) -> Option<&str> {
    let rest = inner.strip_prefix("apps")?.strip_suffix(".address")?;
    let quoted = |quote: char| {
        let name = rest.strip_prefix('[')?.trim().strip_prefix(quote)?;
        name.strip_suffix(']')?.trim().strip_suffix(quote)
    };
    let name = rest.strip_prefix('.').or_else(|| quoted('"')).or_else(|| quoted('\''))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (!name.is_empty() && name.chars().all(plain)).then_some(name)
}

/// Why a late value cannot be where it is, and what to do.
pub(super) fn misplaced(part: &Parsed<'_>, late: Late) -> Option<(&'static str, &'static str)> {
    match (late, part) {
        (Late::Instance, _) | (Late::Job, Parsed::Address(_) | Parsed::Part(LatePart::Data)) => None,
        (Late::Job, _) => Some((
            "belongs to an instance, and this command is none",
            "`data` and `apps.NAME.address` can be used here",
        )),
        (Late::None, _) => Some((
            "is known only when an instance starts, and this is needed before",
            "it can be used in `command`, `env` and `health.command`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_names_with_hyphens() {
        for text in ["apps.my-db.address", "apps['my-db'].address", "apps[\"my-db\"].address"] {
            assert_eq!(parse(text), Some(Parsed::Address("my-db")), "{text}");
        }
        for text in ["apps.db", "apps..address", "apps.db.port", "port + 1", "apps.a b.address", "apps[db].address"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
