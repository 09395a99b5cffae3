//! Bodies that a test of a handler makes.

use super::*;

#[test]
fn bodies_for_tests_behave_like_received_ones() {
    assert_ended(&mut Incoming::empty());
    assert_ended(&mut Incoming::from(""));
    assert_eq!(ready(Incoming::empty().bytes()).expect("no body"), "");
    let mut incoming = Incoming::from("abc");
    assert_eq!(incoming.size_hint().exact(), Some(3));
    assert_eq!(data(&mut incoming), "abc");
    assert_ended(&mut incoming);
    for whole in [
        Incoming::from(Bytes::from_static(b"abc")),
        Incoming::from(b"abc".to_vec()),
        Incoming::from(String::from("abc")),
        Incoming::from(&b"abc"[..]),
    ] {
        assert_eq!(ready(whole.bytes()).expect("a body"), "abc");
    }
    let mut limited = Incoming::from("abc");
    limited.limit(2);
    assert!(is_413(&error(&mut limited)));
    let mut limited = Incoming::from("abc");
    limited.limit(2);
    assert!(is_413(&ready(limited.bytes()).expect_err("too large")));
}

#[test]
fn another_body_can_be_that_of_a_request() {
    let chunks = crate::body::Chunks::new(["ab", "cd", "ef"]);
    let mut incoming = Incoming::from_body(chunks);
    assert_eq!(incoming.size_hint().exact(), None);
    assert_eq!(data(&mut incoming), "ab");
    assert_eq!(ready(incoming.bytes()).expect("the rest"), "cdef");

    let chunks = crate::body::Chunks::new(["ab", "cd", "ef"]);
    let mut incoming = Incoming::from_body(chunks);
    incoming.limit(3);
    assert_eq!(data(&mut incoming), "ab");
    assert!(is_413(&error(&mut incoming)));

    let failing = crate::body::Chunks::fallible([Ok("ab"), Err("broken")]);
    let mut incoming = Incoming::from_body(failing);
    assert_eq!(data(&mut incoming), "ab");
    let error = error(&mut incoming);
    assert!(error.refusal().is_none() && !error.is_gone());
    let cause = std::error::Error::source(&error).expect("a cause");
    assert_eq!(cause.to_string(), "broken");

    let mut refused = Incoming::from("abc");
    refused.limit(1);
    let mut outer = Incoming::from_body(refused);
    match poll(&mut outer) {
        Poll::Ready(Some(Err(error))) => {
            assert!(is_413(&error));
            let cause = std::error::Error::source(&error).expect("a cause");
            assert!(cause.is::<Refusal>(), "the error isn't wrapped twice");
        }
        other => panic!("{other:?}"),
    }
}
