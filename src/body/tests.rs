//! Tests of the bodies of responses.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{self, ErrorKind, Read};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::{AnyBody, Chunks, Reader, Whole};
use crate::incoming::Incoming;

/// The data that comes next; `None` at the end.
fn next<B>(body: &mut B) -> Option<Result<Bytes, B::Error>>
where
    B: Body<Data = Bytes> + Unpin,
{
    match Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(frame))) => Some(Ok(frame.into_data().expect("data"))),
        Poll::Ready(Some(Err(error))) => Some(Err(error)),
        Poll::Ready(None) => None,
        Poll::Pending => panic!("this body never waits"),
    }
}

/// All the data of a body that doesn't fail.
#[track_caller]
fn all<B: Body<Data = Bytes> + Unpin>(mut body: B) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(data) = next(&mut body) {
        all.extend(data.ok().expect("no error"));
    }
    assert!(body.is_end_stream());
    assert!(next(&mut body).is_none());
    all
}

/// Returns the results one by one, then its end.
struct Script(Vec<io::Result<&'static [u8]>>);

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Ok(0);
        }
        let data = self.0.remove(0)?;
        buffer[..data.len()].copy_from_slice(data);
        Ok(data.len())
    }
}

#[test]
fn a_reader_is_read_to_its_end() {
    let body = Reader::new(Script(vec![
        Ok(b"ab"),
        Err(ErrorKind::Interrupted.into()),
        Ok(b"cd"),
    ]));
    assert_eq!(body.size_hint().exact(), None);
    assert_eq!(all(body), b"abcd");
    assert_eq!(all(Reader::new(io::empty())), b"");
}

#[test]
fn a_reader_of_known_length_reads_that_much() {
    let mut reader = &b"abcdef"[..];
    let mut body = Reader::sized(&mut reader, 4);
    assert_eq!(body.size_hint().exact(), Some(4));
    assert_eq!(next(&mut body).expect("data").expect("no error"), "abcd");
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.is_end_stream());
    assert!(next(&mut body).is_none());
    drop(body);
    assert_eq!(reader, b"ef");
    // Not even asked.
    let broken = Script(vec![Err(io::Error::other("broken"))]);
    assert_eq!(all(Reader::sized(broken, 0)), b"");
}

#[test]
fn a_reader_that_ends_early_is_an_error() {
    let mut body = Reader::sized(&b"abc"[..], 5);
    assert_eq!(next(&mut body).expect("data").expect("no error"), "abc");
    let error = next(&mut body).expect("an error").expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert!(error.to_string().contains("2 bytes"), "{error}");
    assert!(next(&mut body).is_none() && body.is_end_stream());
}

#[test]
fn a_reader_that_fails_is_dropped_at_once() {
    struct Failing(#[expect(dead_code, reason = "is dropped")] Rc<()>);
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("broken"))
        }
    }
    let open = Rc::new(());
    let mut body = Reader::new(Failing(Rc::clone(&open)));
    let error = next(&mut body).expect("an error").expect_err("an error");
    assert_eq!(error.to_string(), "broken");
    assert_eq!(Rc::strong_count(&open), 1);
    assert!(next(&mut body).is_none());
}

#[test]
fn a_reader_that_returns_more_than_it_read_causes_no_panic() {
    struct Liar;
    impl Read for Liar {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            Ok(buffer.len() + 1)
        }
    }
    assert_eq!(all(Reader::sized(Liar, 10)), [0; 10]);
}

#[test]
fn pieces_of_a_reader_have_at_most_64_kib() {
    let length = (64 << 10) * 3 + 5;
    let content: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
    let mut body = Reader::sized(&content[..], length as u64);
    let mut read = Vec::new();
    while let Some(piece) = next(&mut body) {
        let piece = piece.expect("no error");
        assert!(piece.len() <= 64 << 10);
        read.extend_from_slice(&piece);
    }
    assert!(read == content);
    // While pieces wait, they are different memory.
    let mut body = Reader::new(&content[..]);
    let pieces: Vec<Bytes> = std::iter::from_fn(|| next(&mut body))
        .map(|piece| piece.expect("no error"))
        .collect();
    assert!(pieces.concat() == content);
}

#[test]
fn small_pieces_of_a_reader_hold_little_memory() {
    let mut body = Reader::new(Script(vec![Ok(b"a"), Ok(b"b")]));
    let first = next(&mut body).expect("data").expect("no error");
    // Now nothing else owns the memory of the piece.
    drop(body);
    let memory = BytesMut::from(first).capacity();
    assert!(memory < 100, "{memory} bytes for one");
}

#[test]
fn chunks_are_asked_one_by_one() {
    let asked = Rc::new(Cell::new(0));
    let count = Rc::clone(&asked);
    let mut body = Chunks::new((1..).map(move |number| {
        count.set(number);
        format!("{number}\n")
    }));
    assert_eq!(body.size_hint().exact(), None);
    for number in 1..4 {
        let line = next(&mut body).expect("data").expect("no error");
        assert_eq!(line, format!("{number}\n"));
        assert_eq!(asked.get(), number);
    }
}

