//! Files that no person wrote: refused at once, never a crash.

use super::parse;

fn refused(text: &str, code: &str) -> String {
    let said = parse(text).expect_err("refused").to_string();
    assert!(said.contains(&format!("error[{code}]")), "{said}");
    assert!(said.len() < 4000, "too much is said: {} bytes", said.len());
    said
}

#[test]
fn deep_nesting() {
    for text in [
        format!("a: {}", "[".repeat(100_000)),
        format!("a: {}", "{a: ".repeat(100_000)),
        "- ".repeat(100_000),
        "? ".repeat(100_000),
        (0..700).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(),
    ] {
        refused(&text, "spec-too-large");
    }
    let deep = format!("a: {}x{}", "[".repeat(40), "]".repeat(40));
    let said = refused(&deep, "spec-too-large");
    assert!(said.contains("at most 32 levels"), "{said}");
}

#[test]
fn aliases_that_multiply() {
    let mut text = String::from("a0: &a0 [x]\n");
    for i in 1..13 {
        let before = format!("*a{},", i - 1).repeat(9);
        text.push_str(&format!("a{i}: &a{i} [{before}]\n"));
    }
    let said = refused(&text, "spec-too-large");
    assert!(said.contains("an alias counts each time it is used"), "{said}");
    refused("a: &a [*a]", "spec-syntax");
}

#[test]
fn large_files() {
    let said = refused(&"# x\n".repeat(300_000), "spec-too-large");
    assert!(said.contains("at most 1048576 are read"), "{said}");
    refused(&format!("a: [{}]", "x,".repeat(60_000)), "spec-too-large");
}

#[test]
fn large_numbers_of_everything() {
    let keys: String = (0..5_000).map(|i| format!("k{i}: x\n")).collect();
    let said = parse(&keys).expect_err("unknown keys").to_string();
    assert_eq!(said.matches("error[").count(), 50, "the first ones are told, not all");
    let long = "x".repeat(500_000);
    let said = parse(&format!("project: {long}\nenvironments: {{ dev: }}\napps: {{ a: {{ command: [x] }} }}"));
    assert!(said.expect_err("a long name").to_string().len() < 2000);
    parse(&format!("{long}: x")).expect_err("a long key");
}

#[test]
fn templates_that_want_much() {
    for expression in [
        "'x' * 99999999999".to_string(),
        "[1] * 99999999999".to_string(),
        "(".repeat(900),
        "1 + ".repeat(200),
        "not ".repeat(240),
        "'a'|replace('a','aaaaaaaaaa')".to_string() + &"|replace('a','aaaaaaaaaaaaaaaaaaaa')".repeat(20),
        "-".repeat(900),
        "9 ** 9 ** 9 ** 9".to_string(),
        "x".repeat(5000),
    ] {
        let text = serde_json::Value::from(format!("{{{{ {expression} }}}}")).to_string();
        let spec = format!("{{ project: p, environments: {{ dev: }}, apps: {{ a: {{ command: [x, {text}] }} }} }}");
        let said = parse(&spec).expect_err(&expression).to_string();
        assert!(said.contains("deployctl.yaml:1:"), "{said}");
        assert!(said.contains("error[spec-template]") || said.contains("error[spec-unknown-variable]"), "{said}");
    }
}
