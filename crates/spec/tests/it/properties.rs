//! What holds for any input.

use super::parse;
use deployctl_spec::{Listing, Source, Spec, init};
use proptest::prelude::*;
use std::path::Path;

const SHOP: &str = include_str!("../cases/shop.yaml");
const SKETCH: &str = include_str!("../cases/sketch.yaml");
/// Pieces from which something like a specification can come about.
const PIECES: &[&str] = &[
    "project: p\n",
    "environments:\n",
    "  dev: {}\n",
    "apps:\n",
    "  a:\n",
    "    command: [x]\n",
    "    in:\n",
    "{{ port }}",
    "{{ vers",
    "}}",
    "&a ",
    "*a",
    "<<: ",
    "[",
    "]",
    "{",
    "}",
    "- ",
    "? ",
    ": ",
    "\"",
    "'",
    "|\n",
    ">-\n",
    "!!str ",
    "~",
    "0x",
    "10%",
    "30s",
    "# ",
    "---\n",
    "\t",
    "\u{feff}",
    "\u{2028}",
    "ä",
    "    strategy: canary\n",
    "\r\n",
    "    route: {}\n",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_never_crash_it(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Err(errors) = parse(&text) {
            prop_assert!(errors.errors() > 0, "refused without a reason: {text:?}");
        }
    }

    #[test]
    fn pieces_never_crash_it(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..40)) {
        let text: String = pieces.concat();
        let _ = parse(&text).map_err(|errors| errors.render(true));
    }

    #[test]
    fn a_change_anywhere_is_fine_or_located(at in 0usize..2000, what in proptest::sample::select(PIECES), sketch: bool) {
        let mut text = String::from(if sketch { SKETCH } else { SHOP });
        let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.insert_str(at, what);
        if let Err(errors) = parse(&text) {
            let said = errors.to_string();
            prop_assert!(said.contains("deployctl.yaml:"), "no place: {said}\n{text}");
            let lines = u32::try_from(text.lines().count()).unwrap_or(u32::MAX) + 1;
            let places = errors.0.iter().filter_map(|error| error.location.as_ref());
            prop_assert!(places.into_iter().all(|at| at.line >= 1 && at.line <= lines), "{said}");
        }
    }

    #[test]
    fn overlays_never_crash_it(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..20)) {
        let source = |name: &str, text: &str| Source { name: name.into(), text: text.into() };
        let sources = vec![source("deployctl.yaml", SHOP), source("overlay.yaml", &pieces.concat())];
        let _ = Spec::parse(Path::new("/project"), sources);
    }

    #[test]
    fn every_start_validates(name in "\\PC{0,30}", procfile in "(\\PC{0,10}: ?\\PC{0,40}\n){0,4}",
                             json_name in any::<String>(), main in any::<String>(), which in 0u8..6) {
        let package = serde_json::json!({ "name": json_name, "main": main }).to_string();
        let dockerfile = format!("CMD {}", serde_json::json!([main, json_name]));
        let cargo = format!("[package]\nname = \"{json_name}\"");
        let (path, text) = match which {
            0 => ("Procfile", procfile),
            1 => ("package.json", package),
            2 => ("Dockerfile", dockerfile),
            3 => ("Cargo.toml", cargo),
            4 => ("compose.yaml", format!("services: {{ {}: x }}", serde_json::Value::from(json_name))),
            _ => ("pyproject.toml", cargo.replace("package", "project")),
        };
        let text = init(&Listing { name, files: [(path.to_string(), text)].into() });
        if let Err(errors) = parse(&text) {
            prop_assert!(false, "{errors}\n{text}");
        }
    }
}
