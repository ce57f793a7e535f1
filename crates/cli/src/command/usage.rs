//! A command line that cannot be understood: what is wrong in one line, the usage before it.

use crate::fail::Failure;
use crate::output::{colour_err, err};
use clap::error::ErrorKind;
use std::process::ExitCode;

/// Prints why, or the help or version that was asked for.
pub(super) fn exit(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let (what, rest) = text.split_once("\n\nUsage:").unwrap_or((&text, ""));
    if let Some(usage) = rest.lines().next() {
        err(&format!("Usage:{usage}"));
    }
    let what = what.split("\n\nFor more information").next().unwrap_or_default();
    let message = what.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
    let failure = Failure::usage("bad-usage", format!("{message}; next: see `deployctl --help`"));
    failure.print(colour_err());
    ExitCode::from(failure.exit_code())
}
