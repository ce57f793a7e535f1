//! Files that nothing compiles.

use super::Complaint;
use super::tree::Tree;
use std::collections::BTreeSet;

/// Every Rust file below `src` and `tests` of a package is reached by `mod` from one of its targets.
pub(crate) fn dead(tree: &Tree) -> Vec<Complaint> {
    let mut reached = BTreeSet::new();
    for target in tree.packages.iter().flat_map(|package| &package.targets) {
        let (folder, _) = split(&target.source);
        follow(tree, &target.source, folder, &mut reached);
    }
    let compiled = |name: &str| {
        let owner = tree.packages.iter().filter_map(|p| name.strip_prefix(&p.folder)?.strip_prefix('/'));
        owner.into_iter().any(|inside| inside.starts_with("src/") || inside.starts_with("tests/"))
    };
    let dead = tree.rust().filter(|(name, _)| compiled(name) && !reached.contains(*name));
    dead.map(|(name, _)| Complaint::new(name, "no `mod` leads here: nothing compiles it")).collect()
}

/// Takes up `file`, whose submodules lie in `folder`, and everything below it.
fn follow(tree: &Tree, file: &str, folder: &str, reached: &mut BTreeSet<String>) {
    let Some(text) = tree.files.get(file).filter(|_| reached.insert(file.to_owned())) else { return };
    let beside = split(file).0;
    let mut path = None;
    // Modules written out within this file: where they end, as rustfmt writes it, and where their submodules lie.
    let mut inline: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let code = line.trim();
        if let Some(rest) = code.strip_prefix("#[path = \"") {
            path = rest.split('"').next();
            continue;
        }
        if code.starts_with("#[") || code.starts_with("//") {
            continue;
        }
        if inline.last().is_some_and(|(end, _)| end == line) {
            inline.pop();
        }
        let here = inline.last().map_or(folder, |(_, folder)| folder).to_owned();
        let code = code.split(" //").next().unwrap_or_default().trim();
        if let Some(name) = code.strip_suffix(" {").and_then(module_name) {
            let indent = &line[..line.len() - line.trim_start().len()];
            inline.push((format!("{indent}}}"), format!("{here}/{name}")));
        } else if let Some(name) = code.strip_suffix(';').and_then(module_name) {
            for (file, folder) in places(path.map(|path| format!("{beside}/{path}")), &here, name) {
                follow(tree, &file, &folder, reached);
            }
        }
        path = None;
    }
}

/// Where module `name` may be, and its submodules.
fn places(path: Option<String>, folder: &str, name: &str) -> Vec<(String, String)> {
    match path {
        Some(path) => {
            let folder = split(&path).0.to_owned();
            vec![(path, folder)]
        }
        None => {
            let below = format!("{folder}/{name}");
            vec![(format!("{below}.rs"), below.clone()), (format!("{below}/mod.rs"), below)]
        }
    }
}

/// The name in `mod NAME`, whatever its visibility.
fn module_name(code: &str) -> Option<&str> {
    let code = match code.strip_prefix("pub(") {
        Some(rest) => rest.split_once(')')?.1.trim_start(),
        None => code.strip_prefix("pub ").unwrap_or(code),
    };
    code.strip_prefix("mod ")
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::{Package, Target};

    #[test]
    fn files_that_no_mod_reaches_are_found() {
        let mut tree = Tree::default();
        let target = Target { kind: "lib".into(), source: "a/src/lib.rs".into() };
        tree.packages.push(Package { folder: "a".into(), targets: vec![target], ..Package::default() });
        for (name, text) in [
            ("a/src/lib.rs", "pub mod one;\nmod two; // with two below\n#[path = \"odd.rs\"]\nmod even;\n// mod dead;"),
            ("a/src/one.rs", "#[cfg(test)]\nmod tests;\nmod inner {\n    fn f() {}\n    mod deep;\n}\nmod after;"),
            ("a/src/one/inner/deep.rs", ""),
            ("a/src/one/after.rs", ""),
            ("a/src/one/tests.rs", ""),
            ("a/src/two/mod.rs", "pub(crate) mod below;"),
            ("a/src/two/below.rs", ""),
            ("a/src/odd.rs", ""),
            ("a/src/dead.rs", ""),
            ("a/src/two/dead.rs", ""),
            ("a/build/other.rs", ""),
        ] {
            tree.files.insert(name.into(), text.into());
        }
        let found: Vec<String> = dead(&tree).into_iter().map(|c| c.place).collect();
        assert_eq!(found, ["a/src/dead.rs", "a/src/two/dead.rs"]);
    }
}
