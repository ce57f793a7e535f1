//! `artifact resolve`, `copy`, `promote`, `referrers` and `verify`.

use super::Context;
use crate::args::{Copy, Key, OnPlatform, Output, Promoted, Reference as Image};
use crate::fail::Failure;
use crate::output::table::table;
use crate::output::{err, json, out};
use crate::registry;
use crate::signed::KEY_BYTES_MAX;
use deployctl_oci::{Copied, CopyOptions, Document, PublicKey, Reference};
use serde_json::{Value, json};
use std::io::Read;

pub(super) async fn resolve(context: &Context, args: OnPlatform) -> Result<(), Failure> {
    let reference: Reference = args.image.reference.parse()?;
    let platform = args.platform;
    let (resolved, chosen) = registry::with(move |registry| {
        let resolved = registry.resolve(&reference)?;
        let chosen = platform.map(|platform| Ok((registry.for_platform(&resolved, &platform)?.digest, platform)));
        Ok((resolved, chosen.transpose()?))
    })
    .await?;
    let pinned = resolved.pinned().to_string();
    let platforms: Vec<String> = resolved.platforms.iter().map(ToString::to_string).collect();
    if context.output() == Output::Json {
        json::print(&json!({
            "reference": resolved.reference.to_string(), "digest": format!("sha256:{}", resolved.top.digest),
            "pinned": pinned, "media_type": resolved.top.media_type,
            "index": matches!(resolved.top.document, Document::Index(_)), "platforms": platforms,
            "platform": chosen.map(|(digest, platform)| {
                json!({ "platform": platform.to_string(), "digest": format!("sha256:{digest}") })
            }),
        }));
        return Ok(());
    }
    out(&pinned);
    if !platforms.is_empty() {
        err(&format!("for {}", platforms.join(", ")));
    }
    if let Some((digest, platform)) = chosen {
        err(&format!("{platform} is sha256:{digest}"));
    }
    Ok(())
}

pub(super) async fn copy(context: &Context, args: &Copy) -> Result<(), Failure> {
    let from: Reference = args.from.parse()?;
    let mut to: Reference = args.to.parse()?;
    if let (None, None, Some(tag)) = (to.tag(), to.digest(), from.tag()) {
        to = to.tagged(tag)?;
    }
    let options = CopyOptions { referrers: !args.how.only_image, replace: args.how.replace };
    put(context, from, to, options).await
}

pub(super) async fn promote(context: &Context, args: &Promoted) -> Result<(), Failure> {
    let from: Reference = args.from.parse()?;
    let to: Reference = match args.to.strip_prefix(':') {
        Some(tag) => from.tagged(tag)?,
        None => args.to.parse()?,
    };
    if to.tag().is_none() {
        let message = format!("`{}` names no tag; promoting gives an image another name", args.to);
        return Err(Failure::usage("bad-usage", message));
    }
    let options = CopyOptions { referrers: !args.how.only_image, replace: args.how.replace };
    put(context, from, to, options).await
}

async fn put(context: &Context, from: Reference, to: Reference, options: CopyOptions) -> Result<(), Failure> {
    let names = (from.to_string(), to.to_string());
    let at = to.clone();
    let done = registry::with(move |registry| registry.copy(&from, &to, options)).await?;
    let pinned = at.at(&done.digest).to_string();
    if context.output() == Output::Json {
        json::print(&copied(&names.0, &names.1, &pinned, &done));
        return Ok(());
    }
    out(&pinned);
    err(&match done.unchanged {
        true => format!("{} is that image already", names.1),
        false => format!(
            "{} is now {}: {} manifests, {} blobs sent ({} bytes), {} mounted, {} referrers",
            names.1, names.0, done.manifests, done.blobs_sent, done.bytes_sent, done.blobs_mounted, done.referrers
        ),
    });
    Ok(())
}

fn copied(from: &str, to: &str, pinned: &str, done: &Copied) -> Value {
    json!({
        "from": from, "to": to, "digest": format!("sha256:{}", done.digest), "pinned": pinned,
        "unchanged": done.unchanged, "manifests": done.manifests, "blobs_sent": done.blobs_sent,
        "blobs_mounted": done.blobs_mounted, "bytes_sent": done.bytes_sent, "referrers": done.referrers,
    })
}

pub(super) async fn referrers(context: &Context, args: Image) -> Result<(), Failure> {
    let reference: Reference = args.reference.parse()?;
    let (digest, all) = registry::with(move |registry| {
        let digest = registry.manifest(&reference)?.digest;
        let all = registry.referrers(&reference, &digest)?;
        Ok((digest, all))
    })
    .await?;
    if context.output() == Output::Json {
        let one = |one: &deployctl_oci::Referrer| {
            json!({ "digest": format!("sha256:{}", one.digest), "artifact_type": one.artifact_type,
                    "via": one.via.word(), "tag": one.tag, "annotations": one.annotations })
        };
        json::print(&all.iter().map(one).collect());
        return Ok(());
    }
    if all.is_empty() {
        err(&format!("nothing refers to sha256:{digest}"));
        return Ok(());
    }
    let row = |one: &deployctl_oci::Referrer| {
        vec![one.artifact_type.clone(), format!("sha256:{}", one.digest), one.via.word().to_owned()]
    };
    out(&table(&["TYPE", "DIGEST", "VIA"], &all.iter().map(row).collect::<Vec<_>>()));
    Ok(())
}

pub(super) async fn verify(context: &Context, args: Key) -> Result<(), Failure> {
    let reference: Reference = args.image.reference.parse()?;
    let mut pem = Vec::new();
    let read = std::fs::File::open(&args.key).and_then(|file| file.take(KEY_BYTES_MAX).read_to_end(&mut pem));
    read.map_err(|e| Failure::usage("bad-usage", format!("the key {} cannot be read: {e}", args.key.display())))?;
    let key = PublicKey::parse(&pem)?;
    let of = reference.clone();
    let verified = registry::with(move |registry| registry.verify(&of, &key)).await?;
    let pinned = reference.at(&verified.digest).to_string();
    if context.output() == Output::Json {
        let one = |one: &deployctl_oci::Signature| json!({ "name": one.name, "via": one.via.word() });
        json::print(&json!({
            "reference": reference.to_string(), "digest": format!("sha256:{}", verified.digest), "pinned": pinned,
            "signatures": verified.signatures.iter().map(one).collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    out(&pinned);
    let count = verified.signatures.len();
    err(&format!("signed with this key: {count} signature{}", if count == 1 { "" } else { "s" }));
    Ok(())
}
