//! [`Timed`]: the body of a response that may not stop in the middle.

use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use mini_http::http_body::{Body, Frame, SizeHint};
use mini_http::{Sleep, sleep};

use crate::BoxError;

/// How long the other server may send nothing of a body. Otherwise the response would stay open
/// without end when that server's machine is gone. Event streams have to send a comment now and then, as for most proxies.
const LONGEST: Duration = Duration::from_secs(60);

/// Fails after `LONGEST` in which nothing came.
pub(crate) struct Timed<B> {
    body: B,
    /// Runs while the body is awaited: not while the client takes nothing.
    late: Option<Sleep>,
}

impl<B> Timed<B> {
    pub(crate) fn new(body: B) -> Self {
        Self { body, late: None }
    }
}

impl<B: Body<Error: Into<BoxError>> + Unpin> Body for Timed<B> {
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.late = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let late = self.late.get_or_insert_with(|| sleep(LONGEST));
        let late = Pin::new(late).poll(cx);
        late.map(|()| Some(Err(std::io::Error::from(ErrorKind::TimedOut).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::ready;

    use mini_http::http::Request;
    use mini_http::{Bytes, Response};

    use super::*;

    /// A piece every `pause`, twice; then it is silent.
    struct Pieces {
        left: u32,
        pause: Duration,
        sleep: Option<Sleep>,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            if self.left == 0 {
                return Poll::Pending;
            }
            let pause = self.pause;
            ready!(Pin::new(self.sleep.get_or_insert_with(|| sleep(pause))).poll(cx));
            self.left -= 1;
            self.sleep = None;
            Poll::Ready(Some(Ok(Frame::data("piece".into()))))
        }
    }

    /// What comes of it: `.` for a piece, `!` for the error. In virtual time.
    fn outcome(pause: Duration) -> Bytes {
        let handler = async |_| {
            let mut body = Timed::new(Pieces {
                left: 2,
                pause,
                sleep: None,
            });
            let mut outcome = String::new();
            while !outcome.ends_with('!') {
                let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
                outcome.push(match frame {
                    Some(Ok(_)) => '.',
                    Some(Err(_)) => '!',
                    None => '0',
                });
                // The time that the client takes doesn't count.
                sleep(LONGEST * 2).await;
            }
            Response::new(outcome)
        };
        mini_http::test::run(handler, Request::new(())).into_body()
    }

    #[test]
    fn a_body_that_stops_fails() {
        assert_eq!(outcome(LONGEST - Duration::from_secs(1)), "..!");
        assert_eq!(outcome(LONGEST + Duration::from_secs(1)), "!");
    }
}
