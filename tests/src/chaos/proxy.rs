//! A network link that misbehaves: a TCP proxy on loopback. It knows nothing of what it carries.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

/// Most bytes passed on at a time.
const CHUNK: usize = 16 << 10;

/// How often a link without traffic looks at its weather.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weather {
    /// It passes everything on.
    Clear,
    /// It holds each chunk for so long.
    Late(Duration),
    /// It passes nothing on, and says so to nobody.
    Stalled,
    /// It resets the next connection that carries something; then it is clear.
    ResetNext,
    /// It closes the next connection that carries something after half of that; then it is clear.
    TruncateNext,
    /// It flips a bit of the next chunk, this byte modulo the chunk's length; then it is clear.
    FlipNext(u64),
}

/// A link to one address. Ends with all its connections when it is dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    weather: Mutex<Weather>,
    over: AtomicBool,
}

impl Proxy {
    /// Listens on a free port of loopback and passes each connection on to `upstream`, which need not
    /// listen yet.
    ///
    /// # Panics
    ///
    /// If no port is to be had.
    pub(super) fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared { upstream, weather: Mutex::new(Weather::Clear), over: AtomicBool::new(false) });
        let accepting = Some(thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        }));
        Self { address, shared, accepting }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the weather, for connections that exist too.
    pub(super) fn set(&self, weather: Weather) {
        *self.shared.weather() = weather;
    }
}

impl Drop for Proxy {
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
    fn weather(&self) -> MutexGuard<'_, Weather> {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// What happens to a chunk that is there now. What happens once, happens to the caller alone.
    fn next(&self) -> Weather {
        let mut weather = self.weather();
        let now = *weather;
        if matches!(now, Weather::ResetNext | Weather::TruncateNext | Weather::FlipNext(_)) {
            *weather = Weather::Clear;
        }
        now
    }
}

/// Accepts until it is over, then waits for the connections to end.
fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    thread::scope(|scope| {
        for near in listener.incoming().map_while(Result::ok) {
            if shared.is_over() {
                break;
            }
            scope.spawn(move || {
                // A refused connection becomes a closed one, as with any proxy.
                if let Ok(far) = TcpStream::connect(shared.upstream) {
                    thread::scope(|both| {
                        both.spawn(|| pump(&near, &far, shared));
                        pump(&far, &near, shared);
                    });
                }
            });
        }
    });
}

/// Passes bytes on until either side ends, which ends both.
fn pump(from: &TcpStream, to: &TcpStream, shared: &Shared) {
    // Both are fresh sockets; were the first to fail, reads would only notice the end later.
    let _ = from.set_read_timeout(Some(LOOK_EVERY));
    let _ = to.set_nodelay(true);
    let mut chunk = vec![0; CHUNK];
    while !shared.is_over() {
        if *shared.weather() == Weather::Stalled {
            thread::park_timeout(LOOK_EVERY);
            continue;
        }
        let (mut source, mut sink) = (from, to);
        let read = match source.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => break,
        };
        let (pass, end) = affect(&mut chunk[..read], shared, (from, to));
        if sink.write_all(&chunk[..pass]).is_err() || end {
            break;
        }
    }
    // One that is closed already is what is wanted.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Does to a chunk what the weather says: how much of it is passed on, and whether that is the end.
fn affect(chunk: &mut [u8], shared: &Shared, ends: (&TcpStream, &TcpStream)) -> (usize, bool) {
    match shared.next() {
        Weather::Clear | Weather::Stalled => (chunk.len(), false),
        Weather::Late(by) => {
            thread::park_timeout(by);
            (chunk.len(), false)
        }
        Weather::ResetNext => {
            for end in [ends.0, ends.1] {
                // Without lingering, closing is a reset. Where it cannot be set it is a plain close.
                let _ = set_socket_linger(end, Some(Duration::ZERO));
            }
            (0, true)
        }
        Weather::TruncateNext => (chunk.len() / 2, true),
        Weather::FlipNext(at) => {
            let at = usize::try_from(at % chunk.len() as u64).expect("less than a chunk");
            chunk[at] ^= 1 << (at % 8);
            (chunk.len(), false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An echo behind a link, and one exchange over it: what came back.
    fn exchange(weather: Weather, sent: &[u8]) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let proxy = Proxy::to(listener.local_addr().expect("an address"));
        proxy.set(weather);
        let echo = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut buffer = vec![0; CHUNK];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                stream.write_all(&buffer[..read]).ok();
            }
        });
        let mut client = TcpStream::connect(proxy.address()).expect("the proxy listens");
        client.write_all(sent).expect("there is room for a few bytes");
        let mut back = Vec::new();
        let mut buffer = [0; 64];
        while back.len() < sent.len() {
            let Ok(read @ 1..) = client.read(&mut buffer) else { break };
            back.extend_from_slice(&buffer[..read]);
        }
        drop(client);
        echo.join().expect("the echo ends");
        back
    }

    #[test]
    fn links_pass_on_delay_flip_truncate_and_reset() {
        let sent = b"twelve bytes";
        assert_eq!(exchange(Weather::Clear, sent), sent);
        assert_eq!(exchange(Weather::Late(Duration::from_millis(5)), sent), sent);
        // The half that was passed on may be back before the connection is cut.
        assert!(sent[..sent.len() / 2].starts_with(&exchange(Weather::TruncateNext, sent)));
        assert_eq!(exchange(Weather::ResetNext, sent), b"");
        let flipped = exchange(Weather::FlipNext(27), sent);
        let bits: u32 = flipped.iter().zip(sent).map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!((flipped.len(), bits), (sent.len(), 1));
        assert_ne!(flipped[3], sent[3]);
    }

    #[test]
    fn a_stalled_link_passes_on_once_it_is_clear() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let proxy = Proxy::to(listener.local_addr().expect("an address"));
        let mut client = TcpStream::connect(proxy.address()).expect("the proxy listens");
        let (mut served, _) = listener.accept().expect("a connection");
        proxy.set(Weather::Stalled);
        served.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        client.write_all(b"x").expect("there is room for a byte");
        // A chunk that was being waited for when the weather changed may still pass; the next must not.
        let mut byte = [0];
        let _ = served.read(&mut byte);
        client.write_all(b"y").expect("there is room for a byte");
        let stalled = served.read(&mut byte);
        assert!(stalled.is_err(), "{stalled:?} {byte:?}");
        proxy.set(Weather::Clear);
        assert!(crate::cluster::eventually(|| served.read(&mut byte).is_ok()));
    }
}
