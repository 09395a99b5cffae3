//! Tests of the pipe between the loop and the user of an upgraded connection.

use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use bytes::Bytes;
use http::Request;

use super::pipe::Wishes;
use super::*;

/// Counts its wake-ups.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

/// The two sides. The loop is notified by `notified`, the user's task is woken by `woken`.
struct Bench {
    pipe: Arc<Pipe>,
    upgraded: Upgraded,
    notified: Arc<Count>,
    woken: Arc<Count>,
}

fn offered(notified: &Arc<Count>) -> (Arc<Pipe>, Request<()>) {
    let pipe = Pipe::new(Arc::clone(notified).into());
    let mut request = Request::new(());
    offer(request.extensions_mut(), &pipe);
    (pipe, request)
}

impl Bench {
    fn new() -> Self {
        let (notified, woken) = (Arc::default(), Arc::<Count>::default());
        let (pipe, mut request) = offered(&notified);
        let mut upgrade = pin!(upgrade(&mut request));
        let waker = Arc::clone(&woken).into();
        let mut cx = Context::from_waker(&waker);
        assert!(upgrade.as_mut().poll(&mut cx).is_pending());
        pipe.open();
        assert_eq!(woken.take(), 1);
        let Poll::Ready(Ok(upgraded)) = upgrade.as_mut().poll(&mut cx) else {
            panic!("it isn't open");
        };
        Self {
            pipe,
            upgraded,
            notified,
            woken,
        }
    }

    fn with<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut Upgraded>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Option<Result<T, ErrorKind>> {
        let waker = Arc::clone(&self.woken).into();
        let mut cx = Context::from_waker(&waker);
        match poll(Pin::new(&mut self.upgraded), &mut cx) {
            Poll::Ready(result) => Some(result.map_err(|error| error.kind())),
            Poll::Pending => None,
        }
    }

    fn read(&mut self, most: usize) -> Option<Result<Vec<u8>, ErrorKind>> {
        let mut buffer = vec![0; most];
        let read = self.with(|upgraded, cx| upgraded.poll_read(cx, &mut buffer))?;
        Some(read.map(|length| buffer[..length].to_vec()))
    }

    fn write(&mut self, data: &[u8]) -> Option<Result<usize, ErrorKind>> {
        self.with(|upgraded, cx| upgraded.poll_write(cx, data))
    }

    fn close(&mut self) -> Option<Result<(), ErrorKind>> {
        self.with(|upgraded, cx| upgraded.poll_close(cx))
    }

    fn exchange(&self, unsent: usize) -> Wishes {
        self.pipe.exchange(unsent, false, QUEUE)
    }
}

const QUEUE: usize = crate::incoming::QUEUE;

#[test]
fn input_comes_out_in_order_and_then_its_end() {
    let mut bench = Bench::new();
    assert_eq!(bench.read(10), None);
    assert_eq!(bench.pipe.push("abc".into()), 3);
    assert_eq!(bench.woken.take(), 1);
    assert_eq!(bench.pipe.push("defgh".into()), 8);
    assert_eq!(bench.read(0), Some(Ok(Vec::new())));
    assert_eq!(bench.read(2), Some(Ok(b"ab".to_vec())));
    assert_eq!(bench.read(4), Some(Ok(b"cdef".to_vec())));
    bench.pipe.end_input();
    assert_eq!(bench.read(10), Some(Ok(b"gh".to_vec())));
    assert_eq!(bench.read(10), Some(Ok(Vec::new())));
    assert_eq!(bench.notified.take(), 0);
}

#[test]
fn the_loop_is_notified_when_half_of_the_input_was_read() {
    let mut bench = Bench::new();
    bench.pipe.push(vec![0; QUEUE].into());
    let half = QUEUE / 2;
    assert_eq!(
        bench.read(half - 1).map(|read| read.map(|it| it.len())),
        Some(Ok(half - 1))
    );
    assert_eq!(bench.notified.take(), 0);
    bench.read(1);
    assert_eq!(bench.notified.take(), 1);
    bench.read(half);
    assert_eq!((bench.notified.take(), bench.exchange(0).queued), (0, 0));
}

