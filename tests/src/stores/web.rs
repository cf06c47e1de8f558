//! A web server with one object, which answers as such servers do: with ranges or without, with entity
//! tags or only with times.

use std::io::BufReader;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use super::message::{Answer, Request, read_request};

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manners {
    /// Whether a part of the object can be asked for.
    pub ranges: bool,
    /// Whether it tells an entity tag.
    pub tags: bool,
    /// Whether it answers HEAD.
    pub head: bool,
}

/// A server of one object at `/a b%.txt`. Ends when it is dropped.
#[derive(Debug)]
pub struct WebServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    bytes: Vec<u8>,
    manners: Manners,
    requests: AtomicU64,
    over: AtomicBool,
}

impl WebServer {
    /// Serves these bytes.
    ///
    /// # Panics
    ///
    /// If no port is to be had.
    pub fn start(bytes: impl Into<Vec<u8>>, manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("a listener has an address");
        let (requests, over) = (AtomicU64::new(0), AtomicBool::new(false));
        let shared = Arc::new(Shared { bytes: bytes.into(), manners, requests, over });
        let accepting = Some(thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if shared.over.load(Ordering::Relaxed) {
                        break;
                    }
                    let shared = Arc::clone(&shared);
                    // It ends with its connection, which ends with the client.
                    thread::spawn(move || shared.serve(&stream));
                }
            }
        }));
        Self { address, shared, accepting }
    }

    /// The URL of a path, as it is sent.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

impl Drop for WebServer {
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
    fn serve(&self, stream: &TcpStream) {
        let Ok(reader) = stream.try_clone() else { return };
        let mut from = BufReader::new(reader);
        while let Ok(Some(request)) = read_request(&mut from) {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let is_head = request.head.method == "HEAD";
            if self.answer(&request).write(&mut &*stream, is_head, usize::MAX).is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        let Manners { ranges, tags, head } = self.manners;
        if request.head.target != "/a%20b%25.txt" {
            return Answer::refusal("404 Not Found", "NoSuchKey");
        }
        if request.head.method == "HEAD" && !head {
            return Answer::refusal("405 Method Not Allowed", "MethodNotAllowed");
        }
        let mut headers = vec![("last-modified".to_owned(), "Tue, 03 Nov 2026 10:00:00 GMT".to_owned())];
        if tags {
            headers.push(("etag".to_owned(), "\"first\"".to_owned()));
        }
        let range = request.head.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let Some((start, end)) = range.filter(|_| ranges) else {
            headers.push(("content-length".to_owned(), self.bytes.len().to_string()));
            return Answer { status_line: "HTTP/1.1 200 OK".to_owned(), headers, body: self.bytes.clone() };
        };
        let (start, end): (usize, usize) = (start.parse().expect("a number"), end.parse().expect("a number"));
        let end = (end + 1).min(self.bytes.len());
        headers.push(("content-range".to_owned(), format!("bytes {start}-{}/{}", end - 1, self.bytes.len())));
        headers.push(("content-length".to_owned(), (end - start).to_string()));
        let body = self.bytes[start..end].to_vec();
        Answer { status_line: "HTTP/1.1 206 Partial Content".to_owned(), headers, body }
    }
}
