//! HTTP/1.1 messages on blocking streams, whole in memory: what a proxy in front of a test server needs
//! and no more.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// The most bytes of a head.
const MAX_HEAD_BYTES: u64 = 64 << 10;

/// The most bytes of a body.
const MAX_BODY_BYTES: u64 = 256 << 20;

/// The first line and the headers of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestHead {
    /// `GET`, `PUT` and so on.
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl RequestHead {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Whether it changes something.
    pub fn is_write(&self) -> bool {
        matches!(self.method.as_str(), "PUT" | "POST" | "DELETE")
    }
}

/// A request.
#[derive(Debug, Clone, Default)]
pub(super) struct Request {
    pub(super) head: RequestHead,
    pub(super) body: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    /// The first line, without its end.
    pub(super) status_line: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// One of a server that refuses, in the form of S3.
    pub(super) fn refusal(status: &str, code: &str) -> Self {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>planted</Message></Error>");
        Self {
            status_line: format!("HTTP/1.1 {status}"),
            headers: vec![("content-type".to_owned(), "application/xml".to_owned())],
            body: body.into_bytes(),
        }
    }

    /// Its status.
    pub(super) fn status(&self) -> u16 {
        self.status_line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// Writes it with its length, and the first `body_bytes` of its body.
    pub(super) fn write(&self, to: &mut impl Write, is_head: bool, body_bytes: usize) -> io::Result<()> {
        let mut text = format!("{}\r\n", self.status_line);
        let own_length = is_head || matches!(self.status(), 204 | 304);
        for (name, value) in &self.headers {
            if matches!(name.as_str(), "connection" | "transfer-encoding") || !own_length && name == "content-length" {
                continue;
            }
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !own_length {
            text.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        to.write_all(text.as_bytes())?;
        if !is_head {
            to.write_all(&self.body[..body_bytes.min(self.body.len())])?;
        }
        to.flush()
    }
}

/// The next request of a connection; `None` at its end.
pub(super) fn read_request(from: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let Some((first, headers)) = read_head(from)? else { return Ok(None) };
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let head = RequestHead { method: method.to_owned(), target: target.to_owned(), headers };
    let body = match (is_chunked(&head.headers), length(&head.headers)) {
        (true, _) => read_chunks(from)?,
        (false, Some(length)) => read_exactly(from, length)?,
        (false, None) => Vec::new(),
    };
    Ok(Some(Request { head, body }))
}

/// Sends a request on a connection of its own and reads the answer.
pub(super) fn exchange(to: TcpStream, request: &Request) -> io::Result<Answer> {
    let mut text = format!("{} {} HTTP/1.1\r\n", request.head.method, request.head.target);
    for (name, value) in &request.head.headers {
        if !matches!(name.as_str(), "connection" | "transfer-encoding" | "content-length" | "expect") {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    text.push_str(&format!("content-length: {}\r\nconnection: close\r\n\r\n", request.body.len()));
    let mut to = to;
    to.write_all(text.as_bytes())?;
    to.write_all(&request.body)?;
    let mut from = BufReader::new(to);
    loop {
        let Some((status_line, headers)) = read_head(&mut from)? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let mut answer = Answer { status_line, headers, body: Vec::new() };
        if answer.status() == 100 {
            continue;
        }
        if request.head.method == "HEAD" || matches!(answer.status(), 204 | 304) {
            return Ok(answer);
        }
        answer.body = match (is_chunked(&answer.headers), length(&answer.headers)) {
            (true, _) => read_chunks(&mut from)?,
            (false, Some(length)) => read_exactly(&mut from, length)?,
            (false, None) => {
                let mut body = Vec::new();
                from.take(MAX_BODY_BYTES).read_to_end(&mut body)?;
                return Ok(Answer { body, ..answer });
            }
        };
        return Ok(answer);
    }
}

type Head = (String, Vec<(String, String)>);

/// The first line and the headers of a message; `None` if the stream ends before it.
fn read_head(from: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut from = from.take(MAX_HEAD_BYTES);
    let Some(first) = read_line(&mut from)? else { return Ok(None) };
    let mut headers = Vec::new();
    loop {
        let line = read_line(&mut from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            return Ok(Some((first, headers)));
        }
        let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}

fn read_exactly(from: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    if length > MAX_BODY_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a body larger than any test sends"));
    }
    let mut body = Vec::new();
    if from.take(length).read_to_end(&mut body)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(body)
}

fn read_chunks(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let length = u64::from_str_radix(digits, 16).map_err(io::Error::other)?;
        if length == 0 {
            // Trailers, which nobody here reads.
            while read_line(from)?.is_some_and(|line| !line.is_empty()) {}
            return Ok(body);
        }
        body.extend(read_exactly(from, length)?);
        read_line(from)?;
    }
}

fn header<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
}

fn length(headers: &[(String, String)]) -> Option<u64> {
    header(headers, "content-length")?.parse().ok()
}

fn is_chunked(headers: &[(String, String)]) -> bool {
    header(headers, "transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked"))
}
