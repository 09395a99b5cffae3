//! The handler, of the program and of the component.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use mini_http::body::AnyBody;
use mini_http::http::{Request, StatusCode};
use mini_http::http_body::{Body, Frame};
use mini_http::{Bytes, Incoming, Response, Sleep, sleep};

/// Responds to each request.
pub(crate) async fn handle(mut request: Request<Incoming>) -> Response<AnyBody> {
    match request.uri().path() {
        "/" => Response::new("the same handler everywhere\n".into()),
        // What comes is sent back, part by part, with its trailers.
        "/echo" => {
            // Nothing is collected, so there may be any number of bytes.
            request.body_mut().limit(u64::MAX);
            Response::new(request.into_body().into())
        }
        "/ticks" => Response::new(AnyBody::new(Ticks::new())),
        _ => {
            let mut response = Response::new("there is no such path\n".into());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

/// Five lines, each after a pause.
struct Ticks {
    number: u32,
    pause: Sleep,
}

impl Ticks {
    const PAUSE: Duration = Duration::from_millis(200);

    fn new() -> Self {
        Self {
            number: 0,
            pause: sleep(Self::PAUSE),
        }
    }
}

impl Body for Ticks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.number == 5 {
            return Poll::Ready(None);
        }
        ready!(Pin::new(&mut self.pause).poll(cx));
        self.number += 1;
        self.pause = sleep(Self::PAUSE);
        let line = format!("tick {}\n", self.number);
        Poll::Ready(Some(Ok(Frame::data(line.into()))))
    }
}
