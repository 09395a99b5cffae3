//! A socket whose readiness wakes a future, with the crate `async-io`.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use async_io::Async;
use futures_io::{AsyncRead, AsyncWrite};
use mini_http::sleep;

pub(crate) struct Socket(Async<TcpStream>);

impl Socket {
    pub(crate) async fn connect(address: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let (mut connected, mut late) = (
            pin!(Async::<TcpStream>::connect(address)),
            pin!(sleep(timeout)),
        );
        let stream = std::future::poll_fn(|cx| match connected.as_mut().poll(cx) {
            Poll::Pending => late
                .as_mut()
                .poll(cx)
                .map(|()| Err(io::ErrorKind::TimedOut.into())),
            connected => connected,
        });
        let stream = stream.await?;
        stream.get_ref().set_nodelay(true)?;
        Ok(Self(stream))
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    pub(crate) fn shut_down(&self) -> io::Result<()> {
        self.0.get_ref().shutdown(Shutdown::Write)
    }
}
