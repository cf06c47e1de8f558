//! The link to the master: connects, registers or resumes, says that the worker lives, passes orders
//! in and reports out. Knows nothing of attempts.
//!
//! ```text
//! Unregistered --Registered--> in session --stream breaks--> reconnecting --Registered--> in session
//!      ^                           |                              |
//!      +---------------------------+-------- CloseSession <-------+
//! ```
//!
//! A registration offers what the desk has kept from earlier sessions. Masters of an epoch older than
//! the latest one seen are not listened to.

use std::ops::ControlFlow;
use std::time::Duration;

use gristmill_common::backoff::Backoff;
use gristmill_common::ids::{MasterEpoch, SessionId, WorkerId};
use gristmill_common::tls::{DialError, Dialer};
use gristmill_common::wire::v1;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::desk::{DeskEvent, ToLink};
use super::dial::{connect, open};
use super::report::{FromMaster, Session};
use super::unsent::Unsent;

/// The waits between tries to reach the master. The cap is below half of the time a broken stream
/// may take to resume.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(20), cap: Duration::from_millis(250) };

/// How long a leaving worker waits for its master to take note.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// The reason with which a master closes the session of a worker that leaves.
const LEFT: &str = "left";

/// Messages handed to the connection and not yet taken by it.
const MAX_UNSENT: usize = 16;

/// Heartbeats are never further apart nor closer together, whatever the master says.
const HEARTBEAT_BOUNDS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(60));

/// Why a worker cannot go on with its master.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The text is not a URL.
    #[error("the master's address {url:?} is not a URL such as http://127.0.0.1:7420")]
    Url {
        /// What was given.
        url: String,
    },
    /// Nothing was heard of a master for too long.
    #[error("no master answered at {url} for {waited:?}: {reason}")]
    Orphaned {
        /// Where it should be.
        url: String,
        /// How long.
        waited: Duration,
        /// The last failure.
        reason: String,
    },
    /// The master does not take this worker.
    #[error("the master at {url} refuses this worker: {message}")]
    Refused {
        /// Where it is.
        url: String,
        /// What it said.
        message: String,
    },
    /// One end does not take the other one's certificate.
    #[error("no connection to the master at {url}: {message}")]
    NotTrusted {
        /// Where it is.
        url: String,
        /// Why.
        message: String,
    },
    /// Another process registered with this worker's key.
    #[error("another process registered as this worker (is its folder a copy of another worker's?)")]
    Superseded,
}

/// Whether the master knows that the worker is gone for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goodbye {
    /// It took note, and counts on nothing that the worker has.
    Noted,
    /// Nobody was there, or nobody answered in time: what the worker has may still be wanted.
    Unheard,
}

/// Why one stream ended.
enum StreamEnd {
    Broken(String),
    Closed,
    Left(Goodbye),
}

/// A stream whose first answer was `Registered`.
struct Stream {
    outgoing: mpsc::Sender<v1::WorkerMessage>,
    incoming: Streaming<v1::MasterMessage>,
    heartbeat: Duration,
}

/// What came of one try to get a stream.
enum Attached {
    Stream(Box<Stream>),
    /// The session to resume is over.
    Closed,
}

/// The link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) url: String,
    pub(super) dialer: Dialer,
    pub(super) register: v1::Register,
    pub(super) orphan_timeout: Duration,
    pub(super) desk: mpsc::Sender<DeskEvent>,
    pub(super) from_desk: mpsc::Receiver<ToLink>,
    /// The epoch of the master in force, for the shuffle service.
    pub(super) epoch: watch::Sender<Option<MasterEpoch>>,
    /// Set when the worker is to leave.
    pub(super) leave: CancellationToken,
    pub(super) session: Option<Session>,
    pub(super) unsent: Unsent,
}

