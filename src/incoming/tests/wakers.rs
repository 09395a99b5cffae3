//! When the loop and the receiver are notified, and what their wakers may do.

use super::*;

#[test]
fn a_wait_notifies_once_and_ends_with_data() {
    let Fixture {
        stream,
        mut incoming,
        notified,
    } = fixture(None);
    let (woken, waker) = Counter::new();
    assert!(poll_with(&mut incoming, &waker).is_pending());
    assert!(poll_with(&mut incoming, &waker).is_pending());
    assert_eq!(notified.take(), 1);
    assert_eq!(
        stream.receiver_state(),
        ReceiverState {
            is_awaited: true,
            ..NOTHING
        }
    );
    assert!(poll_with(&mut incoming, &waker).is_pending());
    assert_eq!(notified.take(), 0, "the loop knows that it is awaited");
    stream.push(Bytes::from_static(b"a"));
    assert_eq!((woken.take(), notified.take()), (1, 0));
    assert_eq!(
        stream.receiver_state(),
        ReceiverState {
            queued: 1,
            ..NOTHING
        }
    );
    stream.push(Bytes::from_static(b"b"));
    assert_eq!(woken.take(), 0, "no future waits");
    assert_eq!(data(&mut incoming), "a");
    assert_eq!(data(&mut incoming), "b");
    assert_eq!(notified.take(), 0);
    assert!(poll_with(&mut incoming, &waker).is_pending());
    assert_eq!(notified.take(), 1, "a new wait");
    // Until the loop has read the state, it isn't notified again.
    stream.push(Bytes::from_static(b"c"));
    assert_eq!(data(&mut incoming), "c");
    assert!(poll_with(&mut incoming, &waker).is_pending());
    assert_eq!(notified.take(), 0);
    assert!(stream.receiver_state().is_awaited);
    stream.finish(None);
    assert_eq!(woken.take(), 2);
    assert_ended(&mut incoming);
}

#[test]
fn the_last_waker_is_called_and_the_others_are_dropped() {
    let Fixture {
        stream,
        mut incoming,
        notified,
    } = fixture(None);
    let (first, first_waker) = Counter::new();
    let (second, second_waker) = Counter::new();
    assert!(poll_with(&mut incoming, &first_waker).is_pending());
    assert!(poll_with(&mut incoming, &second_waker).is_pending());
    drop(first_waker);
    assert_eq!(Arc::strong_count(&first), 1, "the replaced waker is kept");
    stream.push(Bytes::from_static(b"a"));
    assert_eq!((first.take(), second.take()), (0, 1));
    assert_eq!(notified.take(), 1, "it was awaited all the time");
}

#[test]
fn a_waker_may_do_anything_with_the_body() {
    /// When it is called, or dropped, it takes the body's lock.
    struct Nosy(Arc<Stream>);
    impl Wake for Nosy {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Nosy {
        fn drop(&mut self) {
            self.0.receiver_state();
        }
    }
    let Fixture {
        stream,
        mut incoming,
        ..
    } = fixture(None);
    let nosy = || Waker::from(Arc::new(Nosy(Arc::clone(&stream))));
    assert!(poll_with(&mut incoming, &nosy()).is_pending());
    // Replaces it.
    assert!(poll_with(&mut incoming, &nosy()).is_pending());
    stream.push(Bytes::from_static(b"a"));
    assert_eq!(data(&mut incoming), "a");
    assert!(poll_with(&mut incoming, &nosy()).is_pending());
    drop(incoming);
}
