//! What a renderer printed, as files.

use crate::source::Source;

/// What Helm printed, by the templates that it comes from: `# Source: FILE` stands before each document.
pub fn rendered_files(text: &str) -> Vec<Source> {
    let mut files: Vec<Source> = Vec::new();
    for document in text.split("\n---\n") {
        let document = document.strip_prefix("---\n").unwrap_or(document);
        let said = document.lines().find_map(|line| line.strip_prefix("# Source: "));
        let name = said.map(|name| format!("rendered {}", name.trim()));
        match (files.iter_mut().find(|file| Some(&file.name) == name.as_ref()), name) {
            (Some(file), _) => file.text.push_str(&format!("---\n{document}\n")),
            (None, Some(name)) => files.push(Source { name, text: format!("{document}\n") }),
            // Of one template several documents may come, of which only the first says so.
            (None, None) => match files.last_mut() {
                Some(file) => file.text.push_str(&format!("---\n{document}\n")),
                None => files.push(Source { name: "rendered chart".into(), text: format!("{document}\n") }),
            },
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helm_prints_is_told_by_its_templates() {
        let text = "---\n# Source: shop/crds/x.yaml\na: 1\n---\n# Source: shop/templates/web.yaml\nb: 1\n---\n\
                    # Source: shop/templates/web.yaml\nc: 1\n---\nd: 1\n";
        let files: Vec<(String, String)> =
            rendered_files(text).into_iter().map(|file| (file.name, file.text)).collect();
        let web =
            "# Source: shop/templates/web.yaml\nb: 1\n---\n# Source: shop/templates/web.yaml\nc: 1\n---\nd: 1\n\n";
        let wanted = [
            ("rendered shop/crds/x.yaml".to_owned(), "# Source: shop/crds/x.yaml\na: 1\n".to_owned()),
            ("rendered shop/templates/web.yaml".to_owned(), web.to_owned()),
        ];
        assert_eq!(files, wanted);
    }
}
