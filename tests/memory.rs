//! Checks memory with an allocator that counts. The peak of held memory is, within a tenth, what was really allocated:
//! a body is held once, from its first byte until the response with it is sent. And polls of handlers and tasks
//! allocate nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use mini_http::conn::{Connection, Context, Shared};
use mini_http::http::Request;
use mini_http::{Incoming, Instant, Limits, Response};

const MIB: usize = 1 << 20;

#[test]
fn an_announced_body_is_held_once_and_counted() {
    for length in [3 * MIB, 24 * MIB + 1, 100 * MIB] {
        for max_held in [4 * length, length + length / 3] {
            echo(&Body {
                length,
                max_held,
                is_chunked: false,
            });
        }
    }
}

#[test]
fn a_body_in_chunks_is_held_once_and_counted() {
    for length in [3 * MIB, 24 * MIB + 1, 100 * MIB] {
        for max_held in [4 * length, length + length / 3] {
            echo(&Body {
                length,
                max_held,
                is_chunked: true,
            });
        }
    }
}

/// Each round has a poll after the future has woken itself, and one after a sleep.
#[test]
fn polls_of_handlers_and_tasks_allocate_nothing() {
    async fn rounds(count: usize) {
        for _ in 0..count {
            let mut is_woken = false;
            poll_fn(|cx| {
                if is_woken {
                    return Poll::Ready(());
                }
                is_woken = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            mini_http::sleep(Duration::from_millis(1)).await;
        }
    }
    async fn handler(_: Request<Incoming>) -> Response<String> {
        for _ in 0..20 {
            mini_http::spawn(rounds(usize::MAX));
        }
        // Allocates the memory that later rounds use again.
        rounds(100).await;
        let before = COUNT.get();
        rounds(1000).await;
        Response::new((COUNT.get() - before).to_string())
    }
    let response = mini_http::test::run(handler, Request::new(()));
    assert_eq!(response.body(), "0");
}

#[derive(Debug)]
struct Body {
    length: usize,
    max_held: usize,
    is_chunked: bool,
}

impl Body {
    fn head(&self) -> String {
        let framing = match self.is_chunked {
            true => "Transfer-Encoding: chunked".to_owned(),
            false => format!("Content-Length: {}", self.length),
        };
        format!("POST / HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n")
    }

    fn chunk(&self, length: usize) -> String {
        match self.is_chunked {
            true => format!("{length:x}\r\n"),
            false => String::new(),
        }
    }

    fn chunk_end(&self) -> &'static str {
        if self.is_chunked { "\r\n" } else { "" }
    }

    fn end(&self) -> &'static str {
        if self.is_chunked { "0\r\n\r\n" } else { "" }
    }
}

/// Sends a body, receives it in the response, and compares the held memory with the allocated memory.
fn echo(body: &Body) {
    static PIECE: [u8; 1 << 16] = [b'x'; 1 << 16];
    let mut limits = Limits::default();
    limits.max_body = body.length as u64;
    limits.max_held = body.max_held;
    let mut shared = Shared::new();
    let mut cx = Context {
        now: Instant::default(),
        limits: &limits,
        shared: &mut shared,
    };
    let mut connection = Connection::new(1, None, &mut cx);
    let idle = Allocated::begin();

    let mut requests = 0;
    let mut feed = |connection: &mut Connection, cx: &mut Context<'_>, mut bytes: &[u8]| {
        while let Some(request) = connection.handle_input(cx, &mut bytes) {
            requests += 1;
            connection.respond(cx, Response::new(request.into_body()));
        }
    };
    feed(&mut connection, &mut cx, body.head().as_bytes());
    let mut missing = body.length;
    while missing > 0 {
        let piece = &PIECE[..missing.min(PIECE.len())];
        missing -= piece.len();
        feed(&mut connection, &mut cx, body.chunk(piece.len()).as_bytes());
        feed(&mut connection, &mut cx, piece);
        feed(&mut connection, &mut cx, body.chunk_end().as_bytes());
    }
    feed(&mut connection, &mut cx, body.end().as_bytes());
    let pending = connection.pending_output();
    while connection.pending_output() > 0 {
        connection.handle_written(&mut cx, 1 << 16);
    }

    assert_eq!(requests, 1, "{body:?}");
    assert!(pending > body.length, "{body:?} came back as {pending}");
    let (held, allocated) = (shared.held_and_peak().1, idle.peak());
    assert!(
        held.abs_diff(allocated) <= allocated / 10,
        "{body:?}: {held} held, {allocated} allocated"
    );
    assert!(allocated <= limits.max_held, "{body:?}: {allocated}");
}

/// The memory that this thread has allocated since `begin`.
struct Allocated {
    before: isize,
}

impl Allocated {
    fn begin() -> Self {
        PEAK.set(LIVE.get());
        Self { before: LIVE.get() }
    }

    fn peak(&self) -> usize {
        usize::try_from(PEAK.get() - self.before).expect("not below the start")
    }
}

thread_local! {
    // Constant and without a destructor, so that using them doesn't allocate.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    /// Allocations, and changes of their size.
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, which also counts the bytes that each thread has allocated.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(more: isize) {
    COUNT.set(COUNT.get() + usize::from(more > 0));
    LIVE.set(LIVE.get() + more);
    PEAK.set(PEAK.get().max(LIVE.get()));
}

#[allow(unsafe_code, reason = "the only way to see all allocations")]
// SAFETY: each method hands its arguments to the system's allocator and returns what that returns; the
// counters allocate nothing and can't unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `GlobalAlloc`, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The system moves the pages of large memory instead of copying it. So old and new are not counted together.
        count(size as isize - layout.size() as isize);
        // SAFETY: as above; `memory` is of `System`, as all of this allocator's is.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}
