//! `init`, `validate`, `schema`, `completions`.

use super::Context;
use crate::args::{Cli, Init, Output, Overlays};
use crate::fail::Failure;
use crate::output::{err, json, out};
use crate::project;
use clap::CommandFactory;
use deployctl_sys::durable;
use serde_json::json;

pub(crate) fn init(context: &Context, args: &Init) -> Result<(), Failure> {
    let dir = match context.project() {
        Some(dir) => dir.to_path_buf(),
        None => std::env::current_dir().map_err(|e| Failure::usage("no-project", e.to_string()))?,
    };
    let path = dir.join("deployctl.yaml");
    if path.exists() && !args.force {
        let message = format!("{} exists already; --force replaces it", path.display());
        return Err(Failure::usage("exists", message));
    }
    let text = deployctl_spec::init(&deployctl_spec::Listing::read(&dir));
    durable::replace(&path, text.as_bytes(), 0o644)
        .map_err(|e| Failure::usage("unwritable", format!("{} cannot be written: {e}", path.display())))?;
    out(&path.display().to_string());
    err("next: read it, then deployctl validate");
    Ok(())
}

pub(crate) fn validate(context: &Context, args: &Overlays) -> Result<(), Failure> {
    let (spec, _) = project::load(context.project(), &args.config, None, None)?;
    let warnings = spec.warnings.render(crate::output::colour_err());
    if !warnings.trim().is_empty() {
        err(warnings.trim_end());
    }
    let environments: Vec<_> = spec.environments.iter().map(|e| e.name.to_string()).collect();
    let apps: Vec<_> = spec.apps().iter().map(ToString::to_string).collect();
    if context.output() == Output::Json {
        json::print(&json!({ "project": spec.project, "environments": environments, "apps": apps }));
    }
    err(&format!("{} is valid: {} in {}", spec.project, apps.join(", "), environments.join(", ")));
    Ok(())
}

pub(crate) fn schema() -> Result<(), Failure> {
    json::print(&deployctl_spec::schema());
    Ok(())
}

pub(crate) fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "deployctl", &mut script);
    out(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}
