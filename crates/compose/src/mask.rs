//! The text of a Compose file without the values that were taken out of its document: it is kept for places alone.

use deployctl_core::config::SecretRef;
use std::collections::BTreeMap;

/// Stands for each character of such a value; of no meaning in YAML.
const MASK: &str = "x";
/// A value that is shorter is only looked for where its name stands: it might be part of anything.
const LONG: usize = 4;

/// `text` with the values that [`redact`](crate::redact) took out made unreadable, wherever they stand. Every key, and whatever
/// else is said, keeps its line and column.
pub fn mask(text: &str, taken: &BTreeMap<SecretRef, String>) -> String {
    let mut masked = text.to_owned();
    for (reference, value) in taken {
        let name = reference.0.rsplit('/').next().unwrap_or_default();
        let forms: Vec<String> = value.lines().map(str::trim).filter(|line| !line.is_empty()).flat_map(forms).collect();
        masked = masked.split_inclusive('\n').map(|line| masked_line(line, name, &forms)).collect();
    }
    masked
}

/// How a value may be written in a file.
fn forms(value: &str) -> Vec<String> {
    let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
    let mut all = vec![value.replace('$', "$$"), quoted.replace('$', "$$"), quoted, value.replace('\'', "''")];
    all.push(value.to_owned());
    all.dedup();
    all
}

fn masked_line(line: &str, name: &str, forms: &[String]) -> String {
    let mut line = line.to_owned();
    for form in forms {
        let from = match line.find(name) {
            _ if form.len() >= LONG => 0,
            Some(at) => at + name.len(),
            None => continue,
        };
        let (before, after) = line.split_at(from);
        line = format!("{before}{}", masked_values(after, form));
    }
    line
}

/// All of `form` in `text`, but where it is a word's part or the name of a key.
fn masked_values(text: &str, form: &str) -> String {
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(form) {
        let (before, after) = (&rest[..at], &rest[at + form.len()..]);
        let last = before.chars().next_back().or_else(|| out.chars().next_back());
        let key = after.trim_start_matches(['"', '\'']);
        let is_key = key == ":" || key.starts_with(": ") || key.starts_with(":\n") || key.starts_with(":\r");
        let begins_inside = is_word(last) && is_word(form.chars().next());
        let ends_inside = is_word(form.chars().next_back()) && is_word(after.chars().next());
        let is_whole = !begins_inside && !ends_inside;
        out.push_str(before);
        match is_whole && !is_key {
            true => out.push_str(&MASK.repeat(form.chars().count())),
            false => out.push_str(form),
        }
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::mask;
    use deployctl_core::config::SecretRef;
    use std::collections::BTreeMap;

    #[test]
    fn values_are_unreadable_and_all_else_is_where_it_was() {
        let file = "x-pw: &pw hunter2\nservices:\n  db:\n    environment:\n      DB_PASSWORD: \"pa$$s\\\"w\"\n      - API_TOKEN=ab\n      \
                    URL: ${URL:-postgres://me:hush@db/x}\n  postgres:\n    image: postgres\n    command: [\"--abc\", ab]\n\
                    configs:\n  a:\n    content: |\n      user = me\n      pass = word1\n";
        let values = [
            ("db/DB_PASSWORD", "pa$s\"w"),
            ("db/API_TOKEN", "ab"),
            ("db/URL", "postgres://me:hush@db/x"),
            ("db/PW_TOKEN", "hunter2"),
            ("postgres/POSTGRES_PASSWORD", "postgres"),
            ("configs/a", "user = me\npass = word1\n"),
        ];
        let taken: BTreeMap<SecretRef, String> =
            values.map(|(at, value)| (SecretRef(format!("compose:shop/{at}")), value.to_owned())).into();
        let masked = mask(file, &taken);
        let says = "x-pw: &pw xxxxxxx\nservices:\n  db:\n    environment:\n      DB_PASSWORD: \"xxxxxxxx\"\n      - API_TOKEN=xx\n      \
                    URL: ${URL:-xxxxxxxxxxxxxxxxxxxxxxx}\n  postgres:\n    image: xxxxxxxx\n    command: [\"--abc\", ab]\n\
                    configs:\n  a:\n    content: |\n      xxxxxxxxx\n      xxxxxxxxxxxx\n";
        assert_eq!(masked, says);
    }
}
