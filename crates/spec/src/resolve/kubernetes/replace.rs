//! Objects that may be made anew.

use super::super::Context;
use crate::code::Code;
use crate::raw::Settings;
use crate::text::{shorten, suggest};
use deployctl_core::config::ManifestObject;
use deployctl_kubernetes::object::Name;
use deployctl_kubernetes::order;

/// The objects that may be deleted and made anew, each of which is in the manifests and holds no data of its own.
pub(super) fn names(objects: &[ManifestObject], settings: &Settings, cx: &mut Context<'_, '_>) -> Vec<String> {
    let all: Vec<Name> = objects.iter().filter_map(|one| Name::of(&one.object)).collect();
    let mut names = Vec::new();
    for text in settings.replace.iter().flatten() {
        let said = cx.plain(text);
        match all.iter().find(|name| name.to_string() == said) {
            None => {
                let message = format!("no object in the manifests is called `{}`", shorten(&said));
                let known: Vec<String> = all.iter().map(ToString::to_string).collect();
                let help = suggest(&said, known.iter().map(String::as_str));
                cx.findings.error_help(text.at, Code::UnknownName, message, help);
            }
            Some(name) if order::is_kept(name.group(), &name.kind) => {
                let message = format!("{name} is never replaced: what is in it would be lost");
                let help = "give the changed one another name, and move what is in it";
                cx.findings.error_help(text.at, Code::Contradiction, message, help);
            }
            Some(_) => names.push(said),
        }
    }
    names
}
