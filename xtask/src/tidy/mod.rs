//! Rules that no compiler knows: who may depend on whom, how large a file may be, what must not be in the tree.
//!
//! Each rule is a function from a [`Tree`] to complaints, so that it is tested on small trees that break it.

mod dependencies;
mod documents;
mod files;
mod modules;
mod text;
mod tree;

use std::path::Path;
use std::process::ExitCode;
use tree::Tree;

/// What is wrong, where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Complaint {
    place: String,
    what: String,
}

impl Complaint {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }
}

type Rule = fn(&Tree) -> Vec<Complaint>;

/// Every rule, by the name under which it reports.
const RULES: &[(&str, Rule)] = &[
    ("dependencies", dependencies::layers),
    ("parents", dependencies::parents),
    ("unused dependencies", dependencies::unused),
    ("packages", dependencies::packages),
    ("file sizes", files::sizes),
    ("dead files", modules::dead),
    ("marks", text::marks),
    ("unsafe code", text::unsafe_code),
    ("machine paths", text::machine_paths),
    ("crate documentation", documents::crates),
    ("architecture", documents::architecture),
    ("error pages", documents::error_pages),
    ("promises", documents::promises),
    ("links", documents::links),
];

/// Checks the repository at `root` and prints what is wrong.
pub(crate) fn run(root: &Path) -> ExitCode {
    let tree = match Tree::read(root) {
        Ok(tree) => tree,
        Err(why) => {
            eprintln!("tidy: {why}");
            return ExitCode::FAILURE;
        }
    };
    let mut count = 0;
    for (name, rule) in RULES {
        let mut complaints = rule(&tree);
        complaints.sort();
        count += complaints.len();
        for Complaint { place, what } in complaints {
            eprintln!("tidy: {name}: {place}: {what}");
        }
    }
    let (files, packages) = (tree.files.len(), tree.packages.len());
    println!("tidy: {} rules, {files} files, {packages} packages, {count} complaints", RULES.len());
    if count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
