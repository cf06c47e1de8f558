//! The service `Control`: one stream per worker. Reads the worker's messages, writes the driver's
//! orders, and tells the driver when the stream ends.

use std::time::Duration;

use gristmill_common::ids::{MasterEpoch, SessionId};
use gristmill_common::task::Offer;
use gristmill_common::wire::v1::master_message::Body as ToWorker;
use gristmill_common::wire::v1::worker_message::Body as FromWorker;
use gristmill_common::wire::{WIRE_VERSION, WireError, required, v1};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, warn};

use super::{convert, refusal};
use crate::runtime::{Hello, MAX_WAITING_ORDERS, MasterHandle, Order, Welcome};
use crate::scheduler::{CloseReason, WorkerReport};

/// How often workers say that they live. More often costs messages; less often needs a longer lease.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long a new stream may take to say whose it is.
const FIRST_MESSAGE_PATIENCE: Duration = Duration::from_secs(10);

/// How long the reports of a worker are still read after its session was closed, so that what was
/// under way is refused and counted, not just dropped.
const LINGER: Duration = Duration::from_secs(30);

/// Messages between this service and the connection: the queue of orders is elsewhere.
const MAX_WAITING_MESSAGES: usize = 16;

/// The most slots of one worker, and the longest text it may say of itself: whatever is beyond is
/// not a worker.
const MAX_SLOTS: u32 = 4096;
const MAX_TEXT_BYTES: usize = 4096;

/// Serves workers.
#[derive(Debug)]
pub(super) struct ControlService {
    master: MasterHandle,
    lease: Duration,
}

impl ControlService {
    /// A service that asks `master`; `lease` is what workers are told of their lease.
    pub(super) fn new(master: MasterHandle, lease: Duration) -> Self {
        Self { master, lease }
    }
}

type Outbound = mpsc::Sender<Result<v1::MasterMessage, Status>>;

#[tonic::async_trait]
impl v1::control_server::Control for ControlService {
    type SessionStream = ReceiverStream<Result<v1::MasterMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::WorkerMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (outbound, messages) = mpsc::channel(MAX_WAITING_MESSAGES);
        let stream = WorkerStream { master: self.master.clone(), lease: self.lease, inbound: request.into_inner() };
        // The task ends with its stream: both ends of the connection and the driver can end it.
        tokio::spawn(stream.serve(outbound));
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

/// One stream of one worker.
struct WorkerStream {
    master: MasterHandle,
    lease: Duration,
    inbound: Streaming<v1::WorkerMessage>,
}

/// Why a stream does not begin.
enum Refused {
    /// The worker is told what to do instead.
    Close(v1::CloseSession),
    /// It is no worker of ours.
    Status(Status),
}

impl WorkerStream {
    async fn serve(mut self, outbound: Outbound) {
        let epoch = self.master.epoch();
        // Whoever opened the stream may have gone: then all that is sent is lost, and may be.
        let (welcome, orders) = match self.begin().await {
            Ok(begun) => begun,
            Err(Refused::Close(close)) => {
                let _gone = outbound.send(Ok(envelope(epoch, SessionId(0), ToWorker::Close(close)))).await;
                return;
            }
            Err(Refused::Status(status)) => {
                let _gone = outbound.send(Err(status)).await;
                return;
            }
        };
        let (session, lease, master) = (welcome.session, self.lease, self.master.clone());
        let read = tokio::select! {
            read = self.read_reports() => Some(read),
            () = write_orders(epoch, lease, welcome, orders, outbound.clone()) => None,
            () = master.gone() => return,
        };
        match read {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                warn!(%session, %error, "report not understood");
                let close = convert::incompatible(format!("cannot understand a report: {error}"));
                let _gone = outbound.send(Ok(envelope(epoch, session, ToWorker::Close(close)))).await;
            }
            None => {
                // The session is over. Its worker sees the end of the stream at once.
                drop(outbound);
                tokio::select! {
                    _over = timeout(LINGER, self.read_reports()) => {}
                    () = master.gone() => return,
                }
            }
        }
        debug!(%session, "stream ended");
        let _gone = master.stream_ended(session, welcome.stream).await;
    }

