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
    /// The command that builds the image as `tag`, to be run in the project's folder `dir` or in a checkout of it.
    pub fn command(&self, tag: &str, dir: &Path) -> Vec<String> {
        let context = relative(Path::new(&self.context), dir);
        let mut command: Vec<String> = ["docker", "build", "--tag", tag].map(str::to_owned).into();
        if let Some(file) = &self.dockerfile {
            let file = if file.starts_with('/') { relative(Path::new(file), dir) } else { format!("{context}/{file}") };
            command.extend(["--file".to_owned(), file]);
        }
        command.extend(self.target.iter().flat_map(|target| ["--target".to_owned(), target.clone()]));
        for (flag, values) in [("--build-arg", &self.args), ("--label", &self.labels)] {
            command.extend(values.iter().flat_map(|(name, value)| [flag.to_owned(), format!("{name}={value}")]));
        }
        command.push(context);
        command
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
    fn a_build_is_a_command_in_the_projects_folder() {
        let build = Build {
            context: "/p".into(),
            dockerfile: Some("docker/Dockerfile.api".into()),
            args: [("A".to_owned(), "1".to_owned())].into(),
            ..Build::default()
        };
        let words = |build: &Build, dir: &str| build.command("api:v1", Path::new(dir)).join(" ");
        let wanted = "docker build --tag api:v1 --file ./docker/Dockerfile.api --build-arg A=1 .";
        assert_eq!(words(&build, "/p"), wanted);
        let below = Build { context: "/p/web".into(), ..Build::default() };
        assert_eq!(words(&below, "/p"), "docker build --tag api:v1 web");
        assert_eq!(words(&below, "/p/docker"), "docker build --tag api:v1 ../web");
    }
}
