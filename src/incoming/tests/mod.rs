//! Tests of `Incoming` and of the stream behind it.

mod joined;
mod made;
#[cfg(not(target_os = "wasi"))]
mod threads;
mod wakers;
mod whole;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Body, Frame};

use super::stream::ReceiverState;
use super::{Incoming, IncomingError, QUEUE, Stream};
use crate::conn::Refusal;

/// Counts its calls.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Counter {
    fn new() -> (Arc<Self>, Waker) {
        let counter = Arc::new(Self::default());
        (Arc::clone(&counter), Waker::from(counter))
    }

    /// The calls since the last one of this.
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

/// A body with the loop's side, and how often that was notified.
struct Fixture {
    stream: Arc<Stream>,
    incoming: Incoming,
    notified: Arc<Counter>,
}

fn fixture(announced: Option<u64>) -> Fixture {
    let (notified, waker) = Counter::new();
    let (stream, receiver) = Stream::new(announced, waker, 1 << 20);
    Fixture {
        stream,
        incoming: receiver.into(),
        notified,
    }
}

const NOTHING: ReceiverState = ReceiverState {
    queued: 0,
    is_awaited: false,
    is_dropped: false,
    gather: None,
    min_rate: None,
    over_limit: false,
};

type Polled = Poll<Option<Result<Frame<Bytes>, IncomingError>>>;

fn poll(incoming: &mut Incoming) -> Polled {
    poll_with(incoming, Waker::noop())
}

fn poll_with(incoming: &mut Incoming, waker: &Waker) -> Polled {
    Pin::new(incoming).poll_frame(&mut Context::from_waker(waker))
}

/// The data that is ready.
#[track_caller]
fn data(incoming: &mut Incoming) -> Bytes {
    match poll(incoming) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().expect("data"),
        other => panic!("no data: {other:?}"),
    }
}

/// Returns the error that is ready. Checks that nothing follows it.
#[track_caller]
fn error(incoming: &mut Incoming) -> IncomingError {
    let error = match poll(incoming) {
        Poll::Ready(Some(Err(error))) => error,
        other => panic!("no error: {other:?}"),
    };
    assert_ended(incoming);
    error
}

