//! How fast deployctl is, beside what it is compared with: in one run, interleaved, medians.

mod control;
mod deploys;
mod docker;
mod kubernetes;
mod plane;
mod rivals;
mod tools;

use crate::machine;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What is measured, and how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// The binary of deployctl.
    pub binary: PathBuf,
    /// The folder of the example, prepared.
    pub example: PathBuf,
    /// The folder with the examples of the store: `journal_bench` and `journal_fill`.
    pub store_examples: PathBuf,
    /// How often each measurement is repeated.
    pub rounds: usize,
    /// How long one run of a load generator takes, in seconds.
    pub seconds: u32,
    /// How many past deployments the journal has when `status` is timed.
    pub past: u32,
    /// Which parts: `plane`, `deploys`, `docker`, `kubernetes` or `one`, `reasons`, `many` of it, `control`; all if empty.
    pub parts: Vec<String>,
}

/// One figure.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// What came out, with its unit.
    pub value: String,
    /// What must come out.
    pub target: String,
    /// Whether it does; none where there is no target.
    pub met: Option<bool>,
}

/// A table of figures.
#[derive(Clone, Debug)]
pub struct Section {
    /// What it is about.
    pub title: String,
    /// How it was measured.
    pub how: String,
    /// The figures as measured, a table in Markdown; may be empty.
    pub raw: String,
    /// The figures that have a target.
    pub rows: Vec<Row>,
}

impl Section {
    fn new(title: &str, how: &str) -> Self {
        Self { title: title.into(), how: how.into(), raw: String::new(), rows: Vec::new() }
    }

    /// A figure that must be at most `target`.
    fn at_most(&mut self, what: &str, value: f64, target: f64, unit: &str) {
        self.push(what, value, format!("<= {target}{unit}"), value <= target, unit);
    }

    /// A figure that must be at least `target`.
    fn at_least(&mut self, what: &str, value: f64, target: f64, unit: &str) {
        self.push(what, value, format!(">= {target}{unit}"), value >= target, unit);
    }

    /// A figure without a target.
    fn plain(&mut self, what: &str, value: f64, unit: &str) {
        let value = format!("{}{unit}", short(value));
        self.tell(&Row { what: what.into(), value, target: String::new(), met: None });
    }

    fn push(&mut self, what: &str, value: f64, target: String, met: bool, unit: &str) {
        let value = format!("{}{unit}", short(value));
        self.tell(&Row { what: what.into(), value, target, met: Some(met) });
    }

    fn tell(&mut self, row: &Row) {
        eprintln!("{}: {} {}", row.what, row.value, met(row));
        self.rows.push(row.clone());
    }
}

fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 || v == 0.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn met(row: &Row) -> &'static str {
    match row.met {
        Some(true) => "met",
        Some(false) => "**missed**",
        None => "",
    }
}

/// Measures everything that was asked for. What the machine lacks is an error that names it.
pub fn run(options: &Options) -> Result<Vec<Section>, String> {
    let wanted = |part: &str| options.parts.is_empty() || options.parts.iter().any(|p| p == part);
    let mut sections = Vec::new();
    if wanted("plane") {
        sections.extend(plane::measure(options)?);
    }
    if wanted("deploys") {
        sections.extend(deploys::measure(options)?);
    }
    if wanted("docker") {
        sections.extend(docker::measure(options)?);
    }
    let of_clusters = |part: &str| wanted("kubernetes") || wanted(part);
    if kubernetes::PARTS.iter().any(|part| of_clusters(part)) {
        sections.extend(kubernetes::measure(options, &of_clusters)?);
    }
    if wanted("control") {
        sections.extend(control::measure(options)?);
    }
    Ok(sections)
}

/// The sections in Markdown.
pub fn text(sections: &[Section]) -> String {
    let mut text = String::new();
    for section in sections {
        let _ = write!(text, "## {}\n\n{}\n\n", section.title, section.how);
        if !section.raw.is_empty() {
            let _ = writeln!(text, "{}", section.raw);
        }
        if !section.rows.is_empty() {
            text.push_str("| what | figure | target | |\n|---|--:|--:|---|\n");
            for row in &section.rows {
                let _ = writeln!(text, "| {} | {} | {} | {} |", row.what, row.value, row.target, met(row));
            }
            text.push('\n');
        }
    }
    text
}

/// Writes the page. Where only parts were asked for, what the page has of others stays.
pub fn write(path: &Path, options: &Options, sections: &[Section]) -> std::io::Result<()> {
    let page = match options.parts.is_empty() {
        true => format!(
            "# Benchmarks\n\nWritten by `cargo xtask bench`, on {}; {} rounds, interleaved, medians. Ratios were measured\n\
             side by side in this run; absolute figures are for orientation on that machine only.\n\n{}",
            machine::describe(),
            options.rounds,
            text(sections)
        ),
        false => sections.iter().fold(std::fs::read_to_string(path)?, |page, section| {
            renewed(&page, &section.title, &text(std::slice::from_ref(section)))
        }),
    };
    std::fs::write(path, page.trim_end().to_owned() + "\n")
}

/// The page with another text for the section of that title, or with that section at its end.
fn renewed(page: &str, title: &str, text: &str) -> String {
    let heading = format!("\n## {title}\n");
    let (before, from) = match page.find(&heading) {
        Some(at) => page.split_at(at + 1),
        None => (page, ""),
    };
    let after = from.get(1..).and_then(|rest| rest.find("\n## ")).map_or("", |end| &from[end + 2..]);
    format!("{}\n\n{}\n\n{after}", before.trim_end(), text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::renewed;

    #[test]
    fn one_section_is_written_anew() {
        let page = "# P\n\nHow.\n\n## A\n\na\n\n## B\n\nb\n";
        assert_eq!(renewed(page, "A", "## A\n\nx\n\n"), "# P\n\nHow.\n\n## A\n\nx\n\n## B\n\nb\n");
        assert_eq!(renewed(page, "B", "## B\n\nx\n\n").trim_end(), "# P\n\nHow.\n\n## A\n\na\n\n## B\n\nx");
        assert_eq!(renewed(page, "C", "## C\n\nc\n\n").trim_end(), format!("{page}\n## C\n\nc"));
    }
}
