//! Sessions: streams that come and resume, and what is shown of the workers behind them.

use std::sync::Arc;

use gristmill_common::ids::{MasterEpoch, SessionId};
use tokio::sync::{mpsc, oneshot};
use tracing::info;

use super::Driver;
use crate::runtime::handle::{Hello, Welcome};
use crate::runtime::journal::{Change, JournalRecord};
use crate::runtime::order::Order;
use crate::runtime::status::ClusterStatus;
use crate::scheduler::{CloseReason, Event, StaleReason, WorkerProfile};

impl Driver {
    pub(super) fn on_register(&mut self, hello: Hello, orders: mpsc::Sender<Order>, reply: oneshot::Sender<Welcome>) {
        let (worker, is_new) = self.streams.worker(&hello.worker_key);
        if is_new {
            let key = hello.worker_key.clone();
            self.outbox.record(Change::Append(JournalRecord::WorkerNamed { key, worker }));
        }
        let session = self.streams.next_session();
        let stream = self.streams.open(session, orders);
        info!(%session, %worker, slots = hello.slots, address = hello.address, "worker registered");
        // Orders that the event causes wait in the stream's queue until the worker knows its session.
        self.answer(reply, Welcome { session, worker, stream });
        let Hello { slots, address, machine, scratch, offers, worker_key: _ } = hello;
        let profile = Arc::new(WorkerProfile { worker, slots, address, machine, scratch });
        self.step(Event::WorkerRegistered { session, profile, offers });
    }

    pub(super) fn on_resume(
        &mut self,
        epoch: MasterEpoch,
        session: SessionId,
        orders: mpsc::Sender<Order>,
    ) -> Result<Welcome, CloseReason> {
        let event = Event::StreamResumed { epoch, session };
        // A session of another epoch may bear the number of an open one, whose stream must stay.
        let ours = epoch == self.scheduler.epoch();
        let Some(worker) = self.scheduler.worker_of_open(session).filter(|_| ours) else {
            self.step(event);
            return Err(CloseReason::Unknown);
        };
        let stream = self.streams.open(session, orders);
        info!(%session, "stream resumed");
        self.step(event);
        Ok(Welcome { session, worker, stream })
    }

    pub(super) fn cluster(&self) -> ClusterStatus {
        let refusals = self.scheduler.stale_refusals().iter();
        ClusterStatus {
            workers: self.scheduler.workers(),
            stale_refusals: refusals.map(|(reason, count)| (stale_name(*reason).to_owned(), *count)).collect(),
            epoch: self.scheduler.epoch(),
        }
    }
}

fn stale_name(reason: StaleReason) -> &'static str {
    match reason {
        StaleReason::Epoch => "epoch",
        StaleReason::Session => "session",
        StaleReason::Attempt => "attempt",
        StaleReason::Job => "job",
    }
}
