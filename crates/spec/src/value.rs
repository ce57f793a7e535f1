//! Texts that mean something: spans, sizes, amounts, shares.

use deployctl_core::config::Amount;
use deployctl_core::time::Span;

/// `30s`, `1h30m`, `1.5s`; at most a year.
pub(crate) fn span(text: &str) -> Result<Span, String> {
    let bad = || format!("`{}` is not a span of time; write it like `500ms`, `30s`, `5m` or `1h30m`", shown(text));
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (number, unit) = rest.split_at(digits);
        let length = unit.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(unit.len());
        let (unit, after) = unit.split_at(length);
        let scale = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(bad()),
        };
        let part = scaled(number, scale).ok_or_else(bad)?;
        total = total.checked_add(part).ok_or_else(bad)?;
        rest = after.trim_start();
    }
    match total {
        total if total > 366 * 86_400_000 => Err(format!("`{}` is longer than a year", shown(text))),
        total => Ok(Span::ms(total)),
    }
}

/// `512`, `64MiB`, `1.5GB`, in bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let bad = || format!("`{}` is not a size; write it like `64KiB`, `512MiB` or `2GiB`", shown(text));
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit.trim() {
        "" | "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(bad()),
    };
    scaled(number, scale).ok_or_else(bad)
}

/// `2` or `25%`.
pub(crate) fn amount(text: &str) -> Result<Amount, String> {
    let bad = || format!("`{}` is neither a count like `2` nor a percentage like `25%`", shown(text));
    let text = text.trim();
    match text.strip_suffix('%') {
        Some(percent) => match digits(percent).ok_or_else(bad)? {
            percent if percent > 100 => Err(format!("`{}` is more than 100%", shown(text))),
            percent => Ok(Amount::Percent(percent)),
        },
        None => digits(text).map(Amount::Count).ok_or_else(bad),
    }
}

/// `10%` or `0.5%`, in hundredths of a percent.
pub(crate) fn share(text: &str) -> Result<u32, String> {
    let bad = || format!("`{}` is not a percentage like `10%` or `0.5%`", shown(text));
    let number = text.trim().strip_suffix('%').ok_or_else(bad)?;
    let share = scaled(number, 100).ok_or_else(bad)?;
    u32::try_from(share).map_err(|_| bad())
}

/// `1.5` cores, in thousandths.
pub(crate) fn cores(text: &str) -> Result<u64, String> {
    let bad = || format!("`{}` is not a number of processor cores like `0.5` or `2`", shown(text));
    let millis = scaled(text.trim(), 1000).ok_or_else(bad)?;
    if (1..=1_000_000).contains(&millis) { Ok(millis) } else { Err(bad()) }
}

fn digits(text: &str) -> Option<u32> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// A decimal number times `scale`, if that is whole.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || number.ends_with('.') || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    let unit = 10u64.pow(u32::try_from(fraction.len()).ok()?);
    let parts = fraction.parse::<u64>().ok()?.checked_mul(scale)?;
    if parts % unit == 0 { whole.checked_add(parts / unit) } else { None }
}

fn shown(text: &str) -> String {
    crate::text::shorten(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, ms) in [("0s", 0), ("500ms", 500), ("1.5s", 1500), ("1h30m", 5_400_000), ("1h 30m", 5_400_000)] {
            assert_eq!(span(text), Ok(Span::ms(ms)), "{text}");
        }
        for text in ["", "30", "s", "-1s", "1.s", ".5s", "5 s", "1y", "99999999999999999999s", "0.0001ms", "1s2"] {
            assert!(span(text).is_err(), "{text}");
        }
        assert_eq!(span("400d"), Err("`400d` is longer than a year".into()));
        assert_eq!(
            span("30").unwrap_err(),
            "`30` is not a span of time; write it like `500ms`, `30s`, `5m` or `1h30m`"
        );
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("0", 0), ("10B", 10), ("64KiB", 65536), ("64 MiB", 64 << 20), ("1.5GB", 1_500_000_000)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "64mib", "-1", "1.0000000001KiB", "99999999TiB", "1_000"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn amounts_and_shares() {
        assert_eq!(amount("2"), Ok(Amount::Count(2)));
        assert_eq!(amount("25%"), Ok(Amount::Percent(25)));
        assert_eq!(amount("101%"), Err("`101%` is more than 100%".into()));
        for text in ["", "%", "-1", "2.5", "25 %%", "+3"] {
            assert!(amount(text).is_err(), "{text}");
        }
        assert_eq!(share("0.5%"), Ok(50));
        assert_eq!(share("100%"), Ok(10_000));
        for text in ["10", "0.001%", "%", "-5%"] {
            assert!(share(text).is_err(), "{text}");
        }
        assert_eq!(cores("1.5"), Ok(1500));
        for text in ["0", "0.0001", "-1", "many"] {
            assert!(cores(text).is_err(), "{text}");
        }
    }
}
