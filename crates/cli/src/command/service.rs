//! `service install`: the engine from boot on.

use super::Context;
use crate::args::Service;
use crate::fail::Failure;
use crate::output::{err, out};
use crate::{binary, state};
use deployctl_core::ask::{Refused, RefusedKind};
use deployctl_sys::durable;
use std::path::Path;

pub(crate) fn service(context: &Context, what: &Service) -> Result<(), Failure> {
    let Service::Install { print, unit } = what;
    if context.is_in_cluster() {
        let message = "a state in a cluster needs no engine that is kept running";
        return Err(Failure::usage("bad-usage", message));
    }
    state::prepare(context.state())?;
    let failed = |e: std::io::Error| {
        let message = format!("the unit cannot be installed as {}: {e}", unit.display());
        Failure::from(
            Refused::new(RefusedKind::Denied, "service-denied", message).hint("run it as root, or see it with --print"),
        )
    };
    let (_, copy) = binary::copy_of_self(context.state()).map_err(failed)?;
    let text = text(&copy, context.state());
    if *print {
        out(text.trim_end());
        return Ok(());
    }
    durable::replace(unit, text.as_bytes(), 0o644).map_err(failed)?;
    out(&unit.display().to_string());
    err("next: systemctl daemon-reload && systemctl enable --now deployctl");
    Ok(())
}

/// Instances, proxy and shims are children of the unit's engine but outlive it: `KillMode=process` leaves them alone
/// when the engine is restarted or upgraded. At shutdown systemd ends them with everything else; at boot the engine
/// brings the current releases back.
fn text(binary: &Path, state: &Path) -> String {
    let quote = |path: &Path| {
        format!("\"{}\"", path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%"))
    };
    format!(
        "[Unit]\n\
         Description=deployctl engine\n\
         After=network-online.target\n\
         Wants=network-online.target\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart={} engine --state {} --stay\n\
         Restart=always\n\
         RestartSec=1\n\
         KillMode=process\n\
         UMask=0077\n\
         LimitNOFILE=1048576\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        quote(binary),
        quote(state),
    )
}
