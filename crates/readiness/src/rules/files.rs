//! What archives, folders and single files are asked.

use super::{CONTAINERS, Found, LISTED_MAX};
use crate::finding::{Code, Target};
use crate::subject::{Entry, Files, Start};
use deployctl_oci::Platform;

const PROCESS: &[Target] = &[Target::Process];

pub(super) fn rules(files: &Files, here: &Platform, found: &mut Found) {
    found.blocks(Code::WrongKind, CONTAINERS, "containers run images; build one from it");
    content(files, found);
    if files.damaged.is_some() {
        return;
    }
    if files.count == 0 {
        found.blocks(Code::Damaged, PROCESS, "there is no file in it");
    } else if files.programs.is_empty() {
        found.says(Code::NoProgram, PROCESS, format!("none of {} files", files.count));
    }
    let (fits, other): (Vec<&Entry>, Vec<&Entry>) =
        files.programs.iter().partition(|entry| is_for(entry, here) != Some(false));
    for entry in other.iter().take(LISTED_MAX) {
        let message = format!("{} is for {}, not for {here}", entry.path, architecture(entry));
        match fits.is_empty() {
            true => found.blocks_at(Code::ProgramPlatform, PROCESS, &entry.path, message),
            // One archive may bring programs for several platforms.
            false => found.says(Code::ProgramPlatform, PROCESS, message),
        }
    }
    for entry in files.programs.iter().filter(|entry| !entry.executable).take(LISTED_MAX) {
        if matches!(entry.start, Start::Binary(_)) && files.programs.iter().all(|entry| !entry.executable) {
            let message = format!("{} may not be executed", entry.path);
            found.blocks_at(Code::ProgramNotExecutable, PROCESS, &entry.path, message);
        }
    }
}

/// What holds for files of any kind.
pub(super) fn content(files: &Files, found: &mut Found) {
    if let Some(why) = &files.damaged {
        found.blocks(Code::Damaged, PROCESS, why.clone());
    }
    for (path, why) in files.unsafe_entries.iter().take(LISTED_MAX) {
        found.blocks_at(Code::UnsafeEntry, PROCESS, path, format!("{path}: {why}"));
    }
    found.secrets(&files.secrets);
    found.scan(&files.scan);
}

pub(super) fn program(entry: &Entry, here: &Platform, found: &mut Found) {
    found.blocks(Code::WrongKind, CONTAINERS, "containers run images; build one from it");
    match &entry.start {
        Start::Binary(binary) if is_for(entry, here) == Some(false) => {
            let message = format!("it is for {}, not for {here}", binary.architecture);
            found.blocks(Code::ProgramPlatform, PROCESS, message);
        }
        Start::Unknown => found.says(Code::NoProgram, PROCESS, "it is neither a program nor a script"),
        Start::Binary(_) | Start::Script(_) => {}
    }
}

fn is_for(entry: &Entry, here: &Platform) -> Option<bool> {
    match &entry.start {
        Start::Binary(binary) => Some(binary.runs_on(here)),
        Start::Script(_) | Start::Unknown => None,
    }
}

fn architecture(entry: &Entry) -> &str {
    match &entry.start {
        Start::Binary(binary) => &binary.architecture,
        Start::Script(_) | Start::Unknown => "",
    }
}
