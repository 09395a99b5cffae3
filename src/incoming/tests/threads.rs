//! A body that is taken in another thread.

use std::thread::{self, Thread};

use super::*;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

/// Pushes as the loop does: only while there is room, and sleeping until it is notified.
fn send(total: usize, stream: &Stream) {
    let mut sent = 0;
    while sent < total {
        let seen = stream.receiver_state();
        if seen.is_dropped {
            return;
        }
        let room = QUEUE.saturating_sub(seen.queued).min(total - sent);
        if room == 0 {
            thread::park();
            continue;
        }
        // Sizes that don't divide the queue.
        let piece = room.min(7_001);
        let bytes: Vec<u8> = (sent..sent + piece).map(|at| at as u8).collect();
        stream.push(bytes.into());
        sent += piece;
    }
    stream.finish(None);
}

#[test]
fn a_body_can_be_taken_in_another_thread() {
    const TOTAL: usize = 4 << 20;
    let notify = Waker::from(Arc::new(Unpark(thread::current())));
    let (stream, receiver) = Stream::new(None, notify, u64::MAX);
    let mut incoming = Incoming::from(receiver);
    let taker = thread::spawn(move || {
        let mut taken = 0_usize;
        while let Some(frame) = block_on(std::future::poll_fn(|cx| {
            Pin::new(&mut incoming).poll_frame(cx)
        })) {
            for byte in frame.expect("no error").into_data().expect("data") {
                assert_eq!(byte, taken as u8);
                taken += 1;
            }
        }
        taken
    });
    send(TOTAL, &stream);
    assert_eq!(taker.join().expect("no panic"), TOTAL);
}

#[test]
fn all_of_a_body_can_be_awaited_in_another_thread() {
    let notify = Waker::from(Arc::new(Unpark(thread::current())));
    let (stream, receiver) = Stream::new(Some(6), notify, u64::MAX);
    let incoming = Incoming::from(receiver);
    stream.push(Bytes::from_static(b"abc"));
    let taker = thread::spawn(move || block_on(incoming.bytes()));
    while stream.receiver_state().gather != Some(u64::MAX - 3) {
        thread::park();
    }
    stream.whole(Bytes::from_static(b"def"));
    let body = taker.join().expect("no panic");
    assert_eq!(body.expect("a body"), "abcdef");
}

#[test]
fn a_body_dropped_in_another_thread_wakes_the_loop() {
    let notify = Waker::from(Arc::new(Unpark(thread::current())));
    let (stream, receiver) = Stream::new(None, notify, u64::MAX);
    let incoming = Incoming::from(receiver);
    let dropper = thread::spawn(move || drop(incoming));
    send(usize::MAX, &stream);
    dropper.join().expect("no panic");
    assert!(stream.receiver_state().is_dropped);
}
