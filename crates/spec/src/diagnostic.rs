//! What is wrong with a specification, for a person and for programs.

use crate::code::Code;
use crate::source::{Place, Sources};
use serde::Serialize;
use std::fmt::{self, Write as _};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing can be done with the specification.
    Error,
    /// It works, but probably not as wanted.
    Warning,
}

/// Where something stands, with the line itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Location {
    /// The file, as the person named it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
    /// How many characters it is about.
    pub width: u32,
    /// The line's text.
    pub text: String,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Its kind.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// Where, if it stands somewhere.
    pub location: Option<Location>,
    /// What to do about it, if that is known.
    pub help: Option<String>,
}

/// Everything that is wrong; in an `Err`, at least one error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics(pub Vec<Diagnostic>);

/// Shown at most this many characters of a line on either side of the place.
const LINE_BEFORE: usize = 60;
const LINE_MAX: usize = 140;

impl Diagnostics {
    /// A single error without a place.
    pub(crate) fn one(code: Code, message: impl Into<String>, help: Option<String>) -> Self {
        Self(vec![Diagnostic { code, severity: Severity::Error, message: message.into(), location: None, help }])
    }

    /// How many of them are errors.
    pub fn errors(&self) -> usize {
        self.0.iter().filter(|d| d.severity == Severity::Error).count()
    }

    /// All of them as text, a blank line between two, with terminal colours if `colour`.
    pub fn render(&self, colour: bool) -> String {
        let each: Vec<String> = self.0.iter().map(|d| d.render(colour)).collect();
        each.join("\n")
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl Diagnostic {
    /// As text of several lines, with terminal colours if `colour`.
    pub fn render(&self, colour: bool) -> String {
        let paint = |style: &str, text: &str| match colour {
            true => format!("\u{1b}[{style}m{text}\u{1b}[0m"),
            false => text.to_string(),
        };
        let (word, style) = match self.severity {
            Severity::Error => ("error", "1;31"),
            Severity::Warning => ("warning", "1;33"),
        };
        let mut out = format!("{}: {}\n", paint(style, &format!("{word}[{}]", self.code)), paint("1", &self.message));
        let margin = self.location.as_ref().map_or(0, |at| at.line.to_string().len());
        if let Some(at) = &self.location {
            let (text, skip) = at.window();
            let bar = paint("34", "|");
            let pad = " ".repeat(margin);
            let _ = writeln!(out, "{pad}{} {}:{}:{}", paint("34", "-->"), at.file, at.line, at.column);
            let _ = writeln!(out, "{pad} {bar}");
            let _ = writeln!(out, "{} {bar} {text}", paint("34", &at.line.to_string()));
            let room = text.chars().count().saturating_sub(skip).max(1);
            let caret = "^".repeat((at.width.max(1) as usize).min(room));
            let _ = writeln!(out, "{pad} {bar} {}{}", " ".repeat(skip), paint(style, &caret));
        }
        if let Some(help) = &self.help {
            let indent = " ".repeat(margin + 1);
            let help = help.replace('\n', &format!("\n{indent}        "));
            let _ = writeln!(out, "{indent}{} {help}", paint("36", "= help:"));
        }
        out
    }
}

impl Location {
    /// The part of the line to show, control characters replaced, and the column of the place in it, from 0.
    fn window(&self) -> (String, usize) {
        let column = (self.column as usize).saturating_sub(1);
        let from = column.saturating_sub(LINE_BEFORE);
        let from = if self.text.chars().count() <= LINE_MAX { 0 } else { from };
        let shown = |c: char| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        };
        let text: String = self.text.chars().skip(from).take(LINE_MAX).map(shown).collect();
        (text.trim_end().to_string(), column - from)
    }
}

/// Gathers diagnostics; each is kept once, however often it is found.
#[derive(Debug)]
pub(crate) struct Findings<'a> {
    sources: &'a Sources,
    found: Vec<(Place, Diagnostic)>,
}

/// More than this many are not told; the first ones are what matters.
const FOUND_MAX: usize = 50;

impl<'a> Findings<'a> {
    pub(crate) fn new(sources: &'a Sources) -> Self {
        Self { sources, found: Vec::new() }
    }

    pub(crate) fn error(&mut self, at: Place, code: Code, message: impl Into<String>) {
        self.add(Severity::Error, Some(at), code, message.into(), None);
    }

    pub(crate) fn error_help(&mut self, at: Place, code: Code, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Error, Some(at), code, message.into(), Some(help.into()));
    }

    pub(crate) fn warning(&mut self, at: Place, code: Code, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Warning, Some(at), code, message.into(), Some(help.into()));
    }

    pub(crate) fn add(
        &mut self,
        severity: Severity,
        at: Option<Place>,
        code: Code,
        message: String,
        help: Option<String>,
    ) {
        let location = at.map(|at| Location {
            file: self.sources.name(at).to_string(),
            line: at.line,
            column: at.column,
            width: at.width,
            text: shown_line(code, at, self.sources.line(at)),
        });
        let diagnostic = Diagnostic { code, severity, message, location, help };
        if self.found.len() < FOUND_MAX && !self.found.iter().any(|(_, known)| *known == diagnostic) {
            self.found.push((at.unwrap_or_default(), diagnostic));
        }
    }

    pub(crate) fn failed(&self) -> bool {
        self.found.iter().any(|(_, d)| d.severity == Severity::Error)
    }

    /// What was found, in the order of the files.
    pub(crate) fn finish(mut self) -> Diagnostics {
        self.found.sort_by(|(a, x), (b, y)| (x.severity, a).cmp(&(y.severity, b)));
        Diagnostics(self.found.into_iter().map(|(_, d)| d).collect())
    }
}

/// The line, without what may be a secret: at the place itself, after the key that is there, or, where a map stands on
/// one line, before.
fn shown_line(code: Code, at: Place, line: &str) -> String {
    let column = (at.column as usize).saturating_sub(1);
    let key = match code {
        Code::Secret => 0,
        Code::SecretLiteral => at.width as usize,
        _ => return line.to_string(),
    };
    let before: String = line.chars().take(column).collect();
    let before = if before.contains(['{', ',']) { " ".repeat(column) } else { before };
    let key: String = line.chars().skip(column).take(key).collect();
    format!("{before}{key}...")
}