impl Link {
    /// Serves the master until the worker leaves, and tells whether the master took note.
    ///
    /// # Errors
    ///
    /// If there is no going on with this master.
    pub(super) async fn run(mut self) -> Result<Goodbye, LinkError> {
        let leave = self.leave.clone();
        loop {
            let attached = tokio::select! {
                attached = self.attach_in_time() => attached?,
                () = leave.cancelled() => return Ok(Goodbye::Unheard),
            };
            let end = match attached {
                Attached::Stream(stream) => self.serve(*stream).await?,
                Attached::Closed => StreamEnd::Closed,
            };
            match end {
                StreamEnd::Broken(reason) => tracing::warn!(session = %self.shown(), reason, "stream to master broken"),
                StreamEnd::Left(goodbye) => return Ok(goodbye),
                StreamEnd::Closed => {
                    self.session = None;
                    // What the new session has to know it asks for.
                    self.unsent.clear();
                }
            }
        }
    }

    /// Tries to get a stream until there is one.
    async fn attach_in_time(&mut self) -> Result<Attached, LinkError> {
        let waited = self.orphan_timeout;
        let mut reason = "it was not reached".to_owned();
        let attached = timeout(waited, async {
            let mut failures = 0;
            loop {
                match self.attach().await {
                    Ok(attached) => return Ok(attached),
                    Err(ControlFlow::Break(error)) => return Err(error),
                    Err(ControlFlow::Continue(failure)) => reason = failure,
                }
                if failures == 0 {
                    tracing::info!(url = self.url, reason, "master not reached, trying again");
                }
                let delay = BACKOFF.delay(failures, crate::random::random());
                failures = failures.saturating_add(1);
                self.wait(delay).await;
            }
        })
        .await;
        attached.unwrap_or_else(|_| Err(LinkError::Orphaned { url: self.url.clone(), waited, reason }))
    }

    /// Waits and keeps taking what the desk says meanwhile.
    async fn wait(&mut self, delay: Duration) {
        let _ = timeout(delay, async {
            while let Some(message) = self.from_desk.recv().await {
                self.take(message);
            }
            std::future::pending::<()>().await;
        })
        .await;
    }

    /// Opens a stream and says who this is. A failure that may pass is `Continue`.
    async fn attach(&mut self) -> Result<Attached, ControlFlow<LinkError, String>> {
        let again = |text: String| ControlFlow::Continue(text);
        let channel = connect(&self.dialer, &self.url).await.map_err(|error| self.not_connected(&error))?;
        let first = match self.session {
            Some(_) => v1::worker_message::Body::Resume(v1::Resume {}),
            None => v1::worker_message::Body::Register(self.registration().await),
        };
        let (outgoing, messages) = mpsc::channel(MAX_UNSENT);
        outgoing.try_send(self.envelope(first)).expect("a new channel has room");
        let (answer, incoming) = open(channel, messages).await.map_err(again)?;
        let session = Session { epoch: MasterEpoch(answer.epoch), id: SessionId(answer.session) };
        let latest = *self.epoch.borrow();
        if latest.is_some_and(|latest| session.epoch < latest) {
            return Err(again(format!("its epoch {} is over", session.epoch)));
        }
        let body = answer.body.ok_or_else(|| again("it answered without a meaning".to_owned()))?;
        match FromMaster::try_from(body).map_err(|error| again(error.to_string()))? {
            FromMaster::Registered(registered) => {
                self.enter(session, &registered).await.map_err(again)?;
                let heartbeat = Duration::from_millis(u64::from(registered.heartbeat_ms));
                let heartbeat = heartbeat.clamp(HEARTBEAT_BOUNDS.0, HEARTBEAT_BOUNDS.1);
                Ok(Attached::Stream(Box::new(Stream { outgoing, incoming, heartbeat })))
            }
            FromMaster::Close(close) if self.session.is_some() => {
                self.closed(&close).map_err(ControlFlow::Break)?;
                Ok(Attached::Closed)
            }
            FromMaster::Close(close) => {
                let message = close.message;
                Err(ControlFlow::Break(LinkError::Refused { url: self.url.clone(), message }))
            }
            FromMaster::Order(_) => Err(again("it sent an order before an answer".to_owned())),
        }
    }

