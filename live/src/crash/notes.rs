//! What became of cases, in a file: a run that was cut off goes on with those that it had not come to.

use super::case::Became;
use super::oracle::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// One line of the file.
#[derive(Serialize, Deserialize)]
struct Note {
    case: String,
    outcome: Outcome,
}

/// The file, and what stood in it.
#[derive(Debug)]
pub(crate) struct Notes {
    known: BTreeMap<String, Outcome>,
    file: Mutex<File>,
}

impl Notes {
    /// Reads what is there, and makes the file if it is not. Half a line at its end is what a killed run left.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let wrong = |e: std::io::Error| format!("{}: {e}", path.display());
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(wrong)?;
        let lines = BufReader::new(file.try_clone().map_err(wrong)?).lines().map_while(Result::ok);
        let notes = lines.filter_map(|line| serde_json::from_str::<Note>(&line).ok());
        let known = notes.map(|note| (note.case, note.outcome)).collect();
        Ok(Self { known, file: Mutex::new(file) })
    }

    pub(crate) fn known(&self, case: &str) -> Option<Outcome> {
        self.known.get(case).copied()
    }

    /// Keeps how a case ended. What was wrong is not kept: it is run again.
    pub(crate) fn keep(&self, case: &str, became: &Became) {
        let Became::Fine(outcome) = became else { return };
        let line = serde_json::to_string(&Note { case: case.to_owned(), outcome: *outcome }).unwrap_or_default();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(format!("\n{line}\n").as_bytes()) {
            eprintln!("what became of `{case}` is not kept: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_was_cut_off_knows_what_it_had_done() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes");
        let notes = Notes::open(&path).unwrap();
        notes.keep("rolling/deploy engine after-opened #1 kill", &Became::Fine(Outcome::Back));
        notes.keep("rolling/deploy engine after-opened #1 stop", &Became::NotHit);
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"case\":\"cut").unwrap();
        let notes = Notes::open(&path).unwrap();
        notes.keep("down", &Became::Fine(Outcome::Never));
        let notes = Notes::open(&path).unwrap();
        assert_eq!(notes.known("rolling/deploy engine after-opened #1 kill"), Some(Outcome::Back));
        assert_eq!(notes.known("rolling/deploy engine after-opened #1 stop"), None);
        assert_eq!(notes.known("down"), Some(Outcome::Never));
    }
}
