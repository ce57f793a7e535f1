//! How a command ends badly: one type, printed once, at the edge.

use deployctl_core::ask::{Refused, RefusedKind};
use deployctl_spec::Diagnostics;

/// Why a command ends with something other than 0.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was refused; nothing was changed.
    Refused(Refused),
    /// The specification is wrong.
    Spec(Diagnostics),
    /// All was said already; only the exit code is left.
    Said(u8),
}

impl Failure {
    pub(crate) fn usage(code: &str, message: impl Into<String>) -> Self {
        Self::Refused(Refused::new(RefusedKind::Usage, code, message))
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(refused) => refused.kind.exit_code(),
            Self::Spec(_) => 2,
            Self::Said(code) => *code,
        }
    }

    pub(crate) fn print(&self, colour: bool) {
        let (red, plain) = if colour { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        match self {
            Self::Refused(refused) => {
                let mut text = format!("{red}error{plain}[{}]: {}", refused.code, refused.message);
                // One line: the last one on standard error is complete in itself.
                text.push_str(&next(refused.hint.as_deref().unwrap_or_default()));
                crate::output::err(&text);
            }
            Self::Spec(diagnostics) => print_spec(diagnostics, colour),
            Self::Said(_) => {}
        }
    }
}

/// What to do next, after what is reassuring.
fn next(hint: &str) -> String {
    const UNCHANGED: &str = "nothing was changed";
    match (hint, hint.strip_prefix(UNCHANGED)) {
        ("", _) => String::new(),
        (_, Some("")) => format!("; {UNCHANGED}"),
        (_, Some(rest)) => format!("; {UNCHANGED}; next: {}", rest.trim_start_matches([';', ' '])),
        (_, None) => format!("; next: {hint}"),
    }
}

/// Each with its line of the file where there is one; at last, in one line, the first of them.
fn print_spec(diagnostics: &Diagnostics, colour: bool) {
    let shown = diagnostics.0.iter().any(|d| d.location.is_some()) || diagnostics.0.len() > 1;
    if shown {
        crate::output::err(diagnostics.render(colour).trim_end());
    }
    let Some(first) = diagnostics.0.first() else { return };
    let place = first.location.as_ref().map(|at| format!("{}:{}:{}: ", at.file, at.line, at.column));
    let mut message = format!("{}{}", place.unwrap_or_default(), first.message);
    match diagnostics.errors() {
        0 | 1 => {}
        errors => message.push_str(&format!(", and {} more", errors - 1)),
    }
    let hint = match &first.help {
        Some(help) if !shown => format!("nothing was changed; {}", help.replace('\n', " ")),
        None if !shown => "nothing was changed".into(),
        _ => "nothing was changed; correct the specification".into(),
    };
    let refused = Refused::new(RefusedKind::Usage, first.code.as_str(), message).hint(hint);
    Failure::Refused(refused).print(colour);
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::Spec(diagnostics)
    }
}
