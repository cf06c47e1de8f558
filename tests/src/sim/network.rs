//! Streams between workers and the master. A stream delays its messages, may repeat and reorder
//! them, and loses some of those under way when it breaks; nothing else loses messages, as with TCP.

use std::collections::BTreeMap;
use std::time::Duration;

use gristmill_common::ids::{JobAttempt, JobId, MasterEpoch, SessionId};
use gristmill_common::task::Offer;
use gristmill_common::time::Timestamp;
use gristmill_master::scheduler::{AttemptWork, WorkerReport};

use super::options::SimOptions;
use crate::random::Random;

/// One connection; never used again once broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamId(pub(super) u64);

/// What workers say.
#[derive(Debug, Clone)]
pub(super) enum ToMaster {
    /// First message of a worker without a session, with what it has of earlier ones.
    Register(Vec<Offer>),
    /// First message of a worker with one.
    Resume(MasterEpoch, SessionId),
    /// A report under an epoch and a session.
    Report(MasterEpoch, SessionId, WorkerReport),
}

/// What the master says.
#[derive(Debug, Clone)]
pub(super) enum ToWorker {
    /// The answer to `Register`.
    Registered,
    /// Run an attempt.
    Start(JobAttempt, AttemptWork),
    /// Stop an attempt.
    Cancel(JobAttempt),
    /// Throw an attempt's output away.
    Discard(JobAttempt),
    /// Drop all of a job.
    Release(JobId),
    /// The session is over.
    Close,
}

#[derive(Debug)]
struct Stream {
    worker: usize,
    open: bool,
    session: Option<SessionId>,
    last_to_master: Timestamp,
    last_to_worker: Timestamp,
}

/// All streams there ever were.
#[derive(Debug)]
pub(super) struct Network {
    streams: Vec<Stream>,
    /// The stream opened last for each session.
    current: BTreeMap<SessionId, StreamId>,
    longest: u64,
    ordered: bool,
    repeats: u64,
}

impl Network {
    /// A network without streams.
    pub(super) fn new(options: &SimOptions) -> Self {
        let longest = options.delay_ms * 1000;
        Self {
            streams: Vec::new(),
            current: BTreeMap::new(),
            longest,
            ordered: options.ordered,
            repeats: options.repeats,
        }
    }

    /// Opens a stream.
    pub(super) fn open(&mut self, worker: usize, now: Timestamp) -> StreamId {
        self.streams.push(Stream { worker, open: true, session: None, last_to_master: now, last_to_worker: now });
        StreamId(self.streams.len() as u64 - 1)
    }

    /// Breaks a stream; false if it was broken before.
    pub(super) fn break_stream(&mut self, id: StreamId) -> bool {
        std::mem::replace(&mut self.stream(id).open, false)
    }

    /// The streams that are whole.
    pub(super) fn open_streams(&self) -> Vec<StreamId> {
        let open = (0..).zip(&self.streams).filter(|(_, stream)| stream.open);
        open.map(|(id, _)| StreamId(id)).collect()
    }

    /// Forgets which stream belongs to which session: the master that knew is gone.
    pub(super) fn forget_sessions(&mut self) {
        self.current.clear();
        self.streams.iter_mut().for_each(|stream| stream.session = None);
    }

    /// Whether the stream is whole.
    pub(super) fn is_open(&self, id: StreamId) -> bool {
        self.streams[id.0 as usize].open
    }

    /// The worker at the other end.
    pub(super) fn worker(&self, id: StreamId) -> usize {
        self.streams[id.0 as usize].worker
    }

    /// Makes this the stream of a session.
    pub(super) fn bind(&mut self, id: StreamId, session: SessionId) {
        self.stream(id).session = Some(session);
        self.current.insert(session, id);
    }

    /// The stream over which the master reaches a session.
    pub(super) fn of_session(&self, session: SessionId) -> Option<StreamId> {
        self.current.get(&session).copied()
    }

    /// The session whose stream this is, if no later one is.
    pub(super) fn session(&self, id: StreamId) -> Option<SessionId> {
        self.streams[id.0 as usize].session.filter(|session| self.of_session(*session) == Some(id))
    }

    /// When a message sent now arrives: once, or twice.
    pub(super) fn arrivals(
        &mut self,
        id: StreamId,
        to_master: bool,
        repeatable: bool,
        now: Timestamp,
        random: &mut Random,
    ) -> Vec<Timestamp> {
        let (longest, ordered, repeats) = (self.longest, self.ordered, self.repeats);
        let mut delay = || Duration::from_micros(random.within(longest / 4, longest + 1));
        let mut first = now + delay();
        let second = now + delay() * 2;
        let stream = self.stream(id);
        let last = if to_master { &mut stream.last_to_master } else { &mut stream.last_to_worker };
        if ordered {
            first = first.max(*last);
        }
        *last = first;
        if repeatable && random.chance(repeats) { vec![first, second.max(first)] } else { vec![first] }
    }

    fn stream(&mut self, id: StreamId) -> &mut Stream {
        &mut self.streams[id.0 as usize]
    }
}
