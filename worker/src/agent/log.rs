//! What user code prints, in one file per attempt. Standard output belongs to a whole process, so a
//! line goes to the log of every attempt that runs in the executor at that moment: with one slot
//! that is exact, with several it holds the neighbours' lines too.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use gristmill_common::ids::AttemptId;

use crate::scratch::make_private_dir;

/// The most bytes of one log. Raised, chatty user code fills the disk sooner; lowered, what led to a
/// failure is cut off.
const LOG_BYTES: u64 = 1 << 20;

/// The last line of a log that reached its bound.
const CUT: &[u8] = b"\n(the log is cut here)\n";

/// The logs of the attempts that run in one executor.
#[derive(Debug)]
pub(super) struct AttemptLogs {
    dir: PathBuf,
    open: BTreeMap<AttemptId, Log>,
}

#[derive(Debug, Default)]
struct Log {
    /// Made by the first line: most attempts print nothing.
    file: Option<File>,
    written: u64,
}

impl AttemptLogs {
    /// Logs in the job's folder, which need not exist.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, open: BTreeMap::new() }
    }

    /// The attempt runs from now on.
    pub(super) fn begin(&mut self, attempt: AttemptId) {
        self.open.insert(attempt, Log::default());
    }

    /// The attempt ended.
    pub(super) fn end(&mut self, attempt: AttemptId) {
        self.open.remove(&attempt);
    }

    /// Keeps what was printed. A log that cannot be written is not worth failing an attempt.
    pub(super) fn append(&mut self, text: &[u8]) {
        for (attempt, log) in &mut self.open {
            let path = self.dir.join(format!("{attempt}.log"));
            let written = make_private_dir(&self.dir).and_then(|()| log.append(&path, text));
            if let Err(error) = written {
                tracing::debug!(path = %path.display(), %error, "log cannot be written");
            }
        }
    }
}

impl Log {
    fn append(&mut self, path: &std::path::Path, text: &[u8]) -> io::Result<()> {
        let room = LOG_BYTES - self.written;
        if room == 0 {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?),
        };
        let kept = text.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        file.write_all(&text[..kept])?;
        self.written += kept as u64;
        if self.written == LOG_BYTES {
            file.write_all(CUT)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn lines_go_to_the_attempts_that_run() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut logs = AttemptLogs::new(dir.path().join("j"));
        let [first, second, silent] = ["m-0.0", "m-1.0", "m-2.0"].map(|text| text.parse().expect("an attempt"));
        logs.append(b"nobody\n");
        logs.begin(first);
        logs.append(b"one\n");
        logs.begin(second);
        logs.append(b"both\n");
        logs.end(first);
        logs.append(b"two\n");
        logs.end(second);
        logs.begin(silent);
        let read = |name: &str| fs::read_to_string(dir.path().join("j").join(name)).ok();
        let expect = [Some("one\nboth\n".to_owned()), Some("both\ntwo\n".to_owned()), None];
        assert_eq!(["m-0.0.log", "m-1.0.log", "m-2.0.log"].map(read), expect);
    }

    #[test]
    fn a_log_is_cut_at_its_bound() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut logs = AttemptLogs::new(dir.path().to_owned());
        logs.begin("m-0.0".parse().expect("an attempt"));
        for _ in 0..3 {
            logs.append(&vec![b'x'; LOG_BYTES as usize / 2 + 1]);
        }
        let text = fs::read(dir.path().join("m-0.0.log")).expect("a log");
        assert_eq!(text.len(), LOG_BYTES as usize + CUT.len());
        assert!(text.ends_with(CUT));
    }
}
