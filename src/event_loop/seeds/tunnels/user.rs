//! The handler, and the program that uses the connection: a task that reads, and a task that writes.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind as Kind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};
use http::{Method, Request, Response, StatusCode};

use super::link::{Link, ReadEnd, WriteEnd};
use super::plan::{End, Opening, Plan};
use crate::error::ErrorKind;
use crate::event_loop::seeds::streams::{Part, Watch, wait};
use crate::executor::{sleep, spawn};
use crate::handle::Handle;
use crate::incoming::Incoming;
use crate::upgrade::{Upgrade, Upgraded, upgrade};

/// What the handlers of a world share.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) links: Rc<Vec<Rc<Link>>>,
    pub(super) watch: Watch,
    pub(super) handle: Handle,
}

pub(super) async fn handle(tools: Tools, mut request: Request<Incoming>) -> Response<String> {
    tools.watch.record_act();
    let Some(link) = tools.link(&request) else {
        return Response::new("plain".into());
    };
    let opening = link.plan.opening;
    match opening {
        Opening::Untaken | Opening::NoTunnel => {}
        Opening::Dropped => drop(upgrade(&mut request)),
        _ => spawn(use_it(
            tools.clone(),
            Rc::clone(&link),
            upgrade(&mut request),
        )),
    }
    if let Some(it) = link.plan.user.responds_after {
        wait(tools.watch.clone(), it).await;
    }
    let mut response = Response::new(String::new());
    *response.status_mut() = match opening {
        Opening::Connect | Opening::NoTunnel | Opening::Otherwise => StatusCode::OK,
        Opening::Refused => StatusCode::FORBIDDEN,
        _ => StatusCode::SWITCHING_PROTOCOLS,
    };
    if opening != Opening::NoField {
        let fields = response.headers_mut();
        fields.insert("upgrade", "x".parse().expect("a value"));
    }
    response
}

impl Tools {
    /// The connection of a request that asks for an upgrade.
    fn link(&self, request: &Request<Incoming>) -> Option<Rc<Link>> {
        let uri = request.uri();
        let number: Option<usize> = match *request.method() {
            Method::CONNECT => uri.port_u16().map(usize::from),
            _ => uri.path()[1..].parse().ok(),
        };
        Some(Rc::clone(&self.links[number?]))
    }

    fn check_held(&self, link: &Link) {
        let overflow = link.overflow();
        self.watch.fault(overflow.is_none(), || {
            format!("{}: {link:?}", overflow.unwrap_or_default())
        });
    }
}

/// Waits for the upgrade, and begins to use the connection.
async fn use_it(tools: Tools, link: Rc<Link>, upgrade: Upgrade) {
    let result = upgrade.await;
    tools.watch.record_act();
    match result {
        Err(error) => {
            let is_right = error.kind() == ErrorKind::Upgrade;
            tools
                .watch
                .fault(is_right, || format!("an upgrade failed: {error}"));
            link.near.borrow_mut().has_failed = true;
        }
        Ok(upgraded) => {
            link.near.borrow_mut().opened_at = Some(tools.watch.fake.now());
            let side = Side {
                shared: Rc::new(Shared {
                    upgraded: RefCell::new(Some(upgraded)),
                    reader: RefCell::default(),
                }),
                link,
                tools,
            };
            spawn(side.clone().read());
            spawn(side.write());
        }
    }
}

/// The program's side of a connection, for the two tasks. The last of them drops it.
#[derive(Clone)]
struct Side {
    shared: Rc<Shared>,
    link: Rc<Link>,
    tools: Tools,
}

struct Shared {
    /// `None` when it was dropped.
    upgraded: RefCell<Option<Upgraded>>,
    /// The task that reads, if it waits.
    reader: RefCell<Option<Waker>>,
}

impl Drop for Side {
    fn drop(&mut self) {
        if Rc::strong_count(&self.shared) == 1 {
            self.drop_connection();
        }
    }
}

impl Side {
    fn now(&self) -> u64 {
        self.tools.watch.record_act();
        self.tools.watch.fake.now()
    }

    fn drop_connection(&self) {
        let upgraded = self.shared.upgraded.take();
        if upgraded.is_some() {
            self.link.near.borrow_mut().dropped_at = Some(self.now());
        }
        drop(upgraded);
        if let Some(reader) = self.shared.reader.take() {
            reader.wake();
        }
    }

