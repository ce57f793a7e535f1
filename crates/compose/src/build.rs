//! Images that are built from the project.

use crate::reader::At;
use std::collections::BTreeMap;
use std::path::Path;

/// How an image is built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Build {
    /// The folder that it is built from, absolute.
    pub context: String,
    /// The Dockerfile, relative to the context.
    pub dockerfile: Option<String>,
    /// The stage.
    pub target: Option<String>,
    /// Arguments.
    pub args: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

pub(crate) fn build(at: &At<'_>) -> Build {
    let mut build = Build::default();
    for (key, value) in at.entries() {
        match key.as_str() {
            "context" => build.context = value.text(),
            "dockerfile" => build.dockerfile = Some(value.text()),
            "target" => build.target = Some(value.text()),
            "args" => build.args = value.text_map(),
            "labels" => build.labels = value.text_map(),
            key if key.starts_with("x-") => {}
            _ => value.not_built("build and push the image elsewhere, and name it under `images`"),
        }
    }
    if build.context.contains("://") || build.context.starts_with("git@") {
        at.not_built("only folders are; build and push the image elsewhere, and name it under `images`");
    }
    build
}

impl Build {
    /// The folder and the Dockerfile as seen from the project's folder `dir`, so that they are the same in a checkout of it.
    pub fn paths(&self, dir: &Path) -> (String, Option<String>) {
        let context = relative(Path::new(&self.context), dir);
        let file = |file: &String| match file.starts_with('/') {
            true => relative(Path::new(file), dir),
            false => format!("{context}/{file}"),
        };
        (context.clone(), self.dockerfile.as_ref().map(file))
    }
}

/// `path` as seen from `dir`.
fn relative(path: &Path, dir: &Path) -> String {
    let (path_parts, dir_parts): (Vec<_>, Vec<_>) = (path.components().collect(), dir.components().collect());
    let common = path_parts.iter().zip(&dir_parts).take_while(|(a, b)| a == b).count();
    let up = dir_parts[common..].iter().map(|_| "..".to_owned());
    let down = path_parts[common..].iter().map(|part| part.as_os_str().to_string_lossy().into_owned());
    let parts: Vec<String> = up.chain(down).collect();
    if parts.is_empty() { ".".into() } else { parts.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_said_from_the_projects_folder() {
        let paths = |context: &str, file: Option<&str>, dir: &str| {
            let build = Build { context: context.into(), dockerfile: file.map(str::to_owned), ..Build::default() };
            let (context, file) = build.paths(Path::new(dir));
            format!("{context} {}", file.unwrap_or_default())
        };
        assert_eq!(paths("/p", Some("docker/Dockerfile.api"), "/p"), ". ./docker/Dockerfile.api");
        assert_eq!(paths("/p/web", None, "/p"), "web ");
        assert_eq!(paths("/p/web", Some("/p/x/Dockerfile"), "/p/docker"), "../web ../x/Dockerfile");
    }
}
