//! The last lines of a log, whose beginning may be a hole or lie in the file before.

use crate::layout::RunFolder;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

/// Longer lines are cut.
const LINE_MAX: usize = 4096;
/// So much is read at most to find lines.
const READ_MAX: u64 = 4 * 1024 * 1024;

/// The last `count` lines that were printed at or after the offset `from`. Trouble reads as no lines.
pub(crate) fn last_lines(folder: &RunFolder, from: u64, count: usize) -> Vec<String> {
    let (mut lines, whole) = tail(&folder.log(), from, count).unwrap_or_default();
    if lines.len() < count && !whole {
        let (mut older, _) = tail(&folder.old_log(), 0, count - lines.len()).unwrap_or_default();
        older.append(&mut lines);
        lines = older;
    }
    lines
}

/// The lines, and whether `from` itself was reached in a file that has all that was printed since.
fn tail(path: &Path, from: u64, count: usize) -> io::Result<(Vec<String>, bool)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    // After a log began again, an offset of before points beyond its end.
    let (from, whole) = if from <= length { (from, from > 0) } else { (0, false) };
    let mut span = 16 * 1024;
    loop {
        let start = data_start(&file, length.saturating_sub(span).max(from))?.min(length);
        file.seek(io::SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        (&mut file).take(length - start).read_to_end(&mut bytes)?;
        let at_begin = start <= from;
        let lines = split(&bytes, start == 0 || start == from);
        if lines.len() > count || at_begin || span >= READ_MAX || start > length.saturating_sub(span).max(from) {
            let skip = lines.len().saturating_sub(count);
            return Ok((lines.into_iter().skip(skip).collect(), whole));
        }
        span *= 4;
    }
}

fn data_start(file: &File, from: u64) -> io::Result<u64> {
    match rustix::fs::seek(file, SeekFrom::Data(from)) {
        Ok(start) => Ok(start),
        Err(Errno::NXIO) => Ok(u64::MAX),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(from),
        Err(error) => Err(error.into()),
    }
}

/// The lines of `bytes`; the first one only if it is `complete`.
fn split(bytes: &[u8], complete: bool) -> Vec<String> {
    let mut pieces = bytes.split(|b| *b == b'\n');
    if !complete {
        pieces.next();
    }
    let mut lines: Vec<String> = pieces.map(line).collect();
    if lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// A line as people see it: cut when too long, without its carriage return, invalid UTF-8 replaced.
pub(crate) fn line(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let cut = &bytes[..bytes.len().min(LINE_MAX)];
    let mut text = String::from_utf8_lossy(cut).into_owned();
    if cut.len() < bytes.len() {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn last_lines_from_an_offset_and_across_files() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder(folder.path().into());
        assert!(last_lines(&run, 0, 5).is_empty(), "no log yet");
        fs::write(run.log(), b"one\ntwo\r\nthr\xffee\nlast").unwrap();
        assert_eq!(last_lines(&run, 0, 2), ["thr\u{fffd}ee", "last"]);
        assert_eq!(last_lines(&run, 4, 9), ["two", "thr\u{fffd}ee", "last"]);
        fs::write(run.old_log(), "cut\nold\n").unwrap();
        assert_eq!(last_lines(&run, 0, 6), ["cut", "old", "one", "two", "thr\u{fffd}ee", "last"]);
        assert_eq!(last_lines(&run, 4, 9).len(), 3, "what was printed before the offset is not asked for");
        fs::write(run.log(), [&[b'x'; 5000][..], b"\n"].concat()).unwrap();
        assert_eq!(last_lines(&run, 0, 1)[0].len(), LINE_MAX + 3);
    }

    #[test]
    fn a_hole_at_the_beginning_is_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder(folder.path().into());
        let file = File::create(run.log()).unwrap();
        rustix::io::pwrite(&file, b"half a line\nnext\nend\n", 1 << 40).unwrap();
        assert_eq!(last_lines(&run, 0, 9), ["next", "end"]);
    }
}
