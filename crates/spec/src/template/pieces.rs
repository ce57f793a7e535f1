//! A text, split into what stands as it is and what is between `{{` and `}}`.

use crate::raw::{At, Text};
use crate::source::{Place, Sources};

/// A part of a template.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Text(&'a str),
    /// What is between the braces, and how many characters stand before it.
    Expression {
        skip: usize,
        inner: &'a str,
    },
}

/// Splits `text`, or says what is wrong and how many characters stand before it.
pub(crate) fn split(text: &str) -> Result<Vec<Piece<'_>>, (usize, String)> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut before = 0;
    while let Some(open) = rest.find("{{") {
        if open > 0 {
            pieces.push(Piece::Text(&rest[..open]));
        }
        before += rest[..open].chars().count();
        let inside = &rest[open + 2..];
        let Some(close) = close(inside) else {
            return Err((before, "these braces are not closed: there is no `}}` after them".into()));
        };
        pieces.push(Piece::Expression { skip: before + 2, inner: &inside[..close] });
        before += inside[..close].chars().count() + 4;
        rest = &inside[close + 2..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// Where the first `}}` outside of quotes is.
fn close(inside: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '}') if inside[at..].starts_with("}}") => return Some(at),
            (None, _) => {}
        }
    }
    None
}

/// The characters of `inside` that are not in quotes.
pub(crate) fn unquoted(inside: &str) -> impl Iterator<Item = char> {
    let mut quote = None;
    let mut escaped = false;
    inside.chars().filter(move |&c| match quote {
        Some(_) if escaped => {
            escaped = false;
            false
        }
        Some(open) => {
            escaped = c == '\\';
            if c == open {
                quote = None;
            }
            false
        }
        None => {
            if matches!(c, '"' | '\'') {
                quote = Some(c);
            }
            true
        }
    })
}

/// How many lines after the start of a text its expressions are looked for.
const LINES_MAX: u32 = 200;

/// The place of the `width` characters that stand `skip` characters into `text`.
///
/// Where quotes, escapes or folding make the file differ from the text, it is the next place where those characters
/// are written, or else the whole text.
pub(crate) fn within(sources: &Sources, text: &At<Text>, skip: usize, width: usize) -> Place {
    let line: Vec<char> = sources.line(text.at).chars().collect();
    let start = (text.at.column as usize).saturating_sub(1);
    let quote = usize::from(matches!(line.get(start), Some('"' | '\'')));
    let upto: Vec<char> = text.value.0.chars().take(skip + width).collect();
    match line.get(start + quote..start + quote + upto.len()) {
        Some(written) if written == upto => text.at.within(quote + skip, width),
        _ => search(sources, text.at, &upto[skip.min(upto.len())..]).unwrap_or(text.at),
    }
}

fn search(sources: &Sources, from: Place, needle: &[char]) -> Option<Place> {
    let needle: String = needle.iter().collect();
    if needle.trim().is_empty() {
        return None;
    }
    (from.line..from.line.saturating_add(LINES_MAX)).find_map(|number| {
        let line = sources.line(Place { line: number, ..from });
        let skip = if number == from.line { from.column as usize - 1 } else { 0 };
        let skipped: usize = line.chars().take(skip).map(char::len_utf8).sum();
        let found = skipped + line[skipped..].find(&needle)?;
        let column = u32::try_from(line[..found].chars().count() + 1).ok()?;
        let width = u32::try_from(needle.chars().count()).ok()?;
        Some(Place { line: number, column, width, ..from })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_in_quotes_do_not_close() {
        let inner = r#" "}}" "#;
        assert_eq!(split(r#"{{ "}}" }}"#), Ok(vec![Piece::Expression { skip: 2, inner }]));
    }

    #[test]
    fn what_is_outside_stands() {
        assert_eq!(split("date +{% x %}{#"), Ok(vec![Piece::Text("date +{% x %}{#")]));
        assert_eq!(split(""), Ok(vec![]));
        let pieces = split("ä{{ a }}b{{c}}").unwrap();
        assert_eq!(pieces[1], Piece::Expression { skip: 3, inner: " a " });
        assert_eq!(pieces[3], Piece::Expression { skip: 11, inner: "c" });
    }

    #[test]
    fn open_braces_are_found() {
        assert_eq!(split("ab{{ c }").unwrap_err().0, 2);
        assert!(split(r#"{{ "a }}"#).is_err());
    }
}
