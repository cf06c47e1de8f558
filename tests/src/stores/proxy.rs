//! A proxy in front of an S3 server that does to some requests what stores and networks do now and
//! then: which and what is decided from a seed, or by the test. It understands HTTP/1.1 and nothing of
//! S3 but how it says no.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufReader, Read as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::message::{Answer, Request, RequestHead, exchange, read_request};
use crate::random::Random;

/// How long a stalled request is held unless its client gives up before.
const STALL: Duration = Duration::from_secs(60);

/// How often a connection without traffic looks whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The most requests whose heads are kept.
const MAX_KEPT: usize = 100_000;

/// What may happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Answered 500 and not carried out.
    InternalError,
    /// Answered 503 `SlowDown` and not carried out.
    SlowDown,
    /// Answered 409 and not carried out, as a conditional write that meets another.
    Conflict,
    /// Answered with this status and not carried out.
    Status(u16),
    /// Not answered for a minute, then closed; not carried out.
    Stall,
    /// Carried out; half of the answer's body is sent, then the connection is closed.
    Truncate,
    /// Carried out; the connection is closed without an answer.
    LoseReply,
    /// Closed at once; not carried out.
    Reset,
}

/// How many of a thousand requests suffer what. Which ones, a seed decides, as far as their order is the
/// same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// [`Fault::InternalError`].
    pub internal_error: u64,
    /// [`Fault::SlowDown`].
    pub slow_down: u64,
    /// [`Fault::Conflict`], of conditional writes only.
    pub conflict: u64,
    /// [`Fault::Stall`].
    pub stall: u64,
    /// [`Fault::Truncate`], of reads only.
    pub truncate: u64,
    /// [`Fault::LoseReply`], of writes only.
    pub lose_reply: u64,
    /// [`Fault::Reset`].
    pub reset: u64,
}

impl Rates {
    /// What happens to one request.
    pub fn pick(&self, random: &mut Random, head: &RequestHead) -> Option<Fault> {
        let is_conditional = is_conditional(head);
        let rows = [
            (self.internal_error, Fault::InternalError, true),
            (self.slow_down, Fault::SlowDown, true),
            (self.conflict, Fault::Conflict, head.is_write() && is_conditional),
            (self.stall, Fault::Stall, true),
            (self.truncate, Fault::Truncate, head.method == "GET"),
            (self.lose_reply, Fault::LoseReply, head.is_write()),
            (self.reset, Fault::Reset, true),
        ];
        let mut left = random.within(0, 1000);
        for (rate, fault, applies) in rows {
            if left < rate {
                return applies.then_some(fault);
            }
            left -= rate;
        }
        None
    }
}

/// Whether a request is to be carried out only if an object is there, is not, or is as it was.
fn is_conditional(head: &RequestHead) -> bool {
    head.header("if-none-match").is_some() || head.header("if-match").is_some()
}

/// What a proxy has seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Requests.
    pub requests: u64,
    /// Bytes of answers' bodies passed on.
    pub body_bytes: u64,
    /// Faults by kind.
    pub faults: BTreeMap<Fault, u64>,
}

impl Counters {
    /// Faults of all kinds.
    pub fn all_faults(&self) -> u64 {
        self.faults.values().sum()
    }
}

type Decide = Box<dyn FnMut(&RequestHead) -> Option<Fault> + Send>;

/// A proxy to one server. Ends with all its connections when it is dropped.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    upstream: SocketAddr,
    decide: Mutex<Decide>,
    seen: Mutex<(Counters, Vec<RequestHead>)>,
    /// Held while a write on condition is carried out, if those go one at a time.
    one_at_a_time: Option<Mutex<()>>,
    over: AtomicBool,
}

impl FaultProxy {
    /// A proxy to `upstream` (`http://127.0.0.1:9000`) that passes everything on.
    ///
    /// # Panics
    ///
    /// If that is no address, or no port is to be had.
    pub fn to(upstream: &str) -> Self {
        Self::start(upstream, None)
    }

    /// The same for a server that looks whether an object is there and then writes it: it is asked to
    /// carry out one write on condition at a time, as a store does that keeps what it says.
    ///
    /// # Panics
    ///
    /// As [`to`](Self::to).
    pub fn keeping_conditions(upstream: &str) -> Self {
        Self::start(upstream, Some(Mutex::default()))
    }

