//! As little of an HTTP/1.1 client as will do: one connection, one request at a
//! time, a response of known length or in chunks.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// A kept-alive connection.
pub struct Connection {
    stream: TcpStream,
    tenant: &'static str,
    number: u64,
    request: Vec<u8>,
    response: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr, tenant: &'static str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { stream, tenant, number: 0, request: Vec::new(), response: vec![0; 256 * 1024] }
    }

    /// Sends JSON, waits for the whole response, and says whether its status is
    /// the expected one.
    pub fn post(&mut self, path: &str, user: &str, body: &[u8], expected: u16) -> bool {
        let (status, response) = self.exchange("POST", path, user, body);
        let as_expected = status == expected;
        if !as_expected {
            eprintln!("{path}: {}", String::from_utf8_lossy(response));
        }
        as_expected
    }

    /// The status and the body of an answer.
    pub fn ask(&mut self, method: &str, path: &str, user: &str, body: &[u8]) -> (u16, String) {
        let (status, response) = self.exchange(method, path, user, body);
        let end = find(response, b"\r\n\r\n").unwrap();
        let (head, body) = (&response[..end], &response[end + 4..]);
        let is_chunked = find(&head.to_ascii_lowercase(), b"transfer-encoding: chunked").is_some();
        let body = if is_chunked { whole(body) } else { body.to_vec() };
        (status, String::from_utf8(body).unwrap())
    }

    /// The status and the whole of an answer, its head too.
    pub fn exchange(&mut self, method: &str, path: &str, user: &str, body: &[u8]) -> (u16, &[u8]) {
        self.send(method, path, user, body);
        let response = self.read();
        (status(response), response)
    }

    fn send(&mut self, method: &str, path: &str, user: &str, body: &[u8]) {
        self.number += 1;
        self.request.clear();
        write!(
            self.request,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             x-tenant-id: {}\r\nx-user-id: {user}\r\nx-request-id: r{}\r\nauthorization: Bearer bench\r\n\r\n",
            body.len(),
            self.tenant,
            self.number
        )
        .unwrap();
        self.request.extend_from_slice(body);
        self.stream.write_all(&self.request).unwrap();
    }

    /// One whole response.
    fn read(&mut self) -> &[u8] {
        let (mut length, mut end) = (0, None);
        loop {
            if length == self.response.len() {
                self.response.resize(2 * length, 0);
            }
            let read = self.stream.read(&mut self.response[length..]).unwrap();
            assert!(read > 0, "the server closed the connection");
            length += read;
            let so_far = &self.response[..length];
            end = end.or_else(|| End::of(so_far));
            let whole = match end {
                None => false,
                Some(End::At(end)) => length >= end,
                Some(End::LastChunk) => so_far.ends_with(b"\r\n0\r\n\r\n"),
            };
            if whole {
                return &self.response[..length];
            }
        }
    }
}

fn status(response: &[u8]) -> u16 {
    std::str::from_utf8(&response[9..12]).unwrap().parse().unwrap()
}

/// Where a response ends.
#[derive(Clone, Copy)]
enum End {
    At(usize),
    LastChunk,
}

impl End {
    /// None before the head is there.
    fn of(response: &[u8]) -> Option<Self> {
        let head = find(response, b"\r\n\r\n")?;
        if status(response) == 204 {
            return Some(Self::At(head + 4));
        }
        let head_text = std::str::from_utf8(&response[..head]).unwrap().to_ascii_lowercase();
        let length = head_text.lines().find_map(|line| line.strip_prefix("content-length:"));
        Some(length.map_or(Self::LastChunk, |length| Self::At(head + 4 + length.trim().parse::<usize>().unwrap())))
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// A body without the lengths between its chunks.
fn whole(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(chunks.len());
    while let Some(end) = find(chunks, b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&chunks[..end]).unwrap(), 16).unwrap();
        let (chunk, rest) = chunks[end + 2..].split_at(length);
        body.extend_from_slice(chunk);
        chunks = rest.strip_prefix(b"\r\n").unwrap();
    }
    body
}
