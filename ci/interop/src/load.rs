//! [`Load`]: clients that send requests one after the other, while a check restarts or kills what serves them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use crate::client::Response;
use crate::{Client, Outcome};

/// A kind of client, and how many there are.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// How many clients.
    pub clients: usize,
    /// The method of their requests. Only GET is sent again when a connection has ended without a byte.
    pub method: &'static str,
    /// Whether they keep their connections. If not, they open one for each request, and say so.
    pub keeps: bool,
}

/// One request, and what became of it.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its path, which no other request has.
    pub path: String,
    /// The method.
    pub method: &'static str,
    /// When it was sent.
    pub begun: Instant,
    /// When its response was complete, or the client gave up.
    pub ended: Instant,
    /// Whether it was sent again, because the connection ended without a byte of a response. This doesn't count if a
    /// kept connection had ended when the request was sent: a client looks just before, and can't do more.
    pub again: bool,
    /// The response's body, or why there is none.
    pub outcome: Outcome<String>,
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    is_over: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<Sent>>>,
}

impl Load {
    /// Starts clients of these kinds. Each pauses for `pause` after a response.
    #[must_use]
    pub fn start(address: SocketAddr, kinds: &[Kind], pause: Duration) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let kinds = kinds.iter().flat_map(|&kind| vec![kind; kind.clients]);
        let clients = kinds.enumerate().map(|(number, kind)| {
            let (is_over, sent) = (Arc::clone(&is_over), Arc::clone(&sent));
            let mut visitor = Visitor {
                address,
                kind,
                client: None,
            };
            spawn(move || {
                let mut all = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    all.push(visitor.ask(format!("/load/{number}-{}", all.len())));
                    sent.fetch_add(1, Ordering::Relaxed);
                    sleep(pause);
                }
                all
            })
        });
        Self {
            clients: clients.collect(),
            is_over,
            sent,
        }
    }

    /// How many requests have ended so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits for the requests under way. Returns all.
    ///
    /// # Errors
    /// When a client has panicked.
    pub fn end(self) -> Outcome<Vec<Sent>> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for client in self.clients {
            all.extend(client.join().map_err(|_| "a client panicked")?);
        }
        Ok(all)
    }
}

/// One client.
struct Visitor {
    address: SocketAddr,
    kind: Kind,
    /// The connection that is kept.
    client: Option<Client>,
}

/// Why a request has no response.
struct Lost {
    why: String,
    /// Whether nothing of a response has come.
    is_untouched: bool,
    /// Whether the connection was a kept one, and had ended when the request was sent.
    was_late: bool,
}

impl Visitor {
    fn ask(&mut self, path: String) -> Sent {
        let begun = Instant::now();
        let mut again = false;
        let mut outcome = self.try_once(&path);
        if let Err(lost) = &outcome
            && lost.is_untouched
            && self.kind.method == "GET"
        {
            again = !lost.was_late;
            outcome = self.try_once(&path);
        }
        Sent {
            method: self.kind.method,
            begun,
            ended: Instant::now(),
            again,
            outcome: outcome.map_err(|lost| lost.why).and_then(|response| {
                let body = String::from_utf8_lossy(&response.body).into_owned();
                match response.status {
                    200 => Ok(body),
                    status => Err(format!("{status}: {body:?}")),
                }
            }),
            path,
        }
    }

    fn try_once(&mut self, path: &str) -> Result<Response, Lost> {
        let kept = self.client.take().filter(Client::is_open);
        let was_kept = kept.is_some();
        let mut client = match kept {
            Some(client) => client,
            None => Client::connect(self.address).map_err(|why| Lost {
                why,
                is_untouched: true,
                was_late: false,
            })?,
        };
        let sent = client.send(self.request(path));
        let was_late = was_kept && (sent.is_err() || client.has_ended());
        let response = sent.and_then(|()| client.response());
        let response = response.map_err(|why| Lost {
            why,
            is_untouched: !client.has_received(),
            was_late,
        })?;
        let closes = response.values("connection").any(|value| value == "close");
        self.client = (self.kind.keeps && !closes).then_some(client);
        Ok(response)
    }

    fn request(&self, path: &str) -> String {
        let method = self.kind.method;
        let length = match method {
            "GET" => "",
            _ => "Content-Length: 0\r\n",
        };
        let close = match self.kind.keeps {
            true => "",
            false => "Connection: close\r\n",
        };
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{length}{close}\r\n")
    }
}
