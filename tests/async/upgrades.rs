//! Upgraded connections over real sockets, used in another thread.

use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};

use futures_io::{AsyncRead, AsyncWrite};
use mini_http::http::{Request, StatusCode};
use mini_http::{CloseReason, Incoming, Response, Upgraded, upgrade};

use super::server::{Running, read_until};

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future in this thread: no executor of the server's.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Arc::new(Unpark(thread::current())).into();
    let (mut future, mut cx) = (pin!(future), Context::from_waker(&waker));
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Sends everything back, and its length at the end.
async fn echo(mut upgraded: Upgraded) -> io::Result<()> {
    let (mut buffer, mut count) = (vec![0; 10_000], 0);
    loop {
        let length = poll_fn(|cx| Pin::new(&mut upgraded).poll_read(cx, &mut buffer)).await?;
        if length == 0 {
            break;
        }
        count += length;
        write(&mut upgraded, &buffer[..length]).await?;
    }
    write(&mut upgraded, format!(" {count} bytes").as_bytes()).await?;
    poll_fn(|cx| Pin::new(&mut upgraded).poll_close(cx)).await
}

async fn write(upgraded: &mut Upgraded, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let written = poll_fn(|cx| Pin::new(&mut *upgraded).poll_write(cx, data)).await?;
        data = &data[written..];
    }
    Ok(())
}

/// Passes the connection to a thread of its own.
async fn handle(mut request: Request<Incoming>) -> Response<String> {
    let upgrade = upgrade(&mut request);
    thread::spawn(move || block_on(async { echo(upgrade.await.expect("an upgrade")).await }));
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("Upgrade", "echo");
    response.body(String::new()).expect("a valid head")
}

#[test]
fn a_connection_may_be_used_in_another_thread() {
    const LENGTH: usize = 1 << 20;
    let running = Running::start(|server| server.serve_async(handle));
    let clients: Vec<_> = (0..4)
        .map(|number: u8| {
            let mut stream = running.send(UPGRADE);
            thread::spawn(move || {
                let head = read_until(&mut stream, |text| text.ends_with("\r\n\r\n"));
                assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
                let sent = vec![number; LENGTH];
                let mut sender = stream.try_clone().expect("a clone");
                let sending = thread::spawn(move || {
                    sender.write_all(&sent).expect("the server reads");
                    sender.shutdown(Shutdown::Write).expect("it is open");
                });
                let mut all = Vec::new();
                stream.read_to_end(&mut all).expect("no reset");
                sending.join().expect("no panic");
                assert!(all[..LENGTH].iter().all(|byte| *byte == number));
                assert_eq!(&all[LENGTH..], b" 1048576 bytes");
            })
        })
        .collect();
    for client in clients {
        client.join().expect("no panic");
    }
    let counters = running.await_close();
    assert_eq!(counters.closed(CloseReason::Upgraded), 4);
    assert_eq!(counters.held, 0);
    running.stop();
}

/// A thread that uses a connection when the server ends sees an error, and so does the client.
#[test]
fn a_thread_sees_the_end_of_the_server() {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    let (sender, ends) = channel();
    let running = Running::start(move |server| {
        server.serve_async(|mut request: Request<Incoming>| {
            let (upgrade, sender) = (upgrade(&mut request), sender.clone());
            thread::spawn(move || {
                let result = block_on(async { echo(upgrade.await.expect("an upgrade")).await });
                sender.send(result.expect_err("the server ends").kind())
            });
            let response = Response::builder()
                .status(StatusCode::SWITCHING_PROTOCOLS)
                .header("Upgrade", "echo");
            std::future::ready(response.body(String::new()).expect("a valid head"))
        })
    });
    let mut stream = running.send(UPGRADE);
    read_until(&mut stream, |text| text.ends_with("\r\n\r\n"));
    running.handle.stop_within(Duration::from_millis(100));
    let kind = ends.recv_timeout(super::server::SOON).expect("it ends");
    assert_eq!(kind, io::ErrorKind::ConnectionAborted);
    let counters = running.await_close();
    assert_eq!(counters.closed(CloseReason::Stopped), 1);
    running.stop();
}
