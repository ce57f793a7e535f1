//! Few objects of many: small segments become one, and what nobody names is swept.

use super::append::write_segment;
use super::format::{Segment, bytes_of};
use super::log::{HEAD, Log, read_segment};
use deployctl_core::objects::{OBJECT_BYTES_MAX, ObjectError, Objects};
use std::collections::BTreeSet;
use std::ops::Range;

/// Merged when there are so many that could be one.
const MANY: usize = 12;
/// A segment of this size stays as it is.
const LARGE: usize = OBJECT_BYTES_MAX / 2;

/// The segments to be merged: a run of small ones that fit into one object.
fn run(segments: &[Segment]) -> Option<Range<usize>> {
    let small = segments.iter().rposition(|segment| segment.bytes >= LARGE).map_or(0, |large| large + 1);
    let mut bytes = 0;
    let fitting = segments[small..].iter().take_while(|segment| {
        bytes += segment.bytes;
        bytes <= OBJECT_BYTES_MAX
    });
    let count = fitting.count();
    let is_due = count >= MANY || (count > 1 && small + count < segments.len());
    is_due.then_some(small..small + count)
}

impl Log {
    /// Makes fewer objects of many, if it is time. Whatever goes wrong: the journal says the same as before, and the next
    /// time is soon.
    pub(super) async fn tidy(&mut self, objects: &dyn Objects) {
        if let Some(run) = run(&self.current().segments) {
            let _ = self.merge(objects, run).await;
        }
    }

    async fn merge(&mut self, objects: &dyn Objects, run: Range<usize>) -> Option<()> {
        let mut head = self.current();
        let listed = names(objects).await?;
        let mut commits = Vec::new();
        for segment in &head.segments[run.clone()] {
            commits.extend(read_segment(objects, segment).await.ok()??);
        }
        let (first, last) = (head.segments.get(run.start)?.first, head.segments.get(run.end - 1)?.last);
        let mut made = Vec::new();
        let merged = write_segment(objects, &commits, first, last, &mut made).await;
        let Ok(merged) = merged else { return discard(objects, &made).await };
        head.segments.splice(run, [merged]);
        match objects.replace(HEAD, &bytes_of(&head), self.version()).await {
            Ok(version) => self.head = Some((head, version)),
            Err(ObjectError::Unknown(_)) => return None,
            Err(_) => return discard(objects, &made).await,
        }
        // A writer that made one of these before wrote over a head that is no more: it will never be named.
        let head = self.current();
        let named: BTreeSet<&String> = head.segments.iter().map(|segment| &segment.name).chain(&self.parts).collect();
        let unnamed: Vec<String> = listed.into_iter().filter(|name| !named.contains(name)).collect();
        discard(objects, &unnamed).await
    }
}

async fn names(objects: &dyn Objects) -> Option<Vec<String>> {
    let mut names = objects.list("segment-").await.ok()?;
    names.extend(objects.list("part-").await.ok()?);
    Some(names)
}

async fn discard(objects: &dyn Objects, names: &[String]) -> Option<()> {
    for name in names {
        objects.delete(name).await.ok()?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use deployctl_core::id::Sha256Hex;

    #[test]
    fn small_ones_are_merged_when_they_are_many_or_fill_one() {
        let of = |sizes: &[usize]| -> Option<Range<usize>> {
            let segment = |n: usize, bytes: usize| Segment {
                name: n.to_string(),
                first: n as u64,
                last: n as u64,
                bytes,
                sha256: Sha256Hex::of(b""),
            };
            run(&sizes.iter().enumerate().map(|(n, bytes)| segment(n, *bytes)).collect::<Vec<_>>())
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[10; MANY - 1]), None);
        assert_eq!(of(&[10; MANY]), Some(0..MANY));
        assert_eq!(of(&[&[LARGE][..], &[10; MANY][..]].concat()), Some(1..MANY + 1));
        assert_eq!(of(&[LARGE - 1, LARGE - 1, 9]), Some(0..2), "no third one fits");
        assert_eq!(of(&[LARGE, LARGE, LARGE]), None);
    }
}
