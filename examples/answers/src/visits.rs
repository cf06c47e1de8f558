//! How many visitors a web server had and how often they came: sessions, then their number.

use std::sync::Mutex;

use clap::Args;
use gristmill::prelude::*;
use serde::{Deserialize, Serialize};

use crate::sessions::Sessions;
use crate::totals;

/// Counts the addresses in a web server's log, and their sessions
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Visits {}

impl Pipeline for Visits {
    fn plan(&self, plan: &mut impl Plan) -> Result<(), OptionError> {
        plan.stage(Stage::new("sessions").reads(Source::Input), Sessions {});
        plan.stage(Stage::new("count").reads("sessions").reducers(1), Count {});
        Ok(())
    }
}

/// Counts sessions
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
struct Count {}

impl Program for Count {
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(Tally::default()))
    }
}

/// Addresses, and sessions of all of them.
#[derive(Default)]
struct Tally(Mutex<(u64, u64)>);

impl MapReduce for Tally {
    /// What `sessions` writes: text can stand between stages too.
    type Input = Utf8Lines;
    type Key = str;
    type Value = u64;
    type Combine = Sum;
    type Output = Text<str, u64>;

    fn setup(&self, task: &TaskContext<'_>) -> Result<Option<Self>> {
        totals::in_one_task(task)?;
        Ok(Some(Self::default()))
    }

    fn map(&self, session: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
        let (address, _) = session.split_once('\t').ok_or_else(|| JobError::new("not a session"))?;
        out.emit(address, 1)
    }

    fn reduce(&self, _address: &str, sessions: Values<u64>, _out: &mut impl Sink<str, u64>) -> Result<()> {
        let mut tally = self.0.lock().expect("no holder panics");
        tally.0 += 1;
        tally.1 += sessions.sum();
        Ok(())
    }

    fn finish_reduce(&self, out: &mut impl Sink<str, u64>) -> Result<()> {
        let (addresses, sessions) = *self.0.lock().expect("no holder panics");
        out.put("distinct_ip", addresses)?;
        out.put("sessions_gap_gt_1800s", sessions)
    }
}