#[test]
fn chunks_end_once() {
    // An iterator that goes on after its end.
    let mut state = 0;
    let odd = std::iter::from_fn(|| {
        state += 1;
        (state % 2 == 1).then_some("a")
    });
    assert_eq!(all(Chunks::new(odd)), b"a");
    let mut body = Chunks::fallible([Ok("a"), Err(ErrorKind::NotFound), Ok("b")]);
    assert_eq!(next(&mut body).expect("data").expect("no error"), "a");
    let error = next(&mut body).expect("an error").expect_err("an error");
    assert_eq!(error, ErrorKind::NotFound);
    assert!(body.is_end_stream() && next(&mut body).is_none());
    let whole: [Result<Vec<u8>, io::Error>; 2] = [Ok(vec![1]), Ok(vec![2])];
    assert_eq!(all(Chunks::fallible(whole)), [1, 2]);
}

#[test]
fn any_whole_body_is_one_piece_of_known_length() {
    let bodies: [AnyBody; 9] = [
        b"abc".to_vec().into(),
        String::from("abc").into(),
        Bytes::from_static(b"abc").into(),
        b"abc".to_vec().into_boxed_slice().into(),
        Arc::<[u8]>::from(&b"abc"[..]).into(),
        (&b"abc"[..]).into(),
        "abc".into(),
        Cow::Borrowed("abc").into(),
        Cow::<[u8]>::Owned(b"abc".to_vec()).into(),
    ];
    for mut body in bodies {
        assert_eq!(body.size_hint().exact(), Some(3));
        assert!(!body.is_end_stream());
        assert_eq!(next(&mut body).expect("data").expect("no error"), "abc");
        assert_eq!(body.size_hint().exact(), Some(0));
        assert_eq!(all(body), b"");
    }
    for empty in [
        AnyBody::from(()),
        AnyBody::empty(),
        AnyBody::default(),
        "".into(),
    ] {
        assert_eq!(empty.size_hint().exact(), Some(0));
        assert_eq!(all(empty), b"");
    }
}

#[test]
fn bytes_that_are_shared_stay_shared() {
    let shared = Bytes::from(vec![1; 100]);
    let mut body = AnyBody::from(shared.clone());
    let data = next(&mut body).expect("data").expect("no error");
    assert_eq!(data.as_ptr(), shared.as_ptr());
    assert!(!data.is_unique());
}

#[test]
fn any_body_can_be_any_other() {
    let bodies: [(AnyBody, Option<u64>); 5] = [
        (Reader::sized(&b"abc"[..], 3).into(), Some(3)),
        (Reader::new(&b"abc"[..]).into(), None),
        (Chunks::new(["ab", "c"]).into(), None),
        (Chunks::fallible([Ok::<_, io::Error>("abc")]).into(), None),
        // The echo of a request.
        (Incoming::from("abc").into(), Some(3)),
    ];
    for (body, length) in bodies {
        assert_eq!(body.size_hint().exact(), length);
        assert!(!body.is_end_stream());
        assert_eq!(all(body), b"abc");
    }
}

/// A body with data of another type, which isn't in one piece, that waits and has trailers.
struct Foreign(u8);

impl Body for Foreign {
    type Data = bytes::buf::Chain<&'static [u8], &'static [u8]>;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.0 += 1;
        match self.0 {
            1 => Poll::Pending,
            2 => {
                let data = bytes::Buf::chain(&b"ab"[..], &b"cd"[..]);
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            3 => Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::new())))),
            _ => Poll::Ready(Some(Err("broken"))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0 > 3
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(7)
    }
}

#[test]
fn any_body_passes_on_all_that_a_body_says() {
    let mut body = AnyBody::new(Foreign(0));
    let mut poll = || Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    match poll() {
        Poll::Ready(Some(Ok(frame))) => assert_eq!(frame.into_data().expect("data"), "abcd"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(poll(), Poll::Ready(Some(Ok(frame))) if frame.is_trailers()));
    match poll() {
        Poll::Ready(Some(Err(error))) => assert_eq!(error.to_string(), "broken"),
        other => panic!("{other:?}"),
    }
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(7));
}

#[test]
fn debug_does_not_show_the_content() {
    let texts = [
        format!("{:?}", AnyBody::from("secret")),
        format!("{:?}", Chunks::new(["secret"])),
        format!("{:?}", Reader::new(&b"secret"[..])),
    ];
    for text in texts {
        assert!(!text.contains("secret") && !text.contains("115"), "{text}");
    }
}

/// What waits to be sent counts in `max_held`, where memory that the handler holds, too, doesn't.
#[test]
fn the_memory_of_a_readers_piece_is_its_own_and_at_most_twice_as_much_as_its_bytes() {
    /// Returns this many bytes at a time.
    struct Short(usize);
    impl Read for Short {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            buffer[..self.0].fill(b'x');
            Ok(self.0)
        }
    }
    for length in [1, 5_000, 17_000, 32_767, 32_768, 40_000, 64 << 10] {
        let mut body = Reader::new(Short(length));
        for _ in 0..3 {
            let piece = next(&mut body).expect("a piece").expect("no error");
            assert_eq!((piece.len(), piece.memory()), (length, length));
            let capacity = Vec::from(piece).capacity();
            assert!(capacity <= 2 * length, "{length}: {capacity}");
        }
    }
}
