//! Commands of a deployment to a cluster: as what they run, and what they cannot say.

use crate::code::Code;
use crate::raw::Settings;
use crate::resolve::Context;
use crate::text::{shorten, suggest};
use deployctl_core::config::{JobsAs, LatePart, LateText, ManifestObject};
use deployctl_kubernetes::jobs::workloads;
use deployctl_kubernetes::port;

/// The container that commands run as; none if there is no command.
pub(super) fn like(objects: &[ManifestObject], settings: &Settings, cx: &mut Context<'_, '_>) -> Option<JobsAs> {
    let has_any = settings.migrate.is_some() || settings.hooks.is_some() || settings.smoke.is_some();
    if !has_any && settings.jobs_as.is_none() {
        return None;
    }
    let all = workloads(objects.iter().map(|object| &object.object));
    let at = settings.jobs_as.as_ref().map_or(cx.at, |text| text.at);
    let said = settings.jobs_as.as_ref().map(|text| cx.plain(text));
    let (workload, container) = match said.as_deref().map(|said| said.split_once('/').unwrap_or((said, ""))) {
        Some((workload, container)) => (workload, container),
        None => ("", ""),
    };
    let mut meant = all.iter().filter(|(name, _)| workload.is_empty() || name == workload);
    let (found, another) = (meant.next(), meant.next());
    let names = all.iter().map(|(name, _)| name.as_str());
    let Some((name, containers)) = found else {
        let message = match workload {
            "" => "commands of a deployment run as a container of a workload, and the manifests have none".to_owned(),
            workload => format!("no Deployment, StatefulSet or DaemonSet is called `{}`", shorten(workload)),
        };
        let help = suggest(workload, names);
        cx.findings.error_help(at, Code::UnknownName, message, help);
        return None;
    };
    if another.is_some() {
        let message =
            format!("there are several workloads that commands could run as: {}", names.collect::<Vec<_>>().join(", "));
        cx.findings.error_help(at, Code::MissingKey, message, "say which: `jobs_as: WORKLOAD`");
        return None;
    }
    let is_there = |wanted: &str| containers.iter().any(|known| known == wanted);
    let container = match (container, &containers[..]) {
        ("", [only]) => only.clone(),
        (wanted, _) if is_there(wanted) => wanted.to_owned(),
        (wanted, _) => {
            let message = match wanted {
                "" => format!("`{name}` has several containers: {}", containers.join(", ")),
                wanted => format!("`{name}` has no container `{}`", shorten(wanted)),
            };
            let help = "say which: `jobs_as: WORKLOAD/CONTAINER`";
            cx.findings.error_help(at, Code::UnknownName, message, help);
            return None;
        }
    };
    Some(JobsAs { workload: name.clone(), container })
}

/// Where pods answer the requests of smoke tests; none if there is no such test.
pub(super) fn smoke_port(
    objects: &[ManifestObject],
    jobs: &JobsAs,
    settings: &Settings,
    cx: &mut Context<'_, '_>,
) -> Option<u16> {
    let asked = settings.smoke.iter().flatten().find_map(|smoke| smoke.value.http.as_ref())?;
    let objects: Vec<_> = objects.iter().map(|object| object.object.clone()).collect();
    let found = port::of(&objects, &jobs.workload);
    if found.is_none() {
        let message = format!("on which port the pods of `{}` answer is nowhere said", jobs.workload);
        let help = "a smoke test by `http` asks on the port of the Service that leads to them, or the first of `ports` of their containers";
        cx.findings.error_help(asked.at, Code::MissingKey, message, help);
    }
    found
}

/// What commands in a cluster cannot have.
pub(in crate::resolve) fn finish(texts: &[&LateText], cx: &mut Context<'_, '_>) {
    let late = texts.iter().flat_map(|text| &text.0).any(|part| !matches!(part, LatePart::Text(_)));
    if late {
        let at = cx.at;
        let message = "commands in a cluster have no `{{ data }}`, and no `{{ apps.NAME.address }}`";
        let help = "they have the environment and the mounts of their container, and reach others by their Services";
        cx.findings.error_help(at, Code::Contradiction, message, help);
    }
}
