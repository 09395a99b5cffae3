//! A whole body at once: `Incoming::bytes`.

use super::*;

#[test]
fn bytes_of_a_body_that_waits_gather_nothing() {
    for announced in [Some(6), None] {
        let Fixture {
            stream,
            incoming,
            notified,
        } = fixture(announced);
        stream.push(Bytes::from_static(b"abc"));
        stream.push(Bytes::from_static(b"def"));
        if announced.is_none() {
            stream.finish(None);
        }
        assert_eq!(ready(incoming.bytes()).expect("a body"), "abcdef");
        assert_eq!(stream.receiver_state(), NOTHING);
        assert_eq!(notified.take(), 0);
    }
}

#[test]
fn bytes_gather_the_rest() {
    let Fixture {
        stream,
        mut incoming,
        notified,
    } = fixture(None);
    incoming.limit(100);
    stream.push(Bytes::from_static(b"abc"));
    assert_eq!(data(&mut incoming), "abc");
    stream.push(Bytes::from_static(b"def"));
    let mut bytes = pin!(incoming.bytes());
    assert!(poll_once(bytes.as_mut()).is_pending());
    assert_eq!(notified.take(), 1);
    // What was on its way before the loop looked.
    stream.push(Bytes::from_static(b"ghi"));
    assert!(poll_once(bytes.as_mut()).is_pending());
    let awaited = ReceiverState {
        queued: 6,
        is_awaited: true,
        gather: Some(91),
        ..NOTHING
    };
    assert_eq!(stream.receiver_state(), awaited);
    let once = ReceiverState {
        gather: None,
        ..awaited
    };
    assert_eq!(stream.receiver_state(), once);
    stream.whole(Bytes::from_static(b"jkl"));
    match poll_once(bytes.as_mut()) {
        Poll::Ready(Ok(body)) => assert_eq!(body, "defghijkl"),
        other => panic!("{other:?}"),
    }
    assert_eq!(stream.receiver_state(), NOTHING);
}

#[test]
fn bytes_that_were_gathered_are_not_copied() {
    let Fixture {
        stream, incoming, ..
    } = fixture(None);
    let mut bytes = pin!(incoming.bytes());
    assert!(poll_once(bytes.as_mut()).is_pending());
    let whole = Bytes::from(vec![7; 100]);
    let place = whole.as_ptr();
    stream.whole(whole);
    match poll_once(bytes.as_mut()) {
        Poll::Ready(Ok(body)) => assert_eq!(body.as_ptr(), place),
        other => panic!("{other:?}"),
    }
}

#[test]
fn bytes_are_limited() {
    let Fixture {
        stream,
        mut incoming,
        ..
    } = fixture(Some(10));
    incoming.limit(9);
    assert!(is_413(&ready(incoming.bytes()).expect_err("too large")));
    assert!(stream.receiver_state().over_limit);

    let Fixture {
        stream,
        mut incoming,
        ..
    } = fixture(None);
    incoming.limit(4);
    stream.push(Bytes::from_static(b"abc"));
    assert_eq!(data(&mut incoming), "abc");
    stream.push(Bytes::from_static(b"de"));
    stream.finish(None);
    assert!(is_413(&ready(incoming.bytes()).expect_err("too large")));
    assert!(stream.receiver_state().over_limit);
}

#[test]
fn bytes_of_a_body_that_fails() {
    for is_gone in [true, false] {
        let Fixture {
            stream, incoming, ..
        } = fixture(None);
        stream.push(Bytes::from_static(b"abc"));
        let mut bytes = pin!(incoming.bytes());
        assert!(poll_once(bytes.as_mut()).is_pending());
        if is_gone {
            stream.gone();
        } else {
            stream.fail(Refusal::body_too_large());
        }
        match poll_once(bytes.as_mut()) {
            Poll::Ready(Err(error)) => {
                assert_eq!((error.is_gone(), is_413(&error)), (is_gone, !is_gone));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_future_of_bytes_that_is_dropped_drops_the_body() {
    let Fixture {
        stream,
        incoming,
        notified,
    } = fixture(None);
    let mut bytes = Box::pin(incoming.bytes());
    assert!(poll_once(bytes.as_mut()).is_pending());
    assert!(stream.receiver_state().gather.is_some());
    notified.take();
    drop(bytes);
    assert_eq!(notified.take(), 1);
    assert!(stream.receiver_state().is_dropped);
}

#[test]
fn pieces_that_wait_before_the_rest_is_gathered_add_only_their_own_memory() {
    let Fixture {
        stream, incoming, ..
    } = fixture(None);
    stream.push(Bytes::from(vec![1; 1_000]));
    stream.push(Bytes::from(vec![2; 1_000]));
    let mut bytes = pin!(incoming.bytes());
    assert!(poll_once(bytes.as_mut()).is_pending());
    stream.whole(Bytes::from(vec![3; 100_000]));
    match poll_once(bytes.as_mut()) {
        Poll::Ready(Ok(body)) => {
            assert!(body[..1_000].iter().all(|&byte| byte == 1));
            assert!(body[1_000..2_000].iter().all(|&byte| byte == 2));
            assert!(body[2_000..].iter().all(|&byte| byte == 3));
            assert_eq!(Vec::from(body).capacity(), 102_000);
        }
        other => panic!("{other:?}"),
    }
}
