//! Outputs in a store, for masters that die at the failpoints that such outputs come by.

use std::path::Path;
use std::time::Duration;

use gristmill_common::naming::CLAIM_OBJECT;
use gristmill_master::failpoint::STORE_FAILPOINTS;

use super::super::places::{Death, Ground, PlacesVerdict, deaths, visit};
use crate::cluster::eventually_within;
use crate::stores::StoreTrial;

/// How long it may take, once a job is said to be over, until its claim is gone: a master may die in between.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was there before, in the order of keys: the output of another job.
const ANOTHER: [(&str, &str); 2] =
    [("_SUCCESS", "{\"job\":\"j-000000000009\"}"), ("part-00007", "what was there before\n")];

/// An output in a folder of a bucket.
struct StoreGround<'t> {
    trial: &'t StoreTrial,
    folder: String,
}

impl StoreGround<'_> {
    /// The keys and the contents of what was there before.
    fn another(&self) -> [(String, &'static [u8]); 2] {
        ANOTHER.map(|(name, content)| (format!("{}/{name}", self.folder), content.as_bytes()))
    }
}

impl Ground for StoreGround<'_> {
    fn submission(&self, flags: &[&str]) -> Vec<String> {
        let mut args = self.trial.job(&self.folder, &self.trial.server().url());
        args.extend(flags.iter().map(|flag| (*flag).to_owned()));
        args
    }

    fn place_another(&self) {
        self.another().iter().for_each(|(key, content)| self.trial.server().put(key, *content));
    }

    fn is_another(&self) -> bool {
        let server = self.trial.server();
        let (keys, contents): (Vec<String>, Vec<&[u8]>) = self.another().into_iter().unzip();
        eventually_within(PATIENCE, || server.keys(&self.folder) == keys)
            && keys.iter().zip(contents).all(|(key, content)| server.get(key).is_some_and(|found| found == content))
    }

    fn is_right(&self) -> bool {
        eventually_within(PATIENCE, || self.trial.wrong_with(&self.folder).is_none())
    }

    fn remove(&self) {
        // A claim that is there still is a leftover.
        let server = self.trial.server();
        server.keys(&self.folder).iter().filter(|key| !key.ends_with(CLAIM_OBJECT)).for_each(|key| server.delete(key));
    }

    fn outputs(&self) -> Option<&Path> {
        None
    }

    fn known(&self) -> &[&str] {
        &[]
    }

    fn left(&self) -> Option<String> {
        self.trial.left_in(&self.folder)
    }
}

/// Lets masters die at each place that outputs in stores come by, so often.
pub(super) fn master_deaths(trial: &StoreTrial, times: usize) -> PlacesVerdict {
    let all: Vec<Death> = (0..times).flat_map(|after| deaths(STORE_FAILPOINTS, after)).collect();
    let mut verdict = visit(STORE_FAILPOINTS, &all, &|number| {
        (trial.master(), Box::new(StoreGround { trial, folder: format!("counts-{number}") }))
    });
    // Uploads that a server cannot list are looked for where it keeps them.
    if let Some((_, pieces)) = trial.server().upload_files().filter(|(_, pieces)| *pieces > 0) {
        verdict.left = Some(format!("pieces of uploads: {pieces}"));
    }
    verdict
}