    /// Finds out whose stream it is.
    async fn begin(&mut self) -> Result<(Welcome, mpsc::Receiver<Order>), Refused> {
        let silent = |_| Status::deadline_exceeded("nobody said whose stream this is");
        let first = timeout(FIRST_MESSAGE_PATIENCE, self.inbound.message()).await.map_err(silent)??;
        let first = first.ok_or_else(|| Status::cancelled("the stream ended before it began"))?;
        let (sender, orders) = mpsc::channel(MAX_WAITING_ORDERS);
        match first.body {
            Some(FromWorker::Register(register)) => {
                let hello = hello(register).map_err(|message| {
                    warn!(reason = message, "worker refused");
                    Refused::Close(convert::incompatible(message))
                })?;
                let welcome = self.master.register(hello, sender).await.map_err(refusal::of_gone)?;
                Ok((welcome, orders))
            }
            Some(FromWorker::Resume(_)) => {
                let (epoch, session) = (MasterEpoch(first.epoch), SessionId(first.session));
                let answer = self.master.resume(epoch, session, sender).await.map_err(refusal::of_gone)?;
                let welcome = answer.map_err(|reason: CloseReason| Refused::Close(convert::close(reason)))?;
                Ok((welcome, orders))
            }
            _ => Err(Status::invalid_argument("the first message of a stream must be Register or Resume").into()),
        }
    }

    /// Hands the worker's reports to the driver until its half of the stream ends.
    async fn read_reports(&mut self) -> Result<(), WireError> {
        // An error of the connection is an end like any other: the driver is told all the same.
        while let Ok(Some(message)) = self.inbound.message().await {
            let (epoch, session) = (MasterEpoch(message.epoch), SessionId(message.session));
            let report: WorkerReport = convert::report(required("WorkerMessage.body", message.body)?)?;
            if self.master.report(epoch, session, report).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Refused::Status(status)
    }
}

/// Welcomes the worker and passes orders on until the driver closes the session or the worker is
/// gone.
async fn write_orders(
    epoch: MasterEpoch,
    lease: Duration,
    welcome: Welcome,
    mut orders: mpsc::Receiver<Order>,
    outbound: Outbound,
) {
    let registered = v1::Registered {
        worker: welcome.worker.0,
        heartbeat_ms: millis(HEARTBEAT.min(lease / 5)),
        lease_ms: millis(lease),
    };
    let mut next = Some(ToWorker::Registered(registered));
    while let Some(body) = next {
        if outbound.send(Ok(envelope(epoch, welcome.session, body))).await.is_err() {
            // The connection is gone; the reader sees that too, and knows what to do about it.
            return std::future::pending().await;
        }
        next = orders.recv().await.map(|order| convert::order(&order));
    }
}

/// Checks what a worker says of itself; the error says why it cannot be served.
fn hello(register: v1::Register) -> Result<Hello, String> {
    if register.wire_version != WIRE_VERSION {
        return Err(format!(
            "the worker is gristmill {} (wire version {}), the master is gristmill {} (wire version {WIRE_VERSION})",
            register.version,
            register.wire_version,
            env!("CARGO_PKG_VERSION")
        ));
    }
    if !(1..=MAX_SLOTS).contains(&register.slots) {
        return Err(format!("a worker has 1 to {MAX_SLOTS} slots, not {}", register.slots));
    }
    if register.worker_key.is_empty() {
        return Err("a worker must have a key".to_owned());
    }
    let texts = [&register.worker_key, &register.address, &register.machine, &register.scratch];
    if texts.iter().any(|text| text.len() > MAX_TEXT_BYTES) {
        return Err(format!("no text of a registration may have more than {MAX_TEXT_BYTES} bytes"));
    }
    let v1::Register {
        worker_key,
        slots,
        address,
        machine,
        scratch,
        offers,
        wire_version: _,
        version: _,
        binary_sha256: _,
    } = register;
    let offers: Result<Vec<Offer>, WireError> = offers.into_iter().map(TryInto::try_into).collect();
    let offers = offers.map_err(|error| format!("cannot understand what the worker offers: {error}"))?;
    Ok(Hello { worker_key, slots, address, machine, scratch, offers })
}

fn envelope(epoch: MasterEpoch, session: SessionId, body: ToWorker) -> v1::MasterMessage {
    v1::MasterMessage { epoch: epoch.0, session: session.0, body: Some(body) }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_that_cannot_be_served_are_told_why() {
        let good = v1::Register {
            worker_key: "key".into(),
            wire_version: WIRE_VERSION,
            version: "9.9.9".into(),
            slots: 2,
            ..v1::Register::default()
        };
        let check = |spoil: fn(&mut v1::Register), expect: &str| {
            let mut register = good.clone();
            spoil(&mut register);
            let error = hello(register).expect_err(expect);
            assert!(error.contains(expect), "{error}");
        };
        assert!(hello(good.clone()).is_ok());
        check(|register| register.wire_version = 99, "the worker is gristmill 9.9.9 (wire version 99), the master is");
        check(|register| register.slots = 0, "1 to 4096 slots, not 0");
        check(|register| register.slots = u32::MAX, "1 to 4096 slots");
        check(|register| register.worker_key.clear(), "must have a key");
        check(|register| register.scratch = "x".repeat(5000), "more than 4096 bytes");
    }
}
