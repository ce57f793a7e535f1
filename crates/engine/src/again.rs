//! Asked again, by who did not hear the answer: a deployment that was given its name beforehand begins once.

use crate::Engine;
use crate::prepare::{changes, values};
use deployctl_core::ask::{Answer, Deploy, Refused};
use deployctl_core::id::DeploymentId;

impl Engine {
    /// The deployment that was asked for by this name already. Who asks again has the values of its secrets, which whoever
    /// began it may have lost: they are sealed anew where it is still under way.
    pub(crate) async fn asked_before(&self, ask: &Deploy) -> Result<Option<Answer>, Refused> {
        let Some(id) = &ask.id else { return Ok(None) };
        let fold = self.ledger.deployment(id).await?;
        let Some(state) = fold.state.as_ref() else { return Ok(None) };
        for leg in state.plan.legs.iter().filter(|_| state.closed.is_none()) {
            let asked = ask.legs.iter().find(|asked| asked.scope == leg.scope).map(values);
            let (Some(side), Some(values)) = (&leg.to, asked.filter(|values| !values.0.is_empty())) else { continue };
            let release = &side.pin.revision.release;
            if !self.ports.vault.has(release).await? {
                self.ports.vault.seal(release, &values).await?;
            }
        }
        self.known_already(Some(id)).await
    }

    /// The deployment of this name, if there is one.
    pub(crate) async fn known_already(&self, id: Option<&DeploymentId>) -> Result<Option<Answer>, Refused> {
        let Some(id) = id else { return Ok(None) };
        let fold = self.ledger.deployment(id).await?;
        let answer = |state: &deployctl_core::deployment::Deployment| {
            let (id, changes) = (id.clone(), changes(&state.plan));
            Answer::Deployment { id, changes }
        };
        Ok(fold.state.as_ref().map(answer))
    }
}
