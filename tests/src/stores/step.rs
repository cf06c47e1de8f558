//! The steps of a commit in an S3 store, by the requests that make them, and the death of processes at
//! one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use super::message::RequestHead;
use super::proxy::{Fault, FaultProxy};

/// A step of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The claim is written.
    Claim,
    /// An upload of a part is begun.
    OpenUpload,
    /// A piece of a part is sent.
    SendPiece,
    /// An upload is completed.
    Complete,
    /// `_SUCCESS` is written.
    Success,
    /// Something is deleted: without `--overwrite`, the claim.
    GiveBack,
}

impl Step {
    /// Whether a request makes it.
    pub fn is(self, head: &RequestHead) -> bool {
        let (method, target) = (head.method.as_str(), head.target.as_str());
        let is_put_of = |name: &str| method == "PUT" && target.contains(name);
        match self {
            Step::Claim => is_put_of("_gristmill.claim"),
            Step::OpenUpload => method == "POST" && target.contains("part-0") && target.contains("uploads"),
            Step::SendPiece => is_put_of("partNumber="),
            Step::Complete => method == "POST" && target.contains("uploadId="),
            Step::Success => is_put_of("_SUCCESS"),
            Step::GiveBack => {
                let deletes = method == "DELETE" || method == "POST" && target.contains("delete");
                deletes && !target.contains("uploadId=")
            }
        }
    }
}

/// When processes die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// At which step.
    pub step: Step,
    /// How many such steps are passed before.
    pub after: u64,
    /// Whether the step is carried out before they die, and its answer lost.
    pub applied: bool,
}

/// Lets a proxy end processes with SIGKILL at a moment, and pass everything on otherwise. `pids` tells whom
/// when it has come. What is returned tells whether it has.
pub fn kill_at(proxy: &FaultProxy, moment: Moment, pids: impl Fn() -> Vec<u32> + Send + 'static) -> Arc<AtomicBool> {
    let killed = Arc::new(AtomicBool::new(false));
    let (done, seen) = (Arc::clone(&killed), AtomicU64::new(0));
    proxy.deciding(move |head| {
        if !moment.step.is(head) || seen.fetch_add(1, Ordering::Relaxed) != moment.after {
            return None;
        }
        pids().into_iter().for_each(kill);
        done.store(true, Ordering::Release);
        Some(if moment.applied { Fault::LoseReply } else { Fault::Reset })
    });
    killed
}

fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // One that is gone already is what is wanted.
        let _ = kill_process(pid, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_make_the_steps_that_they_make() {
        let check = |method: &str, target: &str, expect: Option<Step>| {
            let head = RequestHead { method: method.to_owned(), target: target.to_owned(), headers: vec![] };
            let all = [Step::Claim, Step::OpenUpload, Step::SendPiece, Step::Complete, Step::Success, Step::GiveBack];
            let found: Vec<Step> = all.into_iter().filter(|step| step.is(&head)).collect();
            assert_eq!(found, expect.into_iter().collect::<Vec<_>>(), "{method} {target}");
        };
        check("PUT", "/bucket/out/_gristmill.claim", Some(Step::Claim));
        check("GET", "/bucket/out/_gristmill.claim", None);
        check("POST", "/bucket/out/part-00001?uploads", Some(Step::OpenUpload));
        check("PUT", "/bucket/out/part-00001?partNumber=1&uploadId=x", Some(Step::SendPiece));
        check("POST", "/bucket/out/part-00001?uploadId=x", Some(Step::Complete));
        check("DELETE", "/bucket/out/part-00001?uploadId=x", None);
        check("PUT", "/bucket/out/_SUCCESS", Some(Step::Success));
        check("POST", "/bucket?delete", Some(Step::GiveBack));
        check("DELETE", "/bucket/out/_gristmill.claim", Some(Step::GiveBack));
    }
}
