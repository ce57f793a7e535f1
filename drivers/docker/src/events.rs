//! What the engine tells by itself, passed on to who looks after the container.

use crate::docker::Inner;
use crate::labels;
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use deployctl_core::id::JobId;
use futures_util::StreamExt;
use std::collections::HashMap;
use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::sleep;

/// The pause before the engine is asked again, when it is away.
const AGAIN: Duration = Duration::from_millis(250);

/// Listens as long as there is a driver.
pub(crate) async fn listen(node: Weak<Inner>) {
    while let Some(inner) = node.upgrade() {
        let Ok(engine) = inner.engine() else { return };
        let filters: HashMap<&str, Vec<String>> = [
            ("type", vec!["container".to_owned()]),
            ("label", vec![format!("{}={}", labels::STATE, engine.identity.state)]),
        ]
        .into();
        if let Ok(api) = engine.client.api().await {
            let mut events = Box::pin(api.events(Some(EventsOptionsBuilder::new().filters(&filters).build())));
            // What happened before is seen by looking.
            wake_all(&inner);
            drop(inner);
            while let Some(Ok(event)) = events.next().await {
                match node.upgrade() {
                    Some(inner) => tell(&inner, &event),
                    None => return,
                }
            }
            let Some(inner) = node.upgrade() else { return };
            if let Ok(engine) = inner.engine() {
                engine.client.forget();
            }
            inner.losses.fetch_add(1, Ordering::Relaxed);
            wake_all(&inner);
        }
        sleep(AGAIN).await;
    }
}

fn wake_all(inner: &Inner) {
    let all: Vec<_> = inner.tracked().values().cloned().collect();
    for tracked in all {
        tracked.news.notify_one();
        inner.scopes.bump(&tracked.record.scope);
    }
}

fn tell(inner: &Inner, event: &EventMessage) {
    let Some(actor) = &event.actor else { return };
    let (Some(container), Some(attributes)) = (&actor.id, &actor.attributes) else { return };
    // The commands of health checks.
    if event.action.as_ref().is_some_and(|action| action.starts_with("exec_")) {
        return;
    }
    let id = attributes.get(labels::ID).map(String::as_str).unwrap_or_default();
    if attributes.get(labels::KIND).is_some_and(|kind| kind == labels::JOB) {
        if let Ok(id) = JobId::new(id) {
            inner.job_news.notify_waiters();
            inner.job_changes.bump(&id);
        }
        return;
    }
    let tracked = inner.tracked().values().find(|tracked| tracked.container == *container).cloned();
    let Some(tracked) = tracked else { return };
    if event.action.as_deref() == Some("die")
        && let Some(exit) = attributes.get("exitCode").and_then(|code| code.parse().ok())
    {
        tracked.update(|view| view.last_exit = Some(crate::view::how(exit, false)));
    }
    tracked.news.notify_one();
}
