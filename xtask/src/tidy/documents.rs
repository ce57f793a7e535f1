//! Documents keep in step with the code.

use super::Complaint;
use super::tree::Tree;
use std::collections::{BTreeMap, BTreeSet};

/// Every target begins by saying what it is.
pub(crate) fn crates(tree: &Tree) -> Vec<Complaint> {
    let targets = tree.packages.iter().flat_map(|package| &package.targets);
    let silent = targets.filter(|t| !tree.files.get(&t.source).is_some_and(|text| text.starts_with("//! ")));
    silent.map(|target| Complaint::new(&target.source, "does not begin with `//! ` and what it is")).collect()
}

/// `ARCHITECTURE.md` names every package.
pub(crate) fn architecture(tree: &Tree) -> Vec<Complaint> {
    const FILE: &str = "ARCHITECTURE.md";
    let text = tree.files.get(FILE).map_or("", String::as_str);
    let missing = tree.packages.iter().filter(|package| !text.contains(&format!("`{}`", package.folder)));
    missing.map(|package| Complaint::new(FILE, format!("does not name `{}`", package.folder))).collect()
}

/// Every error code has a page in `docs/errors`, and every page a code.
pub(crate) fn error_pages(tree: &Tree) -> Vec<Complaint> {
    let mut found = BTreeMap::new();
    for (file, text) in tree.rust().filter(|(file, _)| !file.contains("/tests/") && !file.starts_with("xtask/")) {
        let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        for code in codes(text) {
            found.insert(code, file);
        }
    }
    let codes = found;
    let page = |code: &str| format!("docs/errors/{code}.md");
    let mut complaints: Vec<Complaint> = codes
        .iter()
        .filter(|(code, _)| !tree.files.contains_key(&page(code)))
        .map(|(code, file)| Complaint::new(*file, format!("the code `{code}` has no page {}", page(code))))
        .collect();
    for name in tree.files.keys() {
        let code = name.strip_prefix("docs/errors/").and_then(|file| file.strip_suffix(".md"));
        if code.is_some_and(|code| code != "README" && !codes.contains_key(code)) {
            complaints.push(Complaint::new(name, "no error has this code"));
        }
    }
    complaints
}

/// The codes in a source: those declared in a `codes! { Name = "code", }` list, and those given to `Refused::new(KIND,
/// "code", ..)`, `(RefusedKind::Denied, "code")` and `Failure::usage("code", ..)`; for a constant, its value.
fn codes(text: &str) -> BTreeSet<&str> {
    let lists = text.split("\ncodes! {").skip(1).flat_map(|list| list.split("\n}").next().unwrap_or_default().lines());
    let declared = lists.filter_map(|line| line.split_once('=').map(|(_, value)| value));
    let after_kind = ["Refused::new(", "RefusedKind::"].into_iter().flat_map(|call| text.split(call).skip(1));
    let second =
        after_kind.filter_map(|rest| rest.split_once(',').filter(|(kind, _)| is_short(kind))).map(|(_, rest)| rest);
    let first = text.split("Failure::usage(").skip(1);
    declared.chain(second).chain(first).filter_map(|rest| value(text, rest.trim_start())).collect()
}

/// Whether this is one argument: not the rest of a file up to some comma.
fn is_short(argument: &str) -> bool {
    argument.trim().chars().all(|c| c.is_alphanumeric() || c == ':' || c == '_')
}

/// The text literal with which `rest` begins, or that of the constant.
fn value<'a>(text: &'a str, rest: &'a str) -> Option<&'a str> {
    let literal = match rest.strip_prefix('"') {
        Some(literal) => literal,
        None => {
            let name =
                rest.split(|c: char| !c.is_ascii_uppercase() && c != '_').next().filter(|name| name.len() > 1)?;
            text.split_once(&format!("const {name}: &str = \""))?.1
        }
    };
    let code = literal.split('"').next()?;
    let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (!code.is_empty() && code.chars().all(kebab)).then_some(code)
}

