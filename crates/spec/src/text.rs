//! Small helpers for texts in messages.

/// At most 60 characters of `text`, control characters escaped.
pub(crate) fn shorten(text: &str) -> String {
    shorten_to(text, 60)
}

/// At most `max` characters of `text`, control characters escaped.
pub(crate) fn shorten_to(text: &str, max: usize) -> String {
    let mut shown: String = text.chars().take(max).flat_map(escape).collect();
    if text.chars().count() > max {
        shown.push_str("...");
    }
    shown
}

fn escape(c: char) -> impl Iterator<Item = char> {
    let escaped: Vec<char> = if c.is_control() { c.escape_default().collect() } else { vec![c] };
    escaped.into_iter()
}

/// `a`, `b` or `c`.
pub(crate) fn alternatives<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        None => "nothing".into(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

/// The one of `known` that was most likely meant by `name`, if any is near.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.chars().count() > 64 {
        return None;
    }
    let known: Vec<&str> = known.into_iter().collect();
    let far = |candidate: &str| distance(&name.to_lowercase(), candidate);
    let limit = |candidate: &str| (candidate.chars().count().max(name.chars().count()) / 3).max(1);
    let near = known.iter().copied().filter(|candidate| far(candidate) <= limit(candidate));
    let stem = |candidate: &&str| {
        let (short, long) = if name.len() < candidate.len() { (name, *candidate) } else { (*candidate, name) };
        short.len() >= 3 && long.starts_with(short)
    };
    near.min_by_key(|candidate| far(candidate)).or_else(|| known.iter().copied().find(stem))
}

/// `did you mean ...?` if there is something near, else the accepted names.
pub(crate) fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if known.clone().into_iter().next().is_none() {
        return "nothing can stand here".into();
    }
    match nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("possible here: {}", alternatives(known)),
    }
}

/// Insertions, deletions, substitutions and swaps of neighbours that lead from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1; b.len() + 1];
        for j in 0..b.len() {
            let change = last[j] + usize::from(a[i] != b[j]);
            row[j + 1] = change.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_the_one_meant() {
        let known = ["instances", "strategy", "depends_on", "env", "version"];
        assert_eq!(nearest("instnces", known), Some("instances"));
        assert_eq!(nearest("versoin", known), Some("version"));
        assert_eq!(nearest("depend_on", known), Some("depends_on"));
        assert_eq!(nearest("environment", known), Some("env"), "a name that begins with another");
        assert_eq!(nearest("quux", known), None);
        assert_eq!(nearest(&"v".repeat(5000), known), None);
    }

    #[test]
    fn distances() {
        for (a, b, wanted) in [("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("kitten", "sitting", 3)] {
            assert_eq!(distance(a, b), wanted, "{a} {b}");
        }
    }

    #[test]
    fn alternatives_read_as_a_sentence() {
        assert_eq!(alternatives(["a", "b", "c"]), "`a`, `b` or `c`");
        assert_eq!(alternatives(["a"]), "`a`");
        assert_eq!(alternatives([]), "nothing");
    }
}
