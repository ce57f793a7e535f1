//! Looks after one container: starts it, looks at it when something happened, has it asked.

use crate::client::{Trouble, USUAL, WORK};
use crate::docker::{Inner, now};
use crate::logs::last_lines;
use crate::probe;
use crate::tracked::Tracked;
use crate::view::Look;
use bollard::models::NetworkConnectRequest;
use bollard::query_parameters::{InspectContainerOptions, StartContainerOptions};
use deployctl_sys::crash;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// The engine tells what happens; this often it is asked all the same.
const LOOK: Duration = Duration::from_secs(1);
/// While something is under way, or the engine is away.
const SOON: Duration = Duration::from_millis(250);
/// A container that is over for so long is not about to be started again by the engine.
pub(crate) const SETTLES: Duration = Duration::from_millis(700);
/// The program cannot be run: not found, or no permission.
const NO_PROGRAM: [i64; 2] = [126, 127];

/// What the engine says when what was asked for cannot be, besides by its status.
const NEVER: [&str; 4] = ["unable to find user", "unable to find group", "unknown capability", "not a directory"];

/// Looks after `tracked` until the task is aborted, or the container is removed.
pub(crate) async fn mind(node: Arc<Inner>, tracked: Arc<Tracked>) {
    // What Compose made before goes when this is there to take its place; what holds a port, when that is taken over.
    let mut retired = tracked.record.service.is_none() || tracked.record.fronted;
    loop {
        let seen = look(&node, &tracked).await;
        if !retired && tracked.view().ever_healthy {
            retired = node.retire_for(&tracked.record).await.is_ok();
        }
        if tracked.view().removed {
            return;
        }
        let due = seen && {
            let view = tracked.view();
            view.look.is_new() && !view.stopping && view.failure.is_none()
        };
        if due && start(&node, &tracked).await {
            continue;
        }
        let calm = seen && tracked.view().look.is_running();
        let _ = timeout(if calm { LOOK } else { SOON }, tracked.news.notified()).await;
    }
}

/// Looks at the container now; `false` if the engine cannot be asked.
pub(crate) async fn look(node: &Arc<Inner>, tracked: &Arc<Tracked>) -> bool {
    let Ok(engine) = node.engine() else { return false };
    let inspect = engine.client.call(USUAL, |api| {
        let id = tracked.container.clone();
        async move { api.inspect_container(&id, None::<InspectContainerOptions>).await }
    });
    let looked = match inspect.await {
        Ok(inspected) => {
            let drift = crate::drift::drift(
                &inspected,
                &tracked.record,
                tracked.record.called.as_ref().unwrap_or(&tracked.name),
            );
            let look = Look { drift, ..Look::of(&inspected, tracked.record.network()) };
            // A way that cannot be had now is had by a later look; until then nobody says that nothing answers.
            match engine.reach.address(&tracked.id, &inspected, &tracked.record, &look).await {
                Ok(at) => Look { at, ..look },
                Err(fault) => Look { no_way: Some(fault.message), ..look },
            }
        }
        Err(trouble) if trouble.is_missing() => {
            tracked.update(|view| view.removed = true);
            return true;
        }
        Err(_) => return false,
    };
    let over = looked.is_over();
    let own = looked.own.clone();
    let (ended, waits) = tracked.update(|view| (view.saw(looked, now()), over && !view.settled && !view.stopping));
    if ended {
        condemn_if_fatal(node, tracked).await;
    }
    if waits {
        settle(Arc::clone(tracked));
    }
    match own.filter(|_| tracked.record.health.is_none()) {
        Some(own) => probe::own(node, tracked, &own).await,
        None => {
            let of = Arc::clone(node);
            tracked.with_prober(|tracked, started| probe::start(of, tracked, started));
        }
    }
    true
}

/// Over and over for a while: nobody starts it again.
fn settle(tracked: Arc<Tracked>) {
    let started = tracked.view().look.started.clone();
    tokio::spawn(async move {
        sleep(SETTLES).await;
        tracked.update(|view| {
            if view.look.is_over() && view.look.started == started {
                view.settled = true;
            }
        });
        tracked.news.notify_one();
    });
}

async fn condemn_if_fatal(node: &Arc<Inner>, tracked: &Arc<Tracked>) {
    let fatal = {
        let view = tracked.view();
        view.fatal_exit().filter(|_| view.failure.is_none())
    };
    if let Some(reason) = fatal {
        let lines = last_lines(node, &tracked.container).await;
        tracked.condemn(reason, lines);
    }
}

/// Starts a container that never ran; `false` if that has to wait.
async fn start(node: &Arc<Inner>, tracked: &Arc<Tracked>) -> bool {
    let Ok(engine) = node.engine() else { return false };
    let record = &tracked.record;
    if let Err(trouble) = connect(node, &tracked.container, &record.networks, &record.aliases).await {
        if let Trouble::Said { message, .. } = trouble {
            tracked.condemn(format!("it cannot be started: {message}"), Vec::new());
        }
        return false;
    }
    let begin = engine.client.call(WORK, |api| {
        let id = tracked.container.clone();
        async move { api.start_container(&id, None::<StartContainerOptions>).await }
    });
    match begin.await {
        Ok(()) => {
            crash::point("docker.started");
            tracked.update(|view| view.hindered = None);
            true
        }
        Err(Trouble::Away(_)) => false,
        Err(Trouble::Said { message, status }) => {
            look(node, tracked).await;
            let Look { exit, error: text, .. } = tracked.view().look.clone();
            let reason = if text.is_empty() { message } else { text };
            // What was asked for cannot be: a missing program, network, folder. All else may pass.
            let never = NEVER.iter().any(|words| reason.contains(words));
            if never || NO_PROGRAM.contains(&exit) || matches!(status, 400 | 404) {
                tracked.condemn(format!("it cannot be started: {}", short(&reason)), Vec::new());
            } else {
                tracked.update(|view| view.hindered = Some(format!("its container: {}", short(&reason))));
            }
            false
        }
    }
}

/// Connects a container to its networks but the first one, which it was made in.
pub(crate) async fn connect(
    node: &Inner,
    container: &str,
    networks: &[String],
    aliases: &BTreeMap<String, Vec<String>>,
) -> Result<(), Trouble> {
    let engine = node.engine().map_err(Trouble::Away)?;
    for network in networks.iter().skip(1) {
        let request = NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(crate::compose::endpoint(aliases, network)),
        };
        let connect = engine.client.call(WORK, |api| async move { api.connect_network(network, request).await });
        match connect.await {
            // It was connected by somebody who died before the start.
            Err(Trouble::Said { message, .. }) if message.contains("already exists in network") => {}
            done => done?,
        }
    }
    Ok(())
}

/// Without the engine's own preamble.
fn short(reason: &str) -> &str {
    let reason = reason.rsplit_once("exec: ").map_or(reason, |(_, rest)| rest);
    reason.strip_suffix(": unknown").unwrap_or(reason)
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn a_missing_program_is_named() {
        let said = "OCI runtime create failed: container_linux.go:380: starting container process caused: exec: \"/x\": \
                    stat /x: no such file or directory: unknown";
        assert_eq!(short(said), "\"/x\": stat /x: no such file or directory");
        assert_eq!(short("network front not found"), "network front not found");
    }
}
