//! The matrix as a person reads it.

use super::case::{How, Point};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    AsAlways,
    Back,
    Never,
    Asks,
    Wrong,
}

impl Cell {
    /// As it is counted.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::AsAlways => "ended as without a crash",
            Self::Back => "turned back",
            Self::Never => "never began",
            Self::Asks => "failed and asks",
            Self::Wrong => "wrong",
        }
    }

    fn letter(self) -> char {
        match self {
            Self::AsAlways => '+',
            Self::Back => 'b',
            Self::Never => 'n',
            Self::Asks => 'f',
            Self::Wrong => '!',
        }
    }
}

/// Points by flows.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    flows: Vec<String>,
    rows: BTreeMap<Point, BTreeMap<usize, Vec<(How, Cell)>>>,
}

impl Table {
    pub(crate) fn new(flows: &[&str]) -> Self {
        Self { flows: flows.iter().map(|name| (*name).to_owned()).collect(), rows: BTreeMap::new() }
    }

    pub(crate) fn set(&mut self, point: &Point, flow: usize, how: How, cell: Cell) {
        self.rows.entry(point.clone()).or_default().entry(flow).or_default().push((how, cell));
    }

    /// A table for each group of flows; the group is what stands before the `/` in their names.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        let group = |name: &str| name.split('/').next().unwrap_or_default().to_owned();
        let mut groups: Vec<String> = self.flows.iter().map(|name| group(name)).collect();
        groups.dedup();
        for one in groups {
            let columns: Vec<usize> = (0..self.flows.len()).filter(|at| group(&self.flows[*at]) == one).collect();
            let rows = self.rows.iter().filter(|(_, row)| columns.iter().any(|at| row.contains_key(at)));
            let whats = columns.iter().map(|at| self.flows[*at].split('/').nth(1).unwrap_or_default());
            let _ = writeln!(text, "\n## {one}\n\n| role | point | {} |", whats.collect::<Vec<_>>().join(" | "));
            let _ = writeln!(text, "|---|---|{}", "---|".repeat(columns.len()));
            for (point, row) in rows {
                let cells: Vec<String> =
                    columns.iter().map(|at| cell(row.get(at).map_or(&[], Vec::as_slice))).collect();
                let _ = writeln!(text, "| {} | {} | {} |", point.role, point.name, cells.join(" | "));
            }
        }
        text
    }
}

fn cell(cases: &[(How, Cell)]) -> String {
    let letters = |how| cases.iter().filter(move |(of, _)| *of == how).map(|(_, cell)| cell.letter());
    let (kill, stop): (String, String) = (letters(How::Kill).collect(), letters(How::Stop).collect());
    if kill.is_empty() && stop.is_empty() { String::new() } else { format!("{kill} {stop}").trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_for_each_group() {
        let mut table = Table::new(&["rolling/deploy", "rolling/bad", "canary/deploy"]);
        let point = |name: &str| Point { role: "engine".into(), name: name.into() };
        table.set(&point("a"), 0, How::Kill, Cell::AsAlways);
        table.set(&point("a"), 0, How::Kill, Cell::Back);
        table.set(&point("a"), 0, How::Stop, Cell::Never);
        table.set(&point("b"), 2, How::Stop, Cell::Wrong);
        let wanted = "\n## rolling\n\n| role | point | deploy | bad |\n|---|---|---|---|\n| engine | a | +b n |  |\n\
                      \n## canary\n\n| role | point | deploy |\n|---|---|---|\n| engine | b | ! |\n";
        assert_eq!(table.markdown(), wanted);
    }
}
