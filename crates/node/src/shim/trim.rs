//! Keeps a log within bounds while its writer goes on: holes are punched into its beginning. The writer only appends,
//! so nothing breaks for it, and no line is lost but the oldest ones.

use rustix::fs::{FallocateFlags, fallocate, ftruncate};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;

const BLOCK: u64 = 4096;
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Looks after one log.
#[derive(Debug)]
pub(super) struct Trim {
    log: PathBuf,
    old: PathBuf,
    most: u64,
    seen: u64,
    pause: Duration,
}

impl Trim {
    /// Keeps about the last `most` bytes of `log`; `old` takes the beginning where holes cannot be punched.
    pub(super) fn new(log: PathBuf, old: PathBuf, most: u64) -> Self {
        Self { log, old, most: most.max(4 * BLOCK), seen: 0, pause: PAUSE_MIN }
    }

    /// How long until the next look: the more is written the shorter.
    pub(super) fn pause(&self) -> Duration {
        self.pause
    }

    /// Looks at the log and trims it if it is too long. Trouble is not passed on: it must not end the run.
    pub(super) fn look(&mut self) {
        let Ok(metadata) = std::fs::metadata(&self.log) else { return };
        let grown = metadata.len().saturating_sub(self.seen);
        self.seen = metadata.len();
        self.pause = if grown == 0 { (self.pause * 2).min(PAUSE_MAX) } else { PAUSE_MIN };
        if metadata.blocks().saturating_mul(512) > self.most.saturating_add(BLOCK) {
            let _ = self.trim(metadata.len());
        }
    }

    fn trim(&self, length: u64) -> io::Result<()> {
        let end = length.saturating_sub(self.most / 4 * 3) / BLOCK * BLOCK;
        let file = OpenOptions::new().write(true).open(&self.log)?;
        match fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, end) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP) => self.copy_away(&file, end),
            Err(error) => Err(error.into()),
        }
    }

    /// Without holes: the newest part is copied away, then the log begins again. What is printed in between is lost.
    fn copy_away(&self, file: &File, from: u64) -> io::Result<()> {
        let mut source = File::open(&self.log)?;
        source.seek(SeekFrom::Start(from))?;
        let mut copy = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.old)?;
        io::copy(&mut source.take(self.most), &mut copy)?;
        copy.flush()?;
        Ok(ftruncate(file, 0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_stay_and_the_writer_goes_on() {
        let folder = std::env::temp_dir().join(format!("deployctl-trim-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let log = folder.join("out.log");
        let mut writer = OpenOptions::new().append(true).create(true).open(&log).unwrap();
        let mut trim = Trim::new(log.clone(), folder.join("out.log.1"), 64 * 1024);
        for line in 0..100_000 {
            writeln!(writer, "line {line}").unwrap();
        }
        trim.look();
        writeln!(writer, "after").unwrap();
        writer.sync_all().unwrap();
        let metadata = std::fs::metadata(&log).unwrap();
        assert!(metadata.blocks() * 512 <= 80 * 1024, "{} bytes are kept", metadata.blocks() * 512);
        let text = std::fs::read(&log).unwrap();
        assert!(text.ends_with(b"line 99999\nafter\n"));
        assert_eq!(trim.pause(), PAUSE_MIN);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
