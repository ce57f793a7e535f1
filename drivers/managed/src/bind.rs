//! Late values of a leg: where other apps answer.

use crate::Managed;
use deployctl_core::config::LateText;
use deployctl_core::desired::Desired;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{AppName, Scope};
use deployctl_core::instance::Binding;
use deployctl_core::release::Release;
use std::collections::BTreeSet;

impl Managed {
    pub(crate) async fn bind_late(&self, scope: &Scope, to: &Desired) -> Result<Binding, Fault> {
        let mut apps = BTreeSet::new();
        for revision in to.parts.keys() {
            let release = self.releases.release(&revision.release).await?;
            apps.extend(texts(&release).flat_map(LateText::addresses).cloned().collect::<Vec<_>>());
        }
        let mut binding = Binding::default();
        for app in apps {
            let address = self.address_of(scope, &app).await?;
            binding.addresses.insert(app, address);
        }
        Ok(binding)
    }

    async fn address_of(&self, scope: &Scope, app: &AppName) -> Result<String, Fault> {
        let other = Scope { app: app.clone(), ..scope.clone() };
        if let Some(url) = self.urls_of(&other).await? {
            return Ok(url);
        }
        if self.instances.list(&other).await?.is_empty() {
            let message =
                format!("{} needs the address of {app}, which was never deployed to {}", scope.app, scope.environment);
            return Err(Fault::refused(FaultKind::Spec, message)
                .hint(format!("deploy {app} first, or everything together with --all")));
        }
        self.instances.stable_address(&other).await
    }

    async fn urls_of(&self, scope: &Scope) -> Result<Option<String>, Fault> {
        let table = self.router.table().await?;
        if !table.services.iter().any(|service| service.scope == *scope) {
            return Ok(None);
        }
        Ok(table.listeners.into_iter().find(|l| l.only.as_ref() == Some(scope) && !l.published).map(|l| l.address))
    }
}

/// Every text of a release that may hold late values.
fn texts(release: &Release) -> impl Iterator<Item = &LateText> {
    let config = &release.config;
    let migrate = config.migrate.iter().flat_map(|m| m.run.run.iter().chain(m.undo.iter().flat_map(|u| u.run.iter())));
    let hooks = config.hooks.before.iter().chain(&config.hooks.after).flat_map(|c| c.run.iter());
    config.target.texts().chain(migrate).chain(hooks)
}
