//! What a command writes to stderr: lines for this process's own stderr, and between them `reporter:`
//! lines with counters and a status. Keeps little however much there is.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;

use gristmill_common::job::{JobError, Result};
use memchr::memchr;

/// Bytes of a line that are held until its end. A longer one is passed on in pieces.
const LINE_BYTES: usize = 32 << 10;

/// Lines that an error shows.
const LAST_LINES: usize = 8;

/// Bytes of a line that an error shows.
const SHOWN_BYTES: usize = 300;

/// Counters of one attempt. Every committed attempt's are kept by the master, so more would cost it
/// memory for what cannot be read any more.
const MAX_COUNTERS: usize = 1000;

/// Listens to one command.
#[derive(Debug)]
pub(super) struct Listener {
    /// What reporter lines begin with.
    prefix: Vec<u8>,
    /// Who speaks, for status lines.
    speaker: String,
    /// The beginning of a line whose end is still to come.
    begun: Vec<u8>,
    counts: BTreeMap<String, u64>,
    last: VecDeque<String>,
}

impl Listener {
    /// A listener for the command of `speaker`, whose reporter lines begin with `prefix`.
    pub(super) fn new(prefix: &str, speaker: String) -> Self {
        let prefix = prefix.as_bytes().to_vec();
        Self { prefix, speaker, begun: Vec::new(), counts: BTreeMap::new(), last: VecDeque::new() }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// If there are too many counters.
    pub(super) fn hear(&mut self, mut bytes: &[u8]) -> Result<()> {
        let mut aside = Vec::with_capacity(bytes.len() + self.begun.len());
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            if self.begun.is_empty() {
                self.line(line, &mut aside)?;
            } else {
                let mut begun = std::mem::take(&mut self.begun);
                begun.extend_from_slice(line);
                self.line(&begun, &mut aside)?;
            }
        }
        self.begun.extend_from_slice(bytes);
        if self.begun.len() > LINE_BYTES {
            let begun = std::mem::take(&mut self.begun);
            self.plain(&begun, &mut aside);
        }
        pass_on(&aside);
        Ok(())
    }

    /// Says that nothing more will come.
    pub(super) fn end(&mut self) {
        let begun = std::mem::take(&mut self.begun);
        let mut aside = Vec::new();
        if !begun.is_empty() && self.line(&begun, &mut aside).is_ok() {
            pass_on(&aside);
        }
    }

    /// What was counted since this was last asked for: `group:name` and how much.
    pub(super) fn take_counts(&mut self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.counts)
    }

    /// The last lines, as the end of an error.
    pub(super) fn last_words(&self) -> String {
        if self.last.is_empty() {
            return " and wrote nothing to stderr".to_owned();
        }
        let lines: Vec<&str> = self.last.iter().map(String::as_str).collect();
        format!("; its stderr ended with: {}", lines.join(" | "))
    }

    fn line(&mut self, line: &[u8], aside: &mut Vec<u8>) -> Result<()> {
        let Some(report) = line.strip_prefix(self.prefix.as_slice()) else {
            self.plain(line, aside);
            return Ok(());
        };
        let report = String::from_utf8_lossy(report);
        if let Some(status) = report.strip_prefix("status:") {
            aside.extend_from_slice(format!("{}: {}\n", self.speaker, status.trim()).as_bytes());
        } else if let Some((name, by)) = report.strip_prefix("counter:").and_then(counter) {
            let count = self.counts.entry(name).or_default();
            *count = count.saturating_add(by);
            if self.counts.len() > MAX_COUNTERS {
                return Err(JobError::new(format!("more than {MAX_COUNTERS} counters are counted at once")));
            }
        } else {
            aside.extend_from_slice(b"not understood: ");
            self.plain(line, aside);
        }
        Ok(())
    }

    fn plain(&mut self, line: &[u8], aside: &mut Vec<u8>) {
        aside.extend_from_slice(line);
        aside.push(b'\n');
        let shown = String::from_utf8_lossy(&line[..line.len().min(SHOWN_BYTES)]).trim_end().to_owned();
        if shown.is_empty() {
            return;
        }
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(shown);
    }
}

/// The name and amount of `group,name,amount`.
fn counter(text: &str) -> Option<(String, u64)> {
    let mut parts = text.trim().rsplitn(2, ',');
    let (by, name) = (parts.next()?, parts.next()?);
    let (group, name) = name.split_once(',')?;
    Some((format!("{}:{}", group.trim(), name.trim()), by.trim().parse().ok()?))
}

/// Writes to this process's stderr; whoever does not want it is not in the way.
fn pass_on(bytes: &[u8]) {
    if !bytes.is_empty() {
        let _gone = std::io::stderr().lock().write_all(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(pieces: &[&[u8]]) -> Listener {
        let mut listener = Listener::new("reporter:", "m-0".to_owned());
        pieces.iter().for_each(|piece| listener.hear(piece).expect("few counters"));
        listener.end();
        listener
    }

    #[test]
    fn counters_are_found_between_other_lines() {
        let text =
            b"hello\nreporter:counter:g,n,2\nreporter:status:half\nreporter:counter:g,n,40\nreporter:counter:a b,c d,1";
        for cut in 0..text.len() {
            let mut listener = heard(&[&text[..cut], &text[cut..]]);
            let counts = listener.take_counts().into_iter().collect::<Vec<_>>();
            assert_eq!(counts, [("a b:c d".to_owned(), 1), ("g:n".to_owned(), 42)], "cut at {cut}");
            assert_eq!(listener.last_words(), "; its stderr ended with: hello");
        }
    }

    #[test]
    fn counters_stop_at_the_most_they_can_be() {
        let most = format!("reporter:counter:g,n,{}\n", u64::MAX);
        let counts = heard(&[most.as_bytes(), b"reporter:counter:g,n,2\n", most.as_bytes()]).take_counts();
        assert_eq!(counts.into_iter().collect::<Vec<_>>(), [("g:n".to_owned(), u64::MAX)]);
    }

    #[test]
    fn what_is_no_counter_is_passed_on() {
        for line in ["counter:g,n,-1", "counter:g,n", "counter:g,n,many", "unknown"] {
            let mut listener = heard(&[format!("reporter:{line}\n").as_bytes()]);
            assert!(listener.take_counts().is_empty(), "{line}");
            assert_eq!(listener.last_words(), format!("; its stderr ended with: reporter:{line}"));
        }
        assert_eq!(heard(&[b"\n"]).last_words(), " and wrote nothing to stderr");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let flood: String = (0..100_000).map(|n| format!("{n} {}\n", "x".repeat(n % 1000))).collect();
        let listener = heard(&[flood.as_bytes(), &[b'y'; 3 * LINE_BYTES]]);
        assert_eq!((listener.last.len(), listener.begun.len()), (LAST_LINES, 0));
        assert!(listener.last.iter().all(|line| line.len() <= SHOWN_BYTES));
        let mut many = Listener::new("r:", String::new());
        let lines: String = (0..=MAX_COUNTERS).map(|n| format!("r:counter:g,{n},1\n")).collect();
        assert!(many.hear(lines.as_bytes()).is_err());
    }
}