/// Otherwise it would count what was read as held, and while memory is short it would read no more.
#[test]
fn the_loop_is_notified_when_the_reader_waits_after_it_has_read_all() {
    let mut bench = Bench::new();
    bench.pipe.push("abc".into());
    assert_eq!(bench.read(2), Some(Ok(b"ab".to_vec())));
    assert_eq!(bench.read(2), Some(Ok(b"c".to_vec())));
    assert_eq!(bench.notified.take(), 0);
    assert_eq!((bench.read(2), bench.read(2)), (None, None));
    assert_eq!(bench.notified.take(), 1);
    assert_eq!(bench.exchange(0).queued, 0);
    assert_eq!(bench.read(2), None);
    assert_eq!(bench.notified.take(), 0, "the loop knows it");
}

/// Each piece takes memory beside its data, which isn't counted.
#[test]
fn single_bytes_that_wait_are_joined() {
    let mut bench = Bench::new();
    for count in 1..=QUEUE {
        let byte = [count as u8];
        assert_eq!(bench.pipe.push(Bytes::copy_from_slice(&byte)), count);
    }
    assert!(bench.pipe.pieces() < 100, "{}", bench.pipe.pieces());
    let all = bench.read(2 * QUEUE).expect("ready").expect("input");
    let expected = (1..=QUEUE).map(|count| count as u8);
    assert!(all.into_iter().eq(expected));
}

#[test]
fn output_waits_for_room() {
    let mut bench = Bench::new();
    assert_eq!(bench.write(b"abc"), Some(Ok(3)));
    assert_eq!(bench.write(b"def"), Some(Ok(3)));
    assert_eq!(bench.notified.take(), 1, "once until the loop has looked");
    assert_eq!(bench.exchange(0).output, b"abcdef");
    assert_eq!(bench.write(&[0; QUEUE]), Some(Ok(QUEUE - 6)));
    assert_eq!(bench.write(b"x"), None);
    assert_eq!(bench.exchange(6).output.len(), QUEUE - 6);
    assert_eq!(bench.write(b"x"), None);
    bench.exchange(QUEUE / 2 + 1);
    assert_eq!(bench.woken.take(), 0);
    bench.exchange(QUEUE / 2);
    assert_eq!(bench.woken.take(), 1);
    assert_eq!(bench.write(&[0; QUEUE]), Some(Ok(QUEUE / 2)));
    // The memory budget is full.
    bench.pipe.exchange(100, false, 4 << 10);
    assert_eq!(bench.write(&[0; QUEUE]), None);
    bench.pipe.exchange(100, false, 4 << 10);
    assert_eq!(bench.write(&[0; QUEUE]), Some(Ok((4 << 10) - 100)));
}

#[test]
fn what_was_sent_is_reported_only_if_that_matters() {
    let mut bench = Bench::new();
    assert_eq!(bench.write(b"abc"), Some(Ok(3)));
    assert!(!bench.exchange(0).awaits_sending, "there is room");
    assert_eq!(bench.write(&[0; QUEUE / 2]), Some(Ok(QUEUE / 2)));
    assert!(!bench.exchange(0).awaits_sending, "half is free");
    assert_eq!(bench.write(&[0; QUEUE]), Some(Ok(QUEUE / 2)));
    assert!(bench.exchange(QUEUE / 2).awaits_sending, "all is used");
    assert_eq!(bench.write(b"x"), None);
    assert!(bench.exchange(QUEUE).awaits_sending, "a write waits");
    assert!(!bench.exchange(0).awaits_sending, "it was woken");
    assert_eq!(bench.close(), None);
    assert!(bench.exchange(0).awaits_sending, "the end waits");
}

#[test]
fn close_returns_when_writing_was_shut_down() {
    let mut bench = Bench::new();
    assert_eq!(bench.write(b"abc"), Some(Ok(3)));
    assert_eq!(bench.close(), None);
    let wishes = bench.exchange(0);
    assert!(wishes.is_closing && !wishes.is_dropped && wishes.output == b"abc");
    assert_eq!(bench.write(b"x"), Some(Err(ErrorKind::BrokenPipe)));
    bench.woken.take();
    assert_eq!(bench.close(), None);
    bench.pipe.exchange(0, true, QUEUE);
    assert_eq!(bench.woken.take(), 1);
    assert_eq!(bench.close(), Some(Ok(())));
    bench.pipe.push("still".into());
    assert_eq!(bench.read(9), Some(Ok(b"still".to_vec())));
    bench.pipe.close(None);
    assert_eq!(
        (bench.read(9), bench.close()),
        (Some(Ok(Vec::new())), Some(Ok(())))
    );
}

