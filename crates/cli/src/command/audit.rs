//! `audit`.

use super::Context;
use crate::args::{Audit, AuditWhat, Output};
use crate::fail::Failure;
use crate::output::table::table;
use crate::output::time::rfc3339;
use crate::output::{err, json, out};
use deployctl_api::{Query, paths};
use deployctl_core::ask::{Refused, RefusedKind};
use deployctl_core::journal::{Entry, Verified};
use serde_json::json;

pub(crate) async fn audit(context: &Context, args: &Audit) -> Result<(), Failure> {
    let mut client = context.engine().await?;
    let Some(AuditWhat::Verify { head }) = &args.what else {
        let query = Query { limit: Some(args.limit), ..Query::default() };
        let entries: Vec<Entry> = client.get(paths::AUDIT, &query).await?;
        list(context, &entries);
        return Ok(());
    };
    let query = Query { head: head.clone(), ..Query::default() };
    let verified: Verified = client.get(paths::VERIFY, &query).await?;
    if context.output() == Output::Json {
        json::print(&json!(verified));
    }
    if let (Some(head), None) = (head, verified.known_at) {
        let message = format!("the journal never had the head {}: something before it was edited or cut", head.short());
        return Err(Refused::new(RefusedKind::Internal, "journal-altered", message)
            .hint("compare with a backup of journal.db; do not deploy until it is explained")
            .into());
    }
    err(&format!("{} entries in {} streams fit together", verified.entries, verified.streams));
    if context.output() == Output::Human {
        out(verified.head.as_str());
    }
    Ok(())
}

fn list(context: &Context, entries: &[Entry]) {
    if context.output() == Output::Json {
        json::print(&json!(entries));
        return;
    }
    let kind = |entry: &Entry| {
        let event: serde_json::Value = serde_json::from_str(&entry.event).unwrap_or_default();
        event["type"].as_str().unwrap_or("?").to_owned()
    };
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|e| vec![rfc3339(e.at), e.actor.clone(), kind(e), e.stream.to_string(), e.hash.short().to_owned()])
        .collect();
    out(&table(&["AT", "BY", "WHAT", "STREAM", "HASH"], &rows));
}
