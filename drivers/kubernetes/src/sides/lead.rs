//! Traffic is led from one side to the other.

use super::{Beside, Walk, all_led, objects, with};
use crate::apply::Wanted;
use crate::observe;
use crate::record::{Phase, Record};
use crate::trouble::Trouble;
use deployctl_core::desired::{Extent, FULL, Gate};
use deployctl_core::driver::Step;
use deployctl_core::fault::Fault;
use deployctl_core::instance::InstanceState;
use deployctl_kubernetes::object::Name;
use deployctl_kubernetes::pods::{self, Pod};
use deployctl_kubernetes::sides::Parted;
use deployctl_kubernetes::verdict::{self, Word};
use deployctl_sys::crash;
use serde_json::Value;
use std::collections::BTreeSet;

impl Walk<'_> {
    /// Leads a share of the traffic to the side. First there is who takes it, then it moves, then goes what is too much. Whoever gains
    /// is right as a whole before, if that is demanded, and where both sides are one release.
    pub(super) async fn lead(&self, record: Record, share: u32, extent: Extent) -> Result<Step, Fault> {
        let Some(side) = record.side.clone() else { return Ok(Step::Done) };
        let gains = side.gains(share);
        let new = self.wanted(&side.revision).await?;
        let sizes = self.sizes(&side.sided, &new, extent, share).await?;
        if gains && sizes != side.sizes {
            return self.write_side(&record, Beside { sizes, phase: Phase::Applying, ..side }).await;
        }
        if let Some(waits) = self.unready(&record, &side, gains).await? {
            return Ok(Step::Pending(waits));
        }
        let parted = self.parted(&side, share).await?;
        let record = match side.towards {
            Some(towards) if towards == share => record,
            _ if side.settled() == Some(share) && parted == side.parted => record,
            _ => {
                let begun = Beside { towards: Some(share), parted, ..side };
                self.write_side(&record, begun).await?;
                // Whoever wrote in between goes first.
                match self.site.admitted(self.way.fence).await? {
                    Some(record) => record,
                    None => return Ok(Step::Done),
                }
            }
        };
        let Some(side) = record.side.clone() else { return Ok(Step::Done) };
        if let Some(waits) = self.apply_traffic(&record, &side, &new, share).await? {
            return Ok(Step::Pending(waits));
        }
        let phase = if sizes == side.sizes { side.phase } else { Phase::Applying };
        self.write_side(&record, Beside { share, extent, towards: None, sizes, phase, ..side }).await
    }

    /// How many pods of each StatefulSet are to be of the side, by how many there are now.
    async fn parted(&self, side: &Beside, share: u32) -> Result<Vec<Parted>, Fault> {
        let mut all = Vec::new();
        for one in &side.parted {
            all.push(Parted::at(&one.name, self.site.replicas("StatefulSet", &one.name).await?, share));
        }
        Ok(all)
    }

    async fn write_side(&self, record: &Record, side: Beside) -> Result<Step, Fault> {
        let fence = record.fence.max(self.way.fence);
        self.site.write(&Record { side: Some(side), fence, ..record.clone() }).await?;
        Ok(Step::Done)
    }

    /// What whoever is to take more of the traffic lacks for it, if that matters.
    async fn unready(&self, record: &Record, side: &Beside, gains: bool) -> Result<Option<String>, Fault> {
        let gaining = if gains { Some(&side.revision) } else { record.revision.as_ref() };
        let demanded = |gate: &Gate| matches!(gate, Gate::Ready(revision) if Some(revision) == gaining);
        let is_one = record.revision.as_ref() == Some(&side.revision);
        if !is_one && !self.to.gates.iter().any(demanded) {
            return Ok(None);
        }
        let scenes = self.site.scenes(record).await?;
        let Some(scene) = scenes.get(usize::from(gains)) else { return Ok(None) };
        Ok(match observe::whole(scene, self.site.watched.answers_for(record.courses)) {
            InstanceState::Ready => None,
            InstanceState::Starting { waiting_for: why }
            | InstanceState::Unhealthy { reason: why }
            | InstanceState::Failed { reason: why, .. } => Some(why),
            InstanceState::Stopping | InstanceState::Gone => Some("it is to come up".into()),
        })
    }

    /// Applies Services and routes as they lead this share; what is waited for until it is so.
    async fn apply_traffic(
        &self,
        record: &Record,
        side: &Beside,
        new: &[Wanted],
        share: u32,
    ) -> Result<Option<String>, Fault> {
        let Some(stable) = &record.revision else { return Ok(None) };
        let stable = self.wanted(stable).await?;
        let all = all_led(&objects(&stable), &objects(new), side, share);
        let place =
            |one: &Wanted| all.iter().position(|object| Name::of(object).is_some_and(|name| name.is_same(&one.name)));
        let mut stable: Vec<Wanted> = with(stable, &all).into_iter().filter(|one| place(one).is_some()).collect();
        stable.sort_by_key(place);
        let there = self.site.there(&stable).await?;
        crash::point("kubernetes.before-traffic");
        for one in &stable {
            self.site.admitted(self.way.fence).await?;
            self.site.apply(one, record, &there, true).await?;
        }
        crash::point("kubernetes.after-traffic");
        let is_all = share == 0 || share >= FULL;
        for one in &stable {
            let waits = match one.name.kind.as_str() {
                "Service" if is_all => self.not_behind(one).await?,
                "Service" => None,
                "StatefulSet" => self.not_replaced(one).await?,
                _ => self.not_taken(one).await?,
            };
            if waits.is_some() {
                return Ok(waits);
            }
        }
        Ok(None)
    }

    /// Until all pods that a Service selects now are behind it, and no other: by its endpoint slices. Who may not look at these takes
    /// it for done.
    async fn not_behind(&self, service: &Wanted) -> Result<Option<String>, Fault> {
        let (name, namespace) = (&service.name, &self.site.namespace);
        let fault = |trouble: Trouble| self.site.fault(trouble, &format!("what is behind {name}"));
        let slices = format!(
            "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D{}",
            name.name
        );
        let slices = match self.site.cluster.get(&slices).await {
            Err(Trouble::Refused(refusal)) if matches!(refusal.status, 403 | 404) => return Ok(None),
            done => done.map_err(fault)?,
        };
        let selector = service.manifest.object["spec"]["selector"].as_object().into_iter().flatten();
        let selector: Vec<String> =
            selector.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
        let selector = selector.join(",").replace('/', "%2F").replace('=', "%3D").replace(',', "%2C");
        let pods = format!("/api/v1/namespaces/{namespace}/pods?labelSelector={selector}");
        let pods = match self.site.cluster.get(&pods).await {
            Err(Trouble::Refused(refusal)) if refusal.status == 403 => return Ok(None),
            done => done.map_err(fault)?,
        };
        Ok(missing(&slices, &pods)
            .map(|count| format!("{name} is to lead elsewhere: {count} of its pods are not as it says")))
    }

    /// Until a route's controllers have taken it as it is.
    async fn not_taken(&self, route: &Wanted) -> Result<Option<String>, Fault> {
        let Some(there) = self.site.find(&route.entry).await? else { return Ok(None) };
        let verdicts = verdict::of(std::slice::from_ref(&there));
        let waits = verdicts.first().filter(|verdict| matches!(verdict.verdict, Word::Progressing | Word::Failed));
        Ok(waits.map(|verdict| format!("{}: {}", route.name, verdict.reason)))
    }
}