    fn start(upstream: &str, one_at_a_time: Option<Mutex<()>>) -> Self {
        let upstream = upstream.trim_start_matches("http://").parse().expect("an address on loopback");
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            upstream,
            decide: Mutex::new(Box::new(|_| None)),
            seen: Mutex::default(),
            one_at_a_time,
            over: AtomicBool::new(false),
        });
        let accepting = Some(thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        }));
        Self { address, shared, accepting }
    }

    /// Where it listens, as an endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, requests suffer at these rates.
    pub fn at_rates(&self, seed: u64, rates: Rates) {
        let mut random = Random::new(seed);
        self.deciding(move |head| rates.pick(&mut random, head));
    }

    /// From now on, `decide` tells what happens to each request. It may also only watch.
    pub fn deciding(&self, decide: impl FnMut(&RequestHead) -> Option<Fault> + Send + 'static) {
        *lock(&self.shared.decide) = Box::new(decide);
    }

    /// From now on, everything is passed on.
    pub fn passing(&self) {
        self.deciding(|_| None);
    }

    /// What it has seen.
    pub fn counters(&self) -> Counters {
        lock(&self.shared.seen).0.clone()
    }

    /// The requests so far, in the order in which they came, as many as are kept.
    pub fn requests(&self) -> Vec<RequestHead> {
        lock(&self.shared.seen).1.clone()
    }
}

impl fmt::Debug for FaultProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultProxy").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts; if it has ended already there is nobody to wake.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            accepting.join().expect("the accepting thread does not panic");
        }
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn fault_of(&self, head: &RequestHead) -> Option<Fault> {
        let fault = (lock(&self.decide))(head);
        let mut seen = lock(&self.seen);
        seen.0.requests += 1;
        if seen.1.len() < MAX_KEPT {
            seen.1.push(head.clone());
        }
        if let Some(fault) = fault {
            *seen.0.faults.entry(fault).or_default() += 1;
        }
        fault
    }

    /// Has the server carry a request out.
    fn pass_on(&self, request: &Request) -> io::Result<Answer> {
        let is_conditional = request.head.is_write() && is_conditional(&request.head);
        let _alone = self.one_at_a_time.as_ref().filter(|_| is_conditional).map(lock);
        exchange(TcpStream::connect(self.upstream)?, request)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Accepts until it is over, then waits for the connections to end.
fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    thread::scope(|scope| {
        for near in listener.incoming().map_while(Result::ok) {
            if shared.is_over() {
                break;
            }
            scope.spawn(move || {
                // A connection that breaks is closed, which is all that its client would learn anyway.
                let _ = serve(&near, shared);
                let _ = near.shutdown(Shutdown::Both);
            });
        }
    });
}

/// Serves the requests of one connection until one of its faults closes it.
fn serve(near: &TcpStream, shared: &Shared) -> io::Result<()> {
    near.set_nodelay(true)?;
    let mut from = BufReader::new(near.try_clone()?);
    loop {
        if !wait_for_bytes(near, &from, shared)? {
            return Ok(());
        }
        let Some(request) = read_request(&mut from)? else { return Ok(()) };
        let is_head = request.head.method == "HEAD";
        let refusal = match shared.fault_of(&request.head) {
            None => None,
            Some(Fault::InternalError) => Some(Answer::refusal("500 Internal Server Error", "InternalError")),
            Some(Fault::SlowDown) => Some(Answer::refusal("503 Service Unavailable", "SlowDown")),
            Some(Fault::Conflict) => Some(Answer::refusal("409 Conflict", "ConditionalRequestConflict")),
            Some(Fault::Status(status)) => Some(Answer::refusal(&format!("{status} Planted"), "Planted")),
            Some(Fault::Stall) => return stall(near, shared),
            Some(Fault::Reset) => return Ok(()),
            Some(Fault::Truncate) => {
                let answer = shared.pass_on(&request)?;
                return answer.write(&mut &*near, is_head, answer.body.len() / 2);
            }
            Some(Fault::LoseReply) => {
                shared.pass_on(&request)?;
                return Ok(());
            }
        };
        let answer = match refusal {
            Some(answer) => answer,
            None => shared.pass_on(&request)?,
        };
        lock(&shared.seen).0.body_bytes += answer.body.len() as u64;
        answer.write(&mut &*near, is_head, usize::MAX)?;
    }
}

