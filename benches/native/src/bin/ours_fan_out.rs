//! `mini_http` with event streams, to all of which a message is published.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame};
use mini_http::body::AnyBody;
use mini_http::{Response, Server};
use native_servers::{MESSAGE, listener};

fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::from_listener(listener()?)?;
    let room = Rc::new(Room::default());
    server.serve_async(|request| {
        let body = match request.uri().path() {
            "/events" => AnyBody::new(Events::new(&room)),
            "/publish" => {
                room.publish();
                AnyBody::empty()
            }
            _ => AnyBody::from(native_servers::BODY),
        };
        async { Response::new(body) }
    })?;
    Ok(())
}

/// What the streams share.
#[derive(Default)]
struct Room {
    published: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Room {
    fn publish(&self) {
        self.published.set(self.published.get() + 1);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

/// A stream of all that is published from now on.
struct Events {
    room: Rc<Room>,
    seen: u64,
}

impl Events {
    fn new(room: &Rc<Room>) -> Self {
        Self {
            room: Rc::clone(room),
            seen: room.published.get(),
        }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.seen < self.room.published.get() {
            self.seen += 1;
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(MESSAGE)))));
        }
        self.room.waiting.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }
}
