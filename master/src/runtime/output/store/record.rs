//! What a claim says, and what it means to somebody else. Pure.
//!
//! The object is JSON of one line:
//!
//! | field | value |
//! |---|---|
//! | `version` | 1 |
//! | `job` | the job id, `j-…` |
//! | `writer` | 32 hex digits, drawn anew for each time that the claim is taken |
//! | `process` | `{host, boot, space, pid, started}`: who holds it |

use gristmill_common::ids::JobId;
use serde::{Deserialize, Serialize};

use super::process::{Fate, Process};
use crate::runtime::random::random_u64;

/// The version of the format written here.
const VERSION: u32 = 1;

/// The content of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClaimRecord {
    version: u32,
    /// The job that holds the output.
    pub(super) job: String,
    /// Tells this taking of the claim from all others.
    pub(super) writer: String,
    /// Who took it.
    pub(super) process: Process,
}

/// What a claim that was found means for whoever wants the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is this very taking.
    Ours,
    /// Nobody holds it any more.
    Free,
    /// A process that runs holds it; says which job.
    Held(String),
    /// A process elsewhere took it, and may have gone; says which job and where.
    OutOfSight(String),
}

impl ClaimRecord {
    /// The claim of a job by a process, taken now.
    pub(super) fn new(job: JobId, process: Process) -> Self {
        let writer = format!("{:016x}{:016x}", random_u64(), random_u64());
        Self { version: VERSION, job: job.to_string(), writer, process }
    }

    /// The object.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("all keys are strings and a Vec takes all bytes")
    }

    /// Whether a claim that was found is one of the same job.
    pub(super) fn is_of_same_job(&self, found: &[u8]) -> bool {
        serde_json::from_slice::<Self>(found).is_ok_and(|found| found.job == self.job)
    }

    /// What `found` means to whoever wants to hold this one; `fate` tells of processes.
    pub(super) fn judge(&self, found: &[u8], fate: impl Fn(&Process) -> Fate) -> Verdict {
        let Ok(found) = serde_json::from_slice::<Self>(found) else {
            return Verdict::OutOfSight("something that this program cannot read".to_owned());
        };
        let Process { host, pid, .. } = &found.process;
        let job = &found.job;
        if found.writer == self.writer {
            Verdict::Ours
        } else if found.job == self.job {
            // Job ids are never used again: an earlier process of whoever has this job now.
            Verdict::Free
        } else {
            match fate(&found.process) {
                Fate::Gone => Verdict::Free,
                Fate::Lives => Verdict::Held(format!("job {job} (process {pid})")),
                Fate::Unknown => Verdict::OutOfSight(format!("job {job} (process {pid} on host {host:?})")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_ours_free_or_somebody_elses() {
        let mine = ClaimRecord::new(JobId(1), Process::this());
        let check = |found: &ClaimRecord, fate: Fate, verdict: Verdict| {
            assert_eq!(mine.judge(&found.to_bytes(), |_| fate), verdict);
        };
        check(&mine, Fate::Gone, Verdict::Ours);
        let earlier = ClaimRecord::new(JobId(1), Process::this());
        check(&earlier, Fate::Lives, Verdict::Free);
        let process = Process { host: "far".to_owned(), pid: 7, ..Process::this() };
        let other = ClaimRecord::new(JobId(2), process);
        check(&other, Fate::Gone, Verdict::Free);
        check(&other, Fate::Lives, Verdict::Held("job j-000000000002 (process 7)".to_owned()));
        let far = Verdict::OutOfSight("job j-000000000002 (process 7 on host \"far\")".to_owned());
        check(&other, Fate::Unknown, far);
        assert!(matches!(mine.judge(b"{}", |_| Fate::Gone), Verdict::OutOfSight(_)));
    }

    #[test]
    fn the_format_is_fixed() {
        let text = r#"{"version":1,"job":"j-000000000001","writer":"00ff","process":{"host":"h","boot":"b","space":"pid:[1]","pid":7,"started":42}}"#;
        let record: ClaimRecord = serde_json::from_str(text).expect("a claim");
        assert_eq!(record.to_bytes(), text.as_bytes());
    }
}