/// How many pods are ready and not behind, or behind and not selected; none if all is as it should be.
fn missing(slices: &Value, pods: &Value) -> Option<usize> {
    let items = |list: &Value| list["items"].as_array().cloned().unwrap_or_default();
    let behind: BTreeSet<String> = items(slices)
        .iter()
        .flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default())
        .filter(|endpoint| endpoint["conditions"]["ready"] != Value::Bool(false))
        .filter_map(|endpoint| endpoint["targetRef"]["name"].as_str().map(str::to_owned))
        .collect();
    let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let pods = items(pods);
    let selected: BTreeSet<String> = pods.iter().map(name).collect();
    let ready = pods.iter().filter(|pod| pods::of(pod) == Pod::Ready).map(name);
    let wrong = ready.filter(|name| !behind.contains(name)).count() + behind.difference(&selected).count();
    (wrong > 0).then_some(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_leads_where_it_says_when_all_that_is_ready_is_behind_it_and_nothing_else() {
        let ready = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
        let pod = |name: &str, status: &Value| json!({ "metadata": { "name": name }, "status": status });
        let slices = |names: &[(&str, bool)]| {
            let endpoint = |(name, ready): &(&str, bool)| json!({ "targetRef": { "name": name }, "conditions": { "ready": ready } });
            json!({ "items": [{ "endpoints": names.iter().map(endpoint).collect::<Vec<_>>() }, { "endpoints": null }] })
        };
        let pods = json!({ "items": [pod("a", &ready), pod("b", &ready), pod("c", &json!({}))] });
        assert_eq!(missing(&slices(&[("a", true), ("b", true)]), &pods), None);
        assert_eq!(missing(&slices(&[("a", true), ("b", true), ("old", false)]), &pods), None);
        assert_eq!(missing(&slices(&[("a", true)]), &pods), Some(1));
        assert_eq!(missing(&slices(&[("a", true), ("b", true), ("old", true)]), &pods), Some(1));
        assert_eq!(missing(&json!({}), &pods), Some(2));
    }
}