    /// Polls the connection. [`GONE`] if the program itself has dropped it.
    fn poll<T>(
        &self,
        poll: impl FnOnce(Pin<&mut Upgraded>) -> Poll<io::Result<T>>,
    ) -> Poll<Result<T, Kind>> {
        match &mut *self.shared.upgraded.borrow_mut() {
            Some(upgraded) => poll(Pin::new(upgraded)).map_err(|error| error.kind()),
            None => Poll::Ready(Err(GONE)),
        }
    }

    fn plan(&self) -> &Plan {
        &self.link.plan
    }

    async fn read(self) {
        let user = &self.plan().user;
        sleep(user.reads_after).await;
        let mut buffer = vec![0; user.buffer];
        let end = loop {
            let read = self.link.near.borrow().read;
            let left = user.reads.unwrap_or(usize::MAX) - read;
            if left == 0 {
                break ReadEnd::Enough;
            }
            if let Some(pause) = user.pause {
                wait(self.tools.watch.clone(), pause).await;
            }
            let length = buffer.len().min(left);
            match self.read_once(&mut buffer[..length]).await {
                Ok(0) => break ReadEnd::End,
                Ok(count) => self.check_read(read, &buffer[..count]),
                Err(kind) => break ReadEnd::Failed(kind),
            }
        };
        self.link.near.borrow_mut().read_end = Some((end, self.now()));
    }

    async fn read_once(&self, buffer: &mut [u8]) -> Result<usize, Kind> {
        let read = poll_fn(|cx| {
            *self.shared.reader.borrow_mut() = Some(cx.waker().clone());
            self.poll(|upgraded| upgraded.poll_read(cx, buffer))
        });
        let read = read.await;
        drop(self.shared.reader.take());
        read
    }

    fn check_read(&self, from: usize, data: &[u8]) {
        let expected = self.plan().sends.get(from..from + data.len());
        self.tools.watch.fault(expected == Some(data), || {
            format!("other bytes at {from}: {:?}", self.link)
        });
        let mut near = self.link.near.borrow_mut();
        (near.read, near.read_at) = (from + data.len(), self.now());
        let mark = (near.read, near.read_at);
        near.reads.push(mark);
        drop(near);
        self.tools.check_held(&self.link);
    }

    async fn write(self) {
        let user = &self.plan().user;
        let all = self.plan().writes();
        let mut to = 0;
        for part in &user.writes {
            match part {
                Part::Wait(it) => wait(self.tools.watch.clone(), *it).await,
                Part::Data(length) => {
                    to += length;
                    if let Err(kind) = self.write_up_to(&all[..to]).await {
                        return self.end_writing(WriteEnd::Failed(kind));
                    }
                }
            }
        }
        match user.end {
            End::Leaves => return self.end_writing(WriteEnd::Left),
            End::Drops => {
                self.end_writing(WriteEnd::Left);
                return self.drop_connection();
            }
            End::Closes => {}
            End::ClosesAtStop => self.tools.handle.stopping().await,
        }
        let end = match self.close().await {
            Ok(()) => WriteEnd::Closed,
            Err(kind) => WriteEnd::Failed(kind),
        };
        self.end_writing(end);
    }

    fn end_writing(&self, end: WriteEnd) {
        self.link.near.borrow_mut().write_end = Some((end, self.now()));
    }

    /// Writes what isn't written yet.
    async fn write_up_to(&self, all: &[u8]) -> Result<(), Kind> {
        loop {
            let written = self.link.near.borrow().written;
            if written == all.len() {
                return Ok(());
            }
            let rest = &all[written..];
            let count = poll_fn(|cx| self.poll(|upgraded| upgraded.poll_write(cx, rest))).await?;
            let mut near = self.link.near.borrow_mut();
            near.written = written + count;
            near.writes.push((written + count, self.now()));
            drop(near);
            self.tools.check_held(&self.link);
        }
    }

    async fn close(&self) -> Result<(), Kind> {
        poll_fn(|cx| self.poll(|upgraded| upgraded.poll_close(cx))).await?;
        let (arrived, written) = (self.link.arrived(), self.link.near.borrow().written);
        let client = self.link.client.borrow();
        let is_reset = client.as_ref().is_some_and(|client| client.is_reset());
        let is_whole = is_reset || arrived.is_none_or(|arrived| arrived == written);
        self.tools.watch.fault(is_whole, || {
            format!(
                "closed, and {arrived:?} bytes have arrived: {:?}",
                self.link
            )
        });
        Ok(())
    }
}

/// The program itself has dropped the connection.
const GONE: Kind = Kind::NotConnected;
