//! `disk`: what deployctl takes of the disk, and what is free.

use super::Context;
use crate::args::Output;
use crate::fail::Failure;
use crate::output::{json, out};
use deployctl_core::ask::Refused;
use deployctl_driver_docker::{EngineDisk, Taken, VolumeDisk};
use deployctl_sys::disk;
use serde_json::json;

pub(crate) async fn disk(context: &Context) -> Result<(), Failure> {
    let state = context.state();
    let (taken, free) = (disk::taken(state), disk::free(state));
    let engine = EngineDisk::of(state).await.map_err(Refused::from);
    match context.output() {
        Output::Json => {
            let of = |taken: &Taken| json!({ "count": taken.count, "bytes": taken.bytes });
            let volume = |volume: &VolumeDisk| json!({ "name": volume.name, "bytes": volume.bytes });
            let engine = engine?.map(|engine| {
                json!({
                    "root": engine.root, "free_bytes": engine.free_bytes, "images": of(&engine.images),
                    "unused": of(&engine.unused), "volumes": engine.volumes.iter().map(volume).collect::<Vec<_>>(),
                })
            });
            let state = json!({ "root": state, "bytes": taken, "free_bytes": free });
            json::print(&json!({ "state": state, "engine": engine }));
        }
        Output::Human => {
            // Who looks for room wants to know this also while the Docker Engine is away.
            out(&format!("{}: {}, {}", state.display(), said(taken), left(free)));
            for line in engine?.iter().flat_map(words) {
                out(&line);
            }
        }
    }
    Ok(())
}

/// A line for each thing of the Docker Engine.
fn words(engine: &EngineDisk) -> Vec<String> {
    let many = |taken: &Taken, of: &str| format!("  images {of}: {}, up to {}", taken.count, disk::say(taken.bytes));
    let mut lines = vec![format!("{} (Docker Engine): {}", engine.root.display(), left(engine.free_bytes))];
    lines.push(many(&engine.images, "of deployctl"));
    lines.push(many(&engine.unused, "that nothing needs"));
    lines.extend(engine.volumes.iter().map(|volume| format!("  volume {}: {}", volume.name, said(volume.bytes))));
    lines
}

fn said(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "what it takes cannot be seen".into(), disk::say)
}

fn left(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "what is free cannot be seen".into(), |bytes| format!("{} free", disk::say(bytes)))
}