/// The tests that `docs/promises.md` names exist: `some::path::test_name` is a function somewhere.
pub(crate) fn promises(tree: &Tree) -> Vec<Complaint> {
    const FILE: &str = "docs/promises.md";
    let Some(text) = tree.files.get(FILE) else { return Vec::new() };
    let mut complaints = Vec::new();
    for name in text.split('`').skip(1).step_by(2).filter(|quoted| quoted.contains("::")) {
        let function = name.rsplit("::").next().unwrap_or_default();
        let declared = format!("fn {function}(");
        if !tree.rust().any(|(_, text)| text.contains(&declared)) {
            complaints.push(Complaint::new(FILE, format!("there is no test `{name}`")));
        }
    }
    complaints
}

/// Links from one document to a file of the tree lead there.
pub(crate) fn links(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (file, text) in tree.files.iter().filter(|(name, _)| name.ends_with(".md")) {
        let beside = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let elsewhere = link.is_empty() || link.contains("://") || link.contains([' ', '`']);
            if !elsewhere && !exists(tree, &resolve(beside, link)) {
                complaints.push(Complaint::new(file, format!("the link to `{link}` leads nowhere")));
            }
        }
    }
    complaints
}

fn resolve(folder: &str, link: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn exists(tree: &Tree, path: &str) -> bool {
    tree.files.contains_key(path) || tree.files.keys().any(|name| name.starts_with(&format!("{path}/")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::{Package, Target};

    fn tree(files: &[(&str, &str)]) -> Tree {
        let files = files.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        Tree { files, packages: vec![] }
    }

    fn said(complaints: &[Complaint]) -> Vec<String> {
        complaints.iter().map(|c| format!("{}: {}", c.place, c.what)).collect()
    }

    #[test]
    fn packages_are_described() {
        let mut tree = tree(&[("a/src/lib.rs", "//! Text.\n"), ("b/src/lib.rs", "mod x;"), ("ARCHITECTURE.md", "`a`")]);
        for folder in ["a", "b"] {
            let target = Target { kind: "lib".into(), source: format!("{folder}/src/lib.rs") };
            tree.packages.push(Package { folder: folder.into(), targets: vec![target], ..Package::default() });
        }
        assert_eq!(said(&crates(&tree)), ["b/src/lib.rs: does not begin with `//! ` and what it is"]);
        assert_eq!(said(&architecture(&tree)), ["ARCHITECTURE.md: does not name `b`"]);
    }

    #[test]
    fn codes_and_pages_belong_together() {
        let tree = tree(&[
            (
                "code.rs",
                "\ncodes! {\n    /// One.\n    One = \"spec-one\",\n    Two = \"spec-two\",\n}\nlet x = \"other\";",
            ),
            ("docs/errors/spec-one.md", ""),
            ("docs/errors/old.md", ""),
            ("docs/errors/README.md", ""),
        ]);
        let wrong = [
            "code.rs: the code `spec-two` has no page docs/errors/spec-two.md",
            "docs/errors/old.md: no error has this code",
        ];
        assert_eq!(said(&error_pages(&tree)), wrong);
    }

    #[test]
    fn codes_are_found_where_they_are_given() {
        let text = "const LOST: &str = \"engine-lost\";\n\
            Refused::new(RefusedKind::Usage, \"one\", x); Refused::new(\n    kind,\n    \"two\",\n    x);\n\
            A => (RefusedKind::Denied, \"three\"), B => RefusedKind::Usage, C => \"not-one\";\n\
            Failure::usage(\"four\", m); Refused::new(RefusedKind::Unreachable, LOST, m); Refused::new(kind, code, m)";
        assert_eq!(codes(text), BTreeSet::from(["engine-lost", "four", "one", "three", "two"]));
    }

    #[test]
    fn links_lead_somewhere() {
        let tree = tree(&[
            ("README.md", "[a](docs/a.md#part) [docs](docs/) [web](https://x.example/y) [no](docs/no.md) [top](#top)"),
            ("docs/a.md", "[up](../README.md) [beside](a.md) [out](../../b.md)"),
        ]);
        let wrong =
            ["README.md: the link to `docs/no.md` leads nowhere", "docs/a.md: the link to `../../b.md` leads nowhere"];
        assert_eq!(said(&links(&tree)), wrong);
    }

    #[test]
    fn promised_tests_exist() {
        let tree = tree(&[
            ("docs/promises.md", "P1: `proxy::keeps_requests`, `proxy::gone` and `not_a_path`"),
            ("a.rs", "fn keeps_requests() {}"),
        ]);
        assert_eq!(said(&promises(&tree)), ["docs/promises.md: there is no test `proxy::gone`"]);
    }
}