    /// What it means that there is no connection. A refused certificate ends a worker that starts; one that
    /// has served goes on, since the certificate may be replaced.
    fn not_connected(&self, error: &DialError) -> ControlFlow<LinkError, String> {
        let served = self.epoch.borrow().is_some();
        match error {
            DialError::Url { .. } => ControlFlow::Break(LinkError::Url { url: self.url.clone() }),
            error if error.may_pass() || served => ControlFlow::Continue(error.to_string()),
            error => ControlFlow::Break(LinkError::NotTrusted { url: self.url.clone(), message: error.to_string() }),
        }
    }

    /// Who this is and what it has, as soon as the desk has ended the session before.
    async fn registration(&mut self) -> v1::Register {
        self.tell_desk(DeskEvent::OffersWanted).await;
        let offers = loop {
            match self.from_desk.recv().await {
                Some(ToLink::Offers(offers)) => break offers,
                Some(report @ ToLink::Report { .. }) => self.take(report),
                // Without a desk the worker is ending, and the link with it.
                None => std::future::pending().await,
            }
        };
        v1::Register { offers: offers.iter().map(Into::into).collect(), ..self.register.clone() }
    }

    /// Tells the desk something, and listens to it meanwhile: it may be waiting for the link.
    async fn tell_desk(&mut self, event: DeskEvent) {
        let desk = self.desk.clone();
        let mut room = std::pin::pin!(desk.reserve());
        loop {
            tokio::select! {
                room = &mut room => {
                    // A desk that is gone ends the worker.
                    return room.map_or((), |room| room.send(event));
                }
                Some(message) = self.from_desk.recv() => self.take(message),
            }
        }
    }

    /// Takes note of the session that the master named.
    async fn enter(&mut self, session: Session, registered: &v1::Registered) -> Result<(), String> {
        match self.session {
            Some(old) if old == session => tracing::info!(session = %session.id, "session resumed"),
            Some(old) => return Err(format!("it resumed {} and not {}", session.id, old.id)),
            None => {
                let worker = WorkerId(registered.worker);
                tracing::info!(%worker, session = %session.id, epoch = %session.epoch, "registered with master");
                self.session = Some(session);
                self.epoch.send_replace(Some(session.epoch));
                self.tell_desk(DeskEvent::SessionOpened(session)).await;
            }
        }
        Ok(())
    }