#[track_caller]
fn assert_ended(incoming: &mut Incoming) {
    assert!(matches!(poll(incoming), Poll::Ready(None)));
    assert!(incoming.is_end_stream());
    assert_eq!(incoming.size_hint().exact(), Some(0));
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The output of a future that is ready.
#[track_caller]
fn ready<F: Future>(future: F) -> F::Output {
    match poll_once(pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("not ready"),
    }
}

fn status(error: &IncomingError) -> Option<StatusCode> {
    error.refusal().map(Refusal::status)
}

fn is_413(error: &IncomingError) -> bool {
    status(error) == Some(StatusCode::PAYLOAD_TOO_LARGE)
}

#[test]
fn an_announced_body_has_an_exact_size_and_ends_by_it() {
    let Fixture {
        stream,
        mut incoming,
        notified,
    } = fixture(Some(5));
    assert_eq!(incoming.size_hint().exact(), Some(5));
    assert!(!incoming.is_end_stream());
    stream.push(Bytes::from_static(b"abc"));
    assert_eq!(incoming.size_hint().exact(), Some(5));
    assert_eq!(
        stream.receiver_state(),
        ReceiverState {
            queued: 3,
            ..NOTHING
        }
    );
    assert_eq!(data(&mut incoming), "abc");
    assert_eq!(incoming.size_hint().exact(), Some(2));
    assert_eq!(notified.take(), 0, "the loop reads anyway");
    stream.push(Bytes::from_static(b"de"));
    assert_eq!(data(&mut incoming), "de");
    // Also before the loop has reported the end.
    assert_ended(&mut incoming);
    stream.finish(None);
    assert_ended(&mut incoming);
    drop(incoming);
    assert_eq!(stream.receiver_state(), NOTHING);
    assert_eq!(notified.take(), 0);
}

#[test]
fn trailers_are_the_last_frame() {
    let Fixture {
        stream,
        mut incoming,
        ..
    } = fixture(None);
    assert_eq!(incoming.size_hint().lower(), 0);
    assert_eq!(incoming.size_hint().upper(), None);
    stream.push(Bytes::from_static(b"abc"));
    stream.push(Bytes::new());
    assert_eq!(incoming.size_hint().lower(), 3);
    assert_eq!(incoming.size_hint().exact(), None);
    let mut trailers = HeaderMap::new();
    trailers.insert("sum", HeaderValue::from_static("6"));
    stream.finish(Some(trailers));
    assert_eq!(incoming.size_hint().exact(), Some(3));
    assert_eq!(data(&mut incoming), "abc");
    assert!(!incoming.is_end_stream());
    match poll(&mut incoming) {
        Poll::Ready(Some(Ok(frame))) => {
            assert_eq!(frame.into_trailers().expect("trailers")["sum"], "6");
        }
        other => panic!("{other:?}"),
    }
    assert_ended(&mut incoming);
}

#[test]
fn a_full_queue_notifies_when_half_of_it_was_taken() {
    let Fixture {
        stream,
        mut incoming,
        notified,
    } = fixture(None);
    let piece = QUEUE / 8;
    for _ in 0..8 {
        stream.push(vec![0; piece].into());
    }
    assert_eq!(stream.receiver_state().queued, QUEUE);
    for taken in 1..=8 {
        assert_eq!(data(&mut incoming).len(), piece);
        assert_eq!(notified.take(), usize::from(taken == 4), "{taken} of 8");
    }
    assert_eq!(stream.receiver_state(), NOTHING);
    // Of a body that is complete, nothing more can be read.
    stream.push(vec![0; QUEUE].into());
    stream.finish(None);
    assert_eq!(data(&mut incoming).len(), QUEUE);
    assert_eq!(notified.take(), 0);
}

#[test]
fn a_dropped_body_notifies_and_frees_what_waits() {
    let Fixture {
        stream,
        mut incoming,
        notified,
    } = fixture(None);
    let (waiting, waker) = Counter::new();
    assert!(poll_with(&mut incoming, &waker).is_pending());
    drop(waker);
    assert!(stream.receiver_state().is_awaited);
    assert_eq!(notified.take(), 1);
    let queued = Bytes::from(vec![1; 100]);
    stream.push(queued.clone());
    assert!(poll(&mut incoming).is_ready());
    stream.push(queued.clone());
    drop(incoming);
    assert_eq!(notified.take(), 1);
    assert_eq!(
        stream.receiver_state(),
        ReceiverState {
            is_dropped: true,
            ..NOTHING
        }
    );
    assert_eq!(Arc::strong_count(&waiting), 1, "the waker is kept");
    stream.push(queued.clone());
    assert_eq!(
        stream.receiver_state(),
        ReceiverState {
            is_dropped: true,
            ..NOTHING
        }
    );
    assert!(queued.is_unique(), "a piece is kept");
    stream.finish(None);
    assert_eq!(stream.receiver_state(), NOTHING);
    assert_eq!(notified.take(), 0);
}

#[test]
fn an_announced_length_over_the_limit_is_413_at_the_first_poll() {
    for (length, set, is_refused) in [
        (1 << 20, None, false),
        ((1 << 20) + 1, None, true),
        (10, Some(9), true),
        (10, Some(10), false),
        ((1 << 20) + 1, Some(2 << 20), false),
        (u64::MAX, Some(u64::MAX), false),
    ] {
        let Fixture {
            stream,
            mut incoming,
            notified,
        } = fixture(Some(length));
        if let Some(limit) = set {
            incoming.limit(limit);
        }
        assert!(!stream.receiver_state().over_limit, "it wasn't polled");
        if !is_refused {
            assert!(poll(&mut incoming).is_pending(), "{length} {set:?}");
            continue;
        }
        assert!(is_413(&error(&mut incoming)), "{length} {set:?}");
        assert_eq!(notified.take(), 1);
        let seen = ReceiverState {
            over_limit: true,
            ..NOTHING
        };
        assert_eq!(stream.receiver_state(), seen, "no 100 Continue is due");
    }
}

#[test]
fn a_chunked_body_over_the_limit_is_413_when_it_is_reached() {
    let Fixture {
        stream,
        mut incoming,
        notified,
    } = fixture(None);
    incoming.limit(5);
    stream.push(Bytes::from_static(b"abc"));
    assert_eq!(data(&mut incoming), "abc");
    // Too late.
    incoming.limit(100);
    stream.push(Bytes::from_static(b"def"));
    assert!(!stream.receiver_state().over_limit);
    assert!(is_413(&error(&mut incoming)));
    assert_eq!(notified.take(), 1);
    assert!(stream.receiver_state().over_limit);
}

#[test]
fn a_refusal_comes_out_behind_the_data() {
    let Fixture {
        stream,
        mut incoming,
        notified,
    } = fixture(Some(9));
    let (woken, waker) = Counter::new();
    assert!(poll_with(&mut incoming, &waker).is_pending());
    stream.receiver_state();
    notified.take();
    stream.fail(Refusal::body_too_large());
    stream.push(Bytes::from_static(b"abc"));
    stream.finish(None);
    assert_eq!(woken.take(), 1);
    assert_eq!(data(&mut incoming), "abc");
    assert!(is_413(&error(&mut incoming)));
    drop(incoming);
    assert_eq!(notified.take(), 0, "the loop knows it already");
}

#[test]
fn a_connection_that_is_gone_frees_what_waits() {
    let Fixture {
        stream,
        mut incoming,
        ..
    } = fixture(Some(9));
    let queued = Bytes::from(vec![1; 5]);
    stream.push(queued.clone());
    stream.gone();
    assert!(queued.is_unique());
    assert_eq!(stream.receiver_state(), NOTHING);
    let error = error(&mut incoming);
    assert!(error.is_gone() && error.refusal().is_none());
}

#[test]
fn a_complete_body_survives_its_connection() {
    let finished = fixture(None);
    finished.stream.push(Bytes::from_static(b"abc"));
    finished.stream.finish(None);
    // The loop hasn't reported yet that it is finished.
    let received = fixture(Some(3));
    received.stream.push(Bytes::from_static(b"abc"));
    for Fixture {
        stream,
        mut incoming,
        ..
    } in [finished, received]
    {
        stream.gone();
        assert_eq!(data(&mut incoming), "abc");
        assert_ended(&mut incoming);
    }
}

#[test]
fn a_minimum_rate_reaches_the_loop() {
    let Fixture {
        stream,
        mut incoming,
        notified,
    } = fixture(None);
    incoming.min_rate(0);
    assert_eq!(notified.take(), 1);
    assert_eq!(
        stream.receiver_state(),
        ReceiverState {
            min_rate: Some(0),
            ..NOTHING
        }
    );
    // No loop, no rate.
    Incoming::from("abc").min_rate(5);
}

#[test]
fn debug_does_not_show_the_content() {
    let Fixture {
        stream, incoming, ..
    } = fixture(Some(6));
    stream.push(Bytes::from_static(b"secret"));
    for text in [
        format!("{incoming:?}"),
        format!("{:?}", Incoming::from("secret")),
    ] {
        assert!(!text.contains("secret") && text.contains('6'), "{text}");
    }
}
