//! What must not stand in a file.

use super::Complaint;
use super::tree::Tree;

/// Put together here, so that this file does not complain about itself.
fn marks_of_the_unfinished() -> [String; 5] {
    let with = |start: &str, end: &str| format!("{start}{end}");
    [with("to", "do!("), with("unimple", "mented!("), with("#[ig", "nore"), with("TO", "DO"), with("FIX", "ME")]
}

fn folders_of_one_machine() -> [String; 4] {
    ["home", "root", "work", "Users"].map(|name| format!("/{name}/"))
}

/// Nothing is unfinished, and no test is left out.
pub(crate) fn marks(tree: &Tree) -> Vec<Complaint> {
    let marks = marks_of_the_unfinished();
    find(tree.rust(), &marks, |mark| format!("`{mark}`: finish it, or leave it out"))
}

/// No path of somebody's machine.
pub(crate) fn machine_paths(tree: &Tree) -> Vec<Complaint> {
    let files = tree.files.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    find(files, &folders_of_one_machine(), |path| format!("`{path}...` is a path of one machine"))
}

/// Unsafe code stands in small files that say why it is sound.
pub(crate) fn unsafe_code(tree: &Tree) -> Vec<Complaint> {
    let allows = concat!("allow(", "unsafe_code)");
    let mut complaints = Vec::new();
    for (name, text) in tree.rust().filter(|(_, text)| text.contains(allows)) {
        let blocks = text.matches("unsafe {").count() + text.matches("unsafe impl").count();
        if text.matches("SAFETY:").count() < blocks {
            complaints.push(Complaint::new(name, "unsafe code without a `SAFETY:` note for each block"));
        }
        if text.lines().count() > 150 {
            complaints
                .push(Complaint::new(name, "unsafe code in a file of more than 150 lines: give it one of its own"));
        }
    }
    complaints
}

fn find<'a>(
    files: impl Iterator<Item = (&'a str, &'a str)>,
    wanted: &[String],
    what: impl Fn(&str) -> String,
) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (name, text) in files {
        for (number, line) in text.lines().enumerate() {
            for found in wanted.iter().filter(|word| stands_alone(line, word)) {
                complaints.push(Complaint::new(format!("{name}:{}", number + 1), what(found)));
            }
        }
    }
    complaints
}

/// Whether `word` is in `line` and not the end of a longer name.
fn stands_alone(line: &str, word: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || "_-.~}$".contains(c);
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(name: &str, text: &str) -> Tree {
        let mut tree = Tree::default();
        tree.files.insert(name.into(), text.into());
        tree
    }

    #[test]
    fn unfinished_things_are_found() {
        for mark in marks_of_the_unfinished() {
            let complaints = marks(&tree("a.rs", &format!("fn f() {{\n    {mark}")));
            assert_eq!(complaints.len(), 1, "{mark}");
            assert_eq!(complaints[0].place, "a.rs:2");
        }
        assert_eq!(marks(&tree("a.rs", "fn ignore() {}\n// the todo list")), []);
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        let [home, root, ..] = folders_of_one_machine();
        assert_eq!(machine_paths(&tree("a.md", &format!("see {home}me/x")))[0].place, "a.md:1");
        assert_eq!(machine_paths(&tree("a.md", &format!("(`{root}x`)"))).len(), 1);
        assert_eq!(machine_paths(&tree("a.md", &format!("$DIR{root} and ../some{home}"))), []);
    }

    #[test]
    fn unsafe_code_says_why() {
        let attribute = concat!("#![allow(", "unsafe_code)]");
        let text = format!("{attribute}\nfn f() {{ unsafe {{ g() }} }}\n");
        assert_eq!(unsafe_code(&tree("a.rs", &text)).len(), 1);
        assert_eq!(unsafe_code(&tree("a.rs", &format!("// SAFETY: g is harmless\n{text}"))), []);
        assert_eq!(unsafe_code(&tree("a.rs", &format!("// SAFETY: g\n{text}{}", "\n".repeat(150)))).len(), 1);
    }
}
