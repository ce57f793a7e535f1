//! From what should run to the complete record of it: every late value bound, every path known.

use crate::layout::{Layout, RunFolder};
use crate::options::Base;
use crate::records::{Kind, RunSpec, Value};
use deployctl_core::config::{Check, EnvValue, LatePart, LateText, ProcessConfig, TargetConfig};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{InstanceId, Revision, Scope};
use deployctl_core::instance::{Binding, InstanceSpec};
use deployctl_core::job::JobSpec;
use deployctl_core::release::Release;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What records are made from.
pub(crate) struct Binder<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) base: &'a Base,
    pub(crate) scope: &'a Scope,
    pub(crate) release: &'a Release,
    pub(crate) binding: &'a Binding,
    /// The artifact's folder, if the release has an artifact.
    pub(crate) tree: Option<PathBuf>,
    pub(crate) folder: RunFolder,
    pub(crate) port: Option<u16>,
    pub(crate) slot: u32,
}

/// A record, and whether it uses the data folder.
pub(crate) struct Bound {
    pub(crate) spec: RunSpec,
    pub(crate) uses_data: bool,
}

impl Binder<'_> {
    /// The record of an instance.
    pub(crate) fn instance(&self, wanted: &InstanceSpec) -> Result<Bound, Fault> {
        let config = process(self.release);
        let app = &self.release.config;
        let check = match app.health.as_ref().map(|health| &health.check) {
            Some(Check::Command(command)) => command.iter().map(|text| self.text(text)).collect::<Result<_, _>>()?,
            _ => Vec::new(),
        };
        let h2 = app.route.as_ref().is_some_and(|route| route.h2);
        let kind = Kind::Instance { restart: config.restart, health: app.health.clone(), check, h2 };
        let command = app.health.as_ref().and_then(|health| match &health.check {
            Check::Command(command) => Some(command.as_slice()),
            _ => None,
        });
        let mut texts: Vec<&LateText> = config.command.iter().chain(command.unwrap_or_default()).collect();
        texts.extend(config.env.values().filter_map(as_text));
        self.record(&wanted.id, &wanted.revision, kind, &config.command, &texts)
    }

    /// The record of a job.
    pub(crate) fn job(&self, wanted: &JobSpec) -> Result<Bound, Fault> {
        let kind = Kind::Job { timeout: wanted.command.timeout, repeatable: wanted.command.repeatable };
        let mut texts: Vec<&LateText> = wanted.command.run.iter().collect();
        texts.extend(process(self.release).env.values().filter_map(as_text));
        let revision = Revision { release: self.release.id(), nonce: 0 };
        let id = InstanceId::new(wanted.id.as_str());
        let id = id.map_err(|e| Fault::refused(FaultKind::Bug, e.to_string()))?;
        let mut bound = self.record(&id, &revision, kind, &wanted.command.run, &texts)?;
        let mark = Value::Text(wanted.id.as_str().into());
        bound.spec.env.insert("DEPLOYCTL_JOB_ID".into(), mark);
        Ok(bound)
    }

    fn record(
        &self,
        id: &InstanceId,
        revision: &Revision,
        kind: Kind,
        command: &[LateText],
        texts: &[&LateText],
    ) -> Result<Bound, Fault> {
        let config = process(self.release);
        if command.is_empty() {
            return Err(Fault::refused(FaultKind::Spec, format!("the command of {} is empty", self.scope)));
        }
        let argv = command.iter().map(|text| self.text(text)).collect::<Result<_, _>>()?;
        let spec = RunSpec {
            id: id.as_str().into(),
            scope: self.scope.clone(),
            revision: revision.clone(),
            version: self.release.version.clone(),
            slot: self.slot,
            argv,
            env: self.environment(id.as_str(), config, &kind)?,
            kind,
            cwd: self.tree.clone().unwrap_or_else(|| self.folder.scratch()),
            artifact: self.release.artifact.as_ref().map(|artifact| artifact.sha256.clone()),
            port: self.port,
            port_is_stable: false,
            user: config.user.clone(),
            limits: config.limits.clone(),
            log_bytes_max: config.log_bytes_max,
            drain: self.release.config.drain,
        };
        let uses_data = texts.iter().any(|text| text.0.contains(&LatePart::Data));
        Ok(Bound { spec, uses_data })
    }

    /// The minimal environment, then the app's, then what nobody may change.
    fn environment(&self, id: &str, config: &ProcessConfig, kind: &Kind) -> Result<BTreeMap<String, Value>, Fault> {
        let mut env: BTreeMap<String, Value> = BTreeMap::new();
        let mut set = |name: &str, value: String| env.insert(name.into(), Value::Text(value));
        set("PATH", self.base.path.clone());
        set("HOME", self.base.home.clone());
        set("LANG", self.base.lang.clone());
        if let Some(name) = &config.user
            && let Ok(user) = crate::user::find(name)
        {
            set("HOME", user.home.display().to_string());
            set("USER", user.name.clone());
            set("LOGNAME", user.name);
        }
        set("TMPDIR", self.folder.scratch().display().to_string());
        if let Some(port) = self.port {
            set("PORT", port.to_string());
        }
        for (name, value) in &config.env {
            let value = match value {
                // An instance's own port means nothing to a job; a job that needs it says so in its command.
                EnvValue::Text(text) if matches!(kind, Kind::Job { .. }) && text.0.contains(&LatePart::Port) => {
                    continue;
                }
                EnvValue::Text(text) => Value::Text(self.text(text)?),
                EnvValue::Secret(reference) => Value::Secret(reference.clone()),
            };
            env.insert(name.clone(), value);
        }
        let fixed = [
            ("STATE", self.layout.state().display().to_string()),
            ("INSTANCE", id.to_owned()),
            ("PROJECT", self.scope.project.to_string()),
            ("ENVIRONMENT", self.scope.environment.to_string()),
            ("REGION", self.scope.region.to_string()),
            ("APP", self.scope.app.to_string()),
            ("VERSION", self.release.version.to_string()),
            ("SLOT", self.slot.to_string()),
        ];
        for (name, value) in fixed {
            env.insert(format!("DEPLOYCTL_{name}"), Value::Text(value));
        }
        if let Some(address) = self.binding.addresses.get(&self.scope.app) {
            env.insert("DEPLOYCTL_ADDRESS".into(), Value::Text(address.clone()));
        }
        Ok(env)
    }

    fn text(&self, text: &LateText) -> Result<String, Fault> {
        text.bind(|part| match part {
            LatePart::Text(text) => Ok(text.clone()),
            LatePart::Port => self.port.map(|port| port.to_string()).ok_or_else(|| {
                let message = format!("{}: a command that is no instance has no port", self.scope);
                Fault::refused(FaultKind::Spec, message).hint("`{{ port }}` belongs into `command` and `env`")
            }),
            LatePart::Data => Ok(self.layout.data(self.scope).display().to_string()),
            LatePart::Folder => Ok(self.folder.scratch().display().to_string()),
            LatePart::Slot => Ok(self.slot.to_string()),
            LatePart::Address(app) => self.binding.addresses.get(app).cloned().ok_or_else(|| {
                let message = format!("{}: the address of `{app}` was not bound", self.scope);
                Fault::refused(FaultKind::Bug, message)
            }),
        })
    }
}

fn as_text(value: &EnvValue) -> Option<&LateText> {
    match value {
        EnvValue::Text(text) => Some(text),
        EnvValue::Secret(_) => None,
    }
}

/// How the release's processes are run.
pub(crate) fn process(release: &Release) -> &ProcessConfig {
    match &release.config.target {
        TargetConfig::Process(config) => config,
        TargetConfig::Docker(_) | TargetConfig::Kubernetes(_) => {
            unreachable!("only releases of processes are given to the node runtime")
        }
    }
}
