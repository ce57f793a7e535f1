//! Python packages, by what is in their archives.

use super::unpacked::Texts;
use crate::subject::{Files, Package};

/// A wheel of this file name.
pub(super) fn wheel(file_name: &str, files: Files, texts: &Texts) -> Package {
    let parts: Vec<&str> = file_name.trim_end_matches(".whl").split('-').collect();
    let mut package = Package { is_wheel: true, files, ..Package::default() };
    // NAME-VERSION(-BUILD)-PYTHON-ABI-PLATFORM
    if let (5 | 6, Some(platforms)) = (parts.len(), parts.last()) {
        package.platforms = platforms.split('.').map(str::to_owned).collect();
    } else {
        package.broken = Some("its name is not NAME-VERSION-PYTHON-ABI-PLATFORM.whl".into());
    }
    let of = |name: &str| {
        texts.iter().find(|(path, _)| {
            path.split_once('/').is_some_and(|(folder, file)| folder.ends_with(".dist-info") && file == name)
        })
    };
    match of("METADATA") {
        Some((_, text)) => about(text, &mut package),
        None => package.broken = Some("it has no METADATA".into()),
    }
    if of("WHEEL").is_none() || of("RECORD").is_none() {
        package.broken.get_or_insert("it has no WHEEL or no RECORD".into());
    }
    if let Some((_, text)) = of("entry_points.txt") {
        package.commands = commands(text);
    }
    package
}

/// A source distribution, if the archive is one: its only folder has a `PKG-INFO`.
pub(super) fn source(texts: &Texts) -> Option<Package> {
    let info = texts.iter().find(|(path, _)| path.split_once('/').is_some_and(|(_, file)| file == "PKG-INFO"));
    let mut package = Package::default();
    about(info?.1, &mut package);
    Some(package)
}

/// The fields of the metadata that matter; they end at the first empty line.
fn about(text: &str, package: &mut Package) {
    for line in text.lines().take_while(|line| !line.trim().is_empty()) {
        match line.split_once(':').map(|(name, value)| (name, value.trim().to_owned())) {
            Some(("Name", value)) => package.name = Some(value),
            Some(("Version", value)) => package.version = Some(value),
            Some(("Requires-Python", value)) => package.requires_python = Some(value),
            _ => {}
        }
    }
    if package.name.is_none() || package.version.is_none() {
        package.broken = Some("its metadata has no name or no version".into());
    }
}

/// The names in the section `console_scripts`.
fn commands(text: &str) -> Vec<String> {
    let mut within = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            within = line == "[console_scripts]";
        } else if let Some((name, _)) = line.split_once('=').filter(|_| within) {
            found.push(name.trim().to_owned());
        }
    }
    found
}
