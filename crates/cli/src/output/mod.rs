//! What is printed. Results on standard output, everything else on standard error; a closed one stops nothing.

pub(crate) mod human;
pub(crate) mod json;
pub(crate) mod live;
pub(crate) mod log;
pub(crate) mod table;
pub(crate) mod time;

use std::io::{IsTerminal, Write};

/// A result, on standard output.
pub(crate) fn out(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Anything else, on standard error.
pub(crate) fn err(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Whether standard error takes colours.
pub(crate) fn colour_err() -> bool {
    std::io::stderr().is_terminal() && wants_colour()
}

/// Whether standard output takes colours.
pub(crate) fn colour_out() -> bool {
    std::io::stdout().is_terminal() && wants_colour()
}

/// See <https://no-color.org>: any value but the empty one turns colours off.
fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
