//! The streams of open sessions and the names of workers: where orders go. Which sessions are in
//! force is the scheduler's business.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gristmill_common::ids::{JobId, SessionId, WorkerId};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::order::Order;

/// Orders that may wait for one worker to read them. A worker that is further behind is taken as
/// one whose stream broke: the driver waits for nobody. Short attempts of a worker with many slots
/// are sent ahead in one go, and must fit.
pub(crate) const MAX_WAITING_ORDERS: usize = 1 << 16;

/// Names one stream of one session: a session that resumes has a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamId(u64);

/// A worker that does not take its orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamStuck;

/// The open streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: BTreeMap<SessionId, Stream>,
    last_session: u64,
    last_stream: u64,
    workers: HashMap<String, WorkerId>,
}

#[derive(Debug)]
struct Stream {
    id: StreamId,
    orders: mpsc::Sender<Order>,
    /// The jobs that were opened on this stream and not released.
    jobs: BTreeSet<JobId>,
}

impl Streams {
    /// A session id never used before.
    pub(super) fn next_session(&mut self) -> SessionId {
        self.last_session += 1;
        SessionId(self.last_session)
    }

    /// No streams, and the names that workers have already.
    pub(super) fn with_workers(workers: HashMap<String, WorkerId>) -> Self {
        Self { workers, ..Self::default() }
    }

    /// The worker with this key: the name it had before, or the next one, and whether it is new.
    pub(super) fn worker(&mut self, key: &str) -> (WorkerId, bool) {
        if let Some(worker) = self.workers.get(key) {
            return (*worker, false);
        }
        let next = u32::try_from(self.workers.len() + 1).expect("fewer than 2^32 workers register");
        self.workers.insert(key.to_owned(), WorkerId(next));
        (WorkerId(next), true)
    }

    /// The session's orders go to this stream from now on; an earlier stream of it ends.
    pub(super) fn open(&mut self, session: SessionId, orders: mpsc::Sender<Order>) -> StreamId {
        self.last_stream += 1;
        let id = StreamId(self.last_stream);
        self.open.insert(session, Stream { id, orders, jobs: BTreeSet::new() });
        id
    }

    /// Ends the session's stream if it is still this one. Returns whether it was.
    pub(super) fn end(&mut self, session: SessionId, stream: StreamId) -> bool {
        let current = self.open.get(&session).is_some_and(|open| open.id == stream);
        if current {
            self.open.remove(&session);
        }
        current
    }

    /// Whether the job must be opened on the session's stream before an attempt of it starts; says
    /// so once. False if there is no stream.
    pub(super) fn must_open(&mut self, session: SessionId, job: JobId) -> bool {
        self.open.get_mut(&session).is_some_and(|stream| stream.jobs.insert(job))
    }

    /// Hands an order to the session's worker. Without a stream it is lost, which is what the
    /// scheduler expects of a broken stream.
    ///
    /// # Errors
    ///
    /// If too many orders wait already; the stream is closed.
    pub(super) fn send(&mut self, session: SessionId, order: Order) -> Result<(), StreamStuck> {
        let Some(stream) = self.open.get_mut(&session) else { return Ok(()) };
        if let Order::Release { job } = &order {
            stream.jobs.remove(job);
        }
        let last = matches!(order, Order::Close { .. });
        let sent = stream.orders.try_send(order);
        let stuck = matches!(sent, Err(TrySendError::Full(_)));
        // A stream whose other end is gone stays until its reader says so: then it is broken.
        if last || stuck {
            self.open.remove(&session);
        }
        if stuck { Err(StreamStuck) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::CloseReason;

    const JOB: JobId = JobId(7);

    #[test]
    fn workers_keep_their_names() {
        let mut streams = Streams::with_workers(HashMap::from([("a".to_owned(), WorkerId(1))]));
        let names = ["a", "b", "a", "c", "b"].map(|key| streams.worker(key));
        let names = names.map(|(worker, is_new)| (worker.to_string(), is_new));
        let expect = [("w-1", false), ("w-2", true), ("w-1", false), ("w-3", true), ("w-2", false)];
        assert_eq!(names, expect.map(|(name, is_new)| (name.to_owned(), is_new)));
    }

    #[test]
    fn jobs_are_opened_once_for_each_stream() {
        let mut streams = Streams::default();
        let session = streams.next_session();
        assert!(!streams.must_open(session, JOB), "there is no stream");
        let (orders, _inbox) = mpsc::channel(8);
        let first = streams.open(session, orders.clone());
        assert_eq!([streams.must_open(session, JOB), streams.must_open(session, JOB)], [true, false]);
        streams.send(session, Order::Release { job: JOB }).expect("room");
        assert!(streams.must_open(session, JOB), "released");
        let second = streams.open(session, orders);
        assert!(streams.must_open(session, JOB), "another stream");
        assert_eq!([streams.end(session, first), streams.end(session, second)], [false, true]);
    }

    #[test]
    fn a_stuck_stream_is_closed_and_said_to_be_stuck_once() {
        let mut streams = Streams::default();
        let session = streams.next_session();
        let (orders, mut inbox) = mpsc::channel(1);
        streams.open(session, orders);
        let order = Order::Release { job: JOB };
        let sent = [(); 3].map(|()| streams.send(session, order.clone()));
        assert_eq!(sent, [Ok(()), Err(StreamStuck), Ok(())]);
        assert_eq!(inbox.try_recv(), Ok(order));
        assert!(inbox.is_closed());
    }

    #[test]
    fn nothing_follows_the_close() {
        let mut streams = Streams::default();
        let session = streams.next_session();
        let (orders, mut inbox) = mpsc::channel(8);
        streams.open(session, orders);
        let close = Order::Close { reason: CloseReason::Lost };
        streams.send(session, close.clone()).expect("room");
        streams.send(session, Order::Release { job: JOB }).expect("no stream");
        assert_eq!(inbox.try_recv(), Ok(close));
        assert!(inbox.try_recv().is_err());
    }
}