/// Waits for the next request; `false` if there will be none.
fn wait_for_bytes(near: &TcpStream, buffered: &BufReader<TcpStream>, shared: &Shared) -> io::Result<bool> {
    if !buffered.buffer().is_empty() {
        return Ok(true);
    }
    near.set_read_timeout(Some(LOOK_EVERY))?;
    let mut byte = [0];
    let is_there = loop {
        match near.peek(&mut byte) {
            _ if shared.is_over() => break false,
            Ok(read) => break read > 0,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    };
    near.set_read_timeout(None)?;
    Ok(is_there)
}

/// Says nothing until the client gives up or it has been long enough.
fn stall(near: &TcpStream, shared: &Shared) -> io::Result<()> {
    near.set_read_timeout(Some(LOOK_EVERY))?;
    let mut left = STALL;
    let mut ignored = [0; 1024];
    while !shared.is_over() && !left.is_zero() {
        match (&*near).read(&mut ignored) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                left = left.saturating_sub(LOOK_EVERY);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// A server that answers every request with its target, chunked if that says so.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut from = BufReader::new(stream.try_clone().expect("a socket"));
                let Ok(Some(request)) = read_request(&mut from) else { continue };
                let target = request.head.target;
                let text = match target.contains("chunked") {
                    true => format!(
                        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n/ch\r\n{:x}\r\n{}\r\n0\r\n\r\n",
                        target.len() - 3,
                        &target[3..]
                    ),
                    false => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{target}", target.len()),
                };
                stream.write_all(text.as_bytes()).expect("the proxy reads");
            }
        });
        address
    }

    /// Sends requests on one connection and gives all that comes back.
    fn ask(proxy: &FaultProxy, requests: &str) -> String {
        let mut stream = TcpStream::connect(proxy.address).expect("the proxy listens");
        stream.write_all(requests.as_bytes()).expect("the proxy reads");
        stream.shutdown(Shutdown::Write).expect("a socket");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        answer
    }

    #[test]
    fn requests_suffer_what_is_decided_and_nothing_else() {
        let proxy = FaultProxy::to(&format!("http://{}", echo()));
        let ok = |target: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{target}", target.len());
        let get = |target: &str| format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n");
        assert_eq!(ask(&proxy, &[get("/a"), get("/chunked")].concat()), [ok("/a"), ok("/chunked")].concat());

        proxy.deciding(|head| match head.target.as_str() {
            "/slow" => Some(Fault::SlowDown),
            "/cut" => Some(Fault::Truncate),
            "/lost" => Some(Fault::LoseReply),
            _ => None,
        });
        assert!(ask(&proxy, &get("/slow")).starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
        assert_eq!(ask(&proxy, &get("/cut")), "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n/c");
        assert_eq!(ask(&proxy, &[get("/lost"), get("/b")].concat()), "");
        assert_eq!(ask(&proxy, "PUT /put HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc"), ok("/put"));
        let counters = proxy.counters();
        assert_eq!((counters.requests, counters.all_faults(), counters.faults[&Fault::Truncate]), (6, 3, 1));
        assert_eq!(proxy.requests()[5].method, "PUT");
    }

    #[test]
    fn rates_are_kept_and_only_what_can_happen_does() {
        let rates = Rates { internal_error: 100, truncate: 100, lose_reply: 100, ..Rates::default() };
        let mut random = Random::new(7);
        let head = |method: &str| RequestHead { method: method.to_owned(), ..RequestHead::default() };
        let mut seen = BTreeMap::new();
        for method in ["GET", "PUT"] {
            for _ in 0..10_000 {
                *seen.entry((method, rates.pick(&mut random, &head(method)))).or_insert(0) += 1;
            }
        }
        let about = |method, fault| (800..1200).contains(&seen[&(method, Some(fault))]);
        assert!(about("GET", Fault::InternalError) && about("PUT", Fault::InternalError), "{seen:?}");
        assert!(about("GET", Fault::Truncate) && about("PUT", Fault::LoseReply), "{seen:?}");
        assert_eq!(seen.len(), 6);
    }
}