    /// Serves one stream to its end.
    async fn serve(&mut self, stream: Stream) -> Result<StreamEnd, LinkError> {
        let Stream { outgoing, mut incoming, heartbeat } = stream;
        let mut heartbeat = interval(heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (leave, desk) = (self.leave.clone(), self.desk.clone());
        let mut alive = false;
        loop {
            // Reports and heartbeats before orders: a worker that slept past its lease says what it
            // has to say under the old session, and is refused, before it reads that it is over.
            tokio::select! {
                biased;
                _ = heartbeat.tick() => alive = true,
                permit = outgoing.reserve(), if alive || !self.unsent.is_empty() => {
                    let Ok(permit) = permit else { return Ok(StreamEnd::Broken("it takes no messages".to_owned())) };
                    let heartbeat = v1::worker_message::Body::Heartbeat(v1::Heartbeat {});
                    let report = if alive { None } else { self.unsent.pop() };
                    alive = false;
                    permit.send(self.envelope(report.map_or(heartbeat, |report| report.to_wire())));
                }
                Some(message) = self.from_desk.recv() => self.take(message),
                () = leave.cancelled() => {
                    return Ok(StreamEnd::Left(self.say_goodbye(&outgoing, incoming).await));
                }
                // An order is read only when there is room for it on the desk: the link never waits
                // for the desk, which waits for the link.
                (room, message) = next_order(&desk, &mut incoming) => {
                    let message = match message {
                        Ok(Some(message)) => message,
                        Ok(None) => return Ok(StreamEnd::Broken("the master ended it".to_owned())),
                        Err(status) => return Ok(StreamEnd::Broken(status.message().to_owned())),
                    };
                    match self.meaning(message) {
                        None | Some(FromMaster::Registered(_)) => {}
                        Some(FromMaster::Order(order)) => room.send(DeskEvent::Order(order)),
                        Some(FromMaster::Close(close)) => {
                            self.closed(&close)?;
                            return Ok(StreamEnd::Closed);
                        }
                    }
                }
            }
        }
    }

    /// The message, if it belongs to the session in force and means something.
    fn meaning(&self, message: v1::MasterMessage) -> Option<FromMaster> {
        let session = Session { epoch: MasterEpoch(message.epoch), id: SessionId(message.session) };
        if self.session != Some(session) {
            tracing::warn!(session = %session.id, epoch = %session.epoch, "stale message of a master refused");
            return None;
        }
        let meaning = message.body.map(FromMaster::try_from);
        match meaning {
            Some(Ok(message)) => Some(message),
            Some(Err(error)) => {
                tracing::warn!(%error, "message of the master has no meaning");
                None
            }
            // A kind of message that this build does not know.
            None => None,
        }
    }

    fn take(&mut self, message: ToLink) {
        match message {
            ToLink::Report { session, report } if self.session == Some(session) => self.unsent.push(report),
            // Of a session that is over meanwhile; and offers are only given when they are waited for.
            ToLink::Report { .. } | ToLink::Offers(_) => {}
        }
    }

    /// Judges the end of the session.
    fn closed(&self, close: &v1::CloseSession) -> Result<(), LinkError> {
        tracing::warn!(session = %self.shown(), reason = close.reason, said = close.message, "session closed by master");
        match close.reason.as_str() {
            "superseded" => Err(LinkError::Superseded),
            "incompatible" => Err(LinkError::Refused { url: self.url.clone(), message: close.message.clone() }),
            _ => Ok(()),
        }
    }

    /// Tells the master that the worker leaves, and waits a moment for it to take note.
    async fn say_goodbye(
        &self,
        outgoing: &mpsc::Sender<v1::WorkerMessage>,
        mut incoming: Streaming<v1::MasterMessage>,
    ) -> Goodbye {
        let goodbye = async {
            let leave = self.envelope(v1::worker_message::Body::Leave(v1::Leave {}));
            if outgoing.send(leave).await.is_ok() {
                while let Ok(Some(message)) = incoming.message().await {
                    if let Some(FromMaster::Close(close)) = self.meaning(message) {
                        return if close.reason == LEFT { Goodbye::Noted } else { Goodbye::Unheard };
                    }
                }
            }
            Goodbye::Unheard
        };
        let goodbye = timeout(LEAVE_TIMEOUT, goodbye).await.unwrap_or(Goodbye::Unheard);
        if goodbye == Goodbye::Unheard {
            tracing::warn!("master took no note of the worker's leaving");
        }
        goodbye
    }

    fn envelope(&self, body: v1::worker_message::Body) -> v1::WorkerMessage {
        let (epoch, session) = self.session.map_or((0, 0), |session| (session.epoch.0, session.id.0));
        v1::WorkerMessage { epoch, session, body: Some(body) }
    }

    fn shown(&self) -> String {
        self.session.map_or_else(|| "none".to_owned(), |session| session.id.to_string())
    }
}

/// Room on the desk, and then the next message of the master. Safe to cancel.
async fn next_order<'a>(
    desk: &'a mpsc::Sender<DeskEvent>,
    incoming: &mut Streaming<v1::MasterMessage>,
) -> (mpsc::Permit<'a, DeskEvent>, Result<Option<v1::MasterMessage>, tonic::Status>) {
    match desk.reserve().await {
        Ok(room) => (room, incoming.message().await),
        // Without a desk the worker is ending, and the link with it.
        Err(_) => std::future::pending().await,
    }
}
