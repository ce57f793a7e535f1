//! How large files may be.

use super::Complaint;
use super::tree::Tree;

const LINES_MAX: usize = 800;
const MEDIAN_MAX: usize = 150;

/// No Rust file is over the limit, and half of them are small. (Functions are clippy's: `too_many_lines`.)
pub(crate) fn sizes(tree: &Tree) -> Vec<Complaint> {
    let mut lines: Vec<(usize, &str)> = tree.rust().map(|(name, text)| (text.lines().count(), name)).collect();
    lines.sort_unstable();
    let too_long = lines.iter().filter(|(count, _)| *count > LINES_MAX);
    let mut complaints: Vec<Complaint> = too_long
        .map(|(count, name)| Complaint::new(*name, format!("{count} lines, at most {LINES_MAX}: split it by decision")))
        .collect();
    let median = lines.get(lines.len() / 2).map_or(0, |(count, _)| *count);
    if median > MEDIAN_MAX {
        complaints.push(Complaint::new(".", format!("the median file has {median} lines, at most {MEDIAN_MAX}")));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_and_a_high_median_are_found() {
        let mut tree = Tree::default();
        for (name, lines) in [("a.rs", 10), ("b.rs", 151), ("c.rs", 801), ("d.md", 5000)] {
            tree.files.insert(name.into(), "x\n".repeat(lines));
        }
        let expected = [
            Complaint::new("c.rs", "801 lines, at most 800: split it by decision"),
            Complaint::new(".", "the median file has 151 lines, at most 150"),
        ];
        assert_eq!(sizes(&tree), expected);
        tree.files.remove("c.rs");
        tree.files.insert("e.rs".into(), String::new());
        assert_eq!(sizes(&tree), []);
    }
}
