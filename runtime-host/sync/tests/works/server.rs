//! A small web server with faults on demand: one thread, one request a connection.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// What it answers.
#[derive(Clone)]
pub struct Answer {
    pub status: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Bytes after which the connection ends.
    pub cut: usize,
}

impl Answer {
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: "200 OK", headers: Vec::new(), body: body.into(), cut: usize::MAX }
    }

    pub fn status(status: &'static str) -> Self {
        Self { status, ..Self::ok("") }
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub fn cut(self, cut: usize) -> Self {
        Self { cut, ..self }
    }
}

pub struct Web {
    pub url: String,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    /// Heads of the requests.
    pub seen: Arc<Mutex<Vec<String>>>,
}

impl Web {
    pub fn start(answers: impl Into<VecDeque<Answer>>) -> Self {
        Self::with(answers.into(), None)
    }

    /// With a certificate of its own for `localhost`; that, in PEM.
    pub fn start_tls(answers: impl Into<VecDeque<Answer>>) -> (Self, String) {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        (Self::with(answers.into(), Some(Arc::new(config))), certified.cert.pem())
    }

    fn with(answers: VecDeque<Answer>, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = if tls.is_some() { format!("https://localhost:{port}") } else { format!("http://127.0.0.1:{port}") };
        let (answers, seen) = (Arc::new(Mutex::new(answers)), Arc::default());
        let web = Self { url, answers: Arc::clone(&answers), seen: Arc::clone(&seen) };
        std::thread::spawn(move || {
            for stream in listener.incoming().map(Result::unwrap) {
                match &tls {
                    None => serve(stream, &answers, &seen),
                    Some(config) => {
                        let connection = ServerConnection::new(Arc::clone(config)).unwrap();
                        serve(StreamOwned::new(connection, stream), &answers, &seen);
                    }
                }
            }
        });
        web
    }

    pub fn then(&self, answer: Answer) {
        self.answers.lock().unwrap().push_back(answer);
    }

    /// The head of the last request, in lower case.
    pub fn last(&self) -> String {
        self.seen.lock().unwrap().last().unwrap().to_lowercase()
    }

    pub fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

fn serve(stream: impl Read + Write, answers: &Mutex<VecDeque<Answer>>, seen: &Mutex<Vec<String>>) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        match stream.read_line(&mut head) {
            Ok(1..) => {}
            _ => return,
        }
    }
    seen.lock().unwrap().push(head);
    let answer = answers.lock().unwrap().pop_front().unwrap_or_else(|| Answer::status("410 Gone"));
    let mut text = format!("HTTP/1.1 {}\r\nconnection: close\r\n", answer.status);
    answer.headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    if !answer.status.starts_with("304") {
        text.push_str(&format!("content-length: {}\r\n", answer.body.len()));
    }
    let whole = [text.as_bytes(), b"\r\n", &answer.body[..answer.body.len().min(answer.cut)]].concat();
    let _ = stream.get_mut().write_all(&whole).and_then(|()| stream.get_mut().flush());
}