#[test]
fn an_end_in_order_lets_the_rest_be_read() {
    let mut bench = Bench::new();
    bench.pipe.push("rest".into());
    bench.pipe.close(None);
    assert_eq!(bench.read(9), Some(Ok(b"rest".to_vec())));
    assert_eq!(bench.read(9), Some(Ok(Vec::new())));
    assert_eq!(bench.write(b"x"), Some(Err(ErrorKind::BrokenPipe)));
}

#[test]
fn a_failure_is_the_error_of_all_calls() {
    let mut bench = Bench::new();
    bench.pipe.push("lost".into());
    let kind = ErrorKind::TimedOut;
    bench.pipe.close(Some(kind));
    assert_eq!(bench.read(9), Some(Err(kind)));
    assert_eq!(bench.write(b"x"), Some(Err(kind)));
    assert_eq!(bench.close(), Some(Err(kind)));
    let flushed = bench.with(|upgraded, cx| upgraded.poll_flush(cx));
    assert_eq!(flushed, Some(Err(kind)));
}

/// A client that has ended its stream takes no output, or resets the connection.
#[test]
fn input_that_is_lost_does_not_look_complete() {
    let mut bench = Bench::new();
    bench.pipe.push("lost".into());
    bench.pipe.end_input();
    assert_eq!(bench.read(1), Some(Ok(b"l".to_vec())));
    let kind = ErrorKind::ConnectionReset;
    bench.pipe.close(Some(kind));
    assert_eq!(bench.read(9), Some(Err(kind)));

    let mut bench = Bench::new();
    bench.pipe.push("read".into());
    bench.pipe.end_input();
    assert_eq!(bench.read(9), Some(Ok(b"read".to_vec())));
    bench.pipe.close(Some(kind));
    assert_eq!(bench.read(9), Some(Ok(Vec::new())), "nothing is lost");
}

#[test]
fn dropping_the_users_side_notifies_the_loop() {
    let bench = Bench::new();
    let (pipe, notified) = (Arc::clone(&bench.pipe), Arc::clone(&bench.notified));
    pipe.push("unread".into());
    drop(bench);
    assert_eq!(notified.take(), 1);
    let wishes = pipe.exchange(0, false, QUEUE);
    assert!(wishes.is_dropped && wishes.queued == 0);
    assert_eq!(pipe.push("more".into()), 0);
}

#[test]
fn a_request_is_upgraded_once() {
    let notified = Arc::default();
    let (pipe, mut request) = offered(&notified);
    let mut clone = request.clone();
    assert!(!pipe.is_taken());
    let first = upgrade(&mut request);
    assert!(pipe.is_taken());
    let mut second = pin!(upgrade(&mut clone));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let Poll::Ready(Err(error)) = second.as_mut().poll(&mut cx) else {
        panic!("it was taken twice");
    };
    assert_eq!(error.kind(), crate::ErrorKind::Upgrade);
    drop(first);
    assert!(!pipe.is_taken());
    assert_eq!(notified.take(), 0, "nothing is open yet");
}

/// The user in one thread, the loop in another.
#[cfg(not(target_os = "wasi"))]
#[test]
fn bytes_cross_threads() {
    use std::thread;

    const BYTES: usize = 1 << 20;
    let mut bench = Bench::new();
    let pipe = Arc::clone(&bench.pipe);
    let user = thread::spawn(move || {
        let (mut sent, mut received) = (0, 0);
        while sent < BYTES || received < BYTES {
            let data = [sent as u8; 1000];
            if sent < BYTES
                && let Some(Ok(length)) = bench.write(&data[..(BYTES - sent).min(1000)])
            {
                sent += length;
            }
            if let Some(Ok(data)) = bench.read(3000) {
                received += data.len();
            }
        }
        bench
    });
    let (mut output, mut pushed) = (0, 0);
    while output < BYTES || pushed < BYTES {
        let wishes = pipe.exchange(0, false, QUEUE);
        output += wishes.output.len();
        let more = (QUEUE - wishes.queued).min(BYTES - pushed).min(7000);
        pushed += more;
        if more > 0 {
            pipe.push(vec![0; more].into());
        }
    }
    drop(user.join().expect("no panic"));
    assert_eq!((output, pushed), (BYTES, BYTES));
    assert!(pipe.exchange(0, false, QUEUE).is_dropped);
}
