//! The layers of an image, read one over the other.

use super::unpacked::plain;
use super::{Limits, look};
use crate::subject::{Content, Entry, Link, Secret, Start};
use std::io::{self, Read};
use tar::EntryType;

/// What a layer brings: a path, and what is there.
type New = (String, Option<Entry>, Option<Link>, Vec<&'static str>);

/// Takes layers, the lowest first.
pub(super) struct Layers<'a> {
    content: Content,
    limits: &'a Limits,
    entries: u64,
}

impl<'a> Layers<'a> {
    pub(super) fn new(limits: &'a Limits) -> Self {
        Self { content: Content::default(), limits, entries: 0 }
    }

    pub(super) fn finish(mut self) -> Content {
        self.content.secrets.sort();
        self.content
    }

    /// Whether there is no use in more layers.
    pub(super) fn is_full(&self) -> bool {
        self.content.scan.stopped.is_some()
    }

    /// Notes why not everything could be looked at.
    pub(super) fn stop(&mut self, why: String) {
        self.content.scan.stopped.get_or_insert(why);
    }

    /// Reads a layer to its end. An error is one of reading; a layer that is no archive is noted.
    pub(super) fn add(&mut self, from: impl Read) -> io::Result<()> {
        let left = self.limits.bytes_max.saturating_sub(self.content.scan.bytes);
        let mut counted = Counted { from: plain(from)?.take(left), bytes: 0 };
        let done = self.read(&mut counted);
        let rest = io::copy(&mut counted, &mut io::sink());
        let full = counted.from.limit() == 0;
        self.content.scan.bytes += counted.bytes;
        if full {
            self.stop(format!("there is more than {} MiB", self.limits.bytes_max >> 20));
            return Ok(());
        }
        done.and(rest.map(drop))
    }

    fn read(&mut self, from: &mut impl Read) -> io::Result<()> {
        let mut archive = tar::Archive::new(from);
        // What this layer brings is not hidden by what it takes away.
        let mut gone: Vec<String> = Vec::new();
        let mut own: Vec<New> = Vec::new();
        for entry in archive.entries()? {
            let mut entry = entry?;
            self.entries += 1;
            if self.entries > self.limits.entries_max {
                self.stop(format!("there are more than {} files", self.limits.entries_max));
                break;
            }
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = path.trim_start_matches("./").trim_matches('/').to_owned();
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path.as_str()));
            if let Some(removed) = name.strip_prefix(".wh.") {
                let below = if folder.is_empty() { String::new() } else { format!("{folder}/") };
                gone.push(if removed == ".wh..opq" { format!("{below}*") } else { format!("{below}{removed}") });
                continue;
            }
            let target = entry.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned());
            let target = target.unwrap_or_default();
            match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    let executable = entry.header().mode()? & 0o111 != 0;
                    let looked = look::at(&path, executable, &mut entry, self.limits.file_bytes_max)?;
                    own.push((path, looked.program, None, looked.secrets));
                }
                EntryType::Symlink => own.push((path, None, Some(Link(target)), Vec::new())),
                // To this it is the same as a link from the root.
                EntryType::Link => own.push((path, None, Some(Link(format!("/{target}"))), Vec::new())),
                _ => own.push((path, None, None, Vec::new())),
            }
        }
        gone.iter().for_each(|path| self.remove(path));
        for (path, program, link, secrets) in own {
            self.put(path, program, link, &secrets);
        }
        Ok(())
    }

    /// A file of this layer, in place of what was there.
    fn put(&mut self, path: String, program: Option<Entry>, link: Option<Link>, secrets: &[&str]) {
        self.hide(|place| place == path);
        self.content.programs.remove(&path);
        self.content.links.remove(&path);
        for what in secrets {
            let secret = Secret { place: path.clone(), what: (*what).to_owned(), in_env: false, hidden: false };
            self.content.secrets.push(secret);
        }
        // A thousand libraries are not of interest; whatever can be started is.
        if let Some(program) = program.filter(|program| program.start != Start::Unknown || program.executable) {
            self.content.programs.insert(path.clone(), program);
        }
        if let Some(link) = link {
            self.content.links.insert(path.clone(), link);
        }
        self.content.paths.insert(path);
    }

    /// What a layer takes away: a path with all below it; `FOLDER/*` all below it alone.
    fn remove(&mut self, path: &str) {
        let (exact, below) = match path.strip_suffix('*') {
            Some(below) => (None, below.to_owned()),
            None => (Some(path), format!("{path}/")),
        };
        self.hide(|place| Some(place) == exact || place.starts_with(&below));
        let paths = self.content.paths.range(below.clone()..).take_while(|place| place.starts_with(&below));
        let gone: Vec<String> = paths.cloned().chain(exact.map(str::to_owned)).collect();
        for place in gone {
            self.content.paths.remove(&place);
            self.content.programs.remove(&place);
            self.content.links.remove(&place);
        }
    }

    fn hide(&mut self, is_gone: impl Fn(&str) -> bool) {
        for secret in self.content.secrets.iter_mut().filter(|secret| is_gone(&secret.place)) {
            secret.hidden = true;
        }
    }
}

/// Counts what is read.
struct Counted<R> {
    from: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}
