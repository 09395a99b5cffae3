//! The functions of [`Server`] for access logs and counters, for the responses that it makes by itself, and for the
//! extensions of requests.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;

use super::{AccessLog, Callback, Chain, CountOnly, One, ResponseEvent};
use crate::conn::{CustomRefusal, Refusal};
use crate::server::Server;

/// Access logs, counters, the server's own responses, extensions.
impl Server {
    /// Calls a function for each request when its response was sent or given up: because the client has gone or was too
    /// slow, because the server was stopped, or because the response failed.
    ///
    /// It is called once for each request with a valid head, and for each response that the server makes by itself to
    /// one that it refuses; see [`ResponseEvent`]. It runs on the server's thread, between requests, so it has to
    /// return soon. It must be `Sync`, because several servers and threads may share it. If it panics, that is logged,
    /// and other functions and access logs get the event; with [`catch_panics`](Self::catch_panics) off, the panic is
    /// passed on.
    ///
    /// If this is called again, all functions are called. It also turns on
    /// [`count_responses`](Self::count_responses).
    ///
    /// ```no_run
    /// # fn main() -> mini_http::Result<()> {
    /// let mut server = mini_http::Server::new("127.0.0.1:3000")?;
    /// server.on_response(|event| {
    ///     if event.duration().as_secs() >= 1 {
    ///         println!("{} took {:?}", event.target(), event.duration());
    ///     }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_response<F>(&mut self, function: F) -> &mut Self
    where
        F: Fn(&ResponseEvent<'_>) + Send + Sync + 'static,
    {
        self.add_sink(Callback(function))
    }

    /// Writes a line for each response; see [`AccessLog`]. With several logs, each gets all lines.
    pub fn access_log(&mut self, log: &AccessLog) -> &mut Self {
        self.add_sink(log.clone())
    }

    /// Turns on the [`Counters`](crate::Counters) of responses: by class, of their bytes, by reasons of refusals, and
    /// the times of handlers. Without this, [`on_response`](Self::on_response) or [`access_log`](Self::access_log) they
    /// stay 0, because they need three more readings of the clock for each request.
    pub fn count_responses(&mut self) -> &mut Self {
        self.add_sink(CountOnly)
    }

    /// Makes the responses that the server sends by itself: to requests that it refuses, for handlers that fail, when
    /// it stops. So they can look like the application's own, and have fields like `Access-Control-Allow-Origin`,
    /// without which a browser hides the status from a script.
    ///
    /// The status is that of the [`Refusal`](crate::Refusal), and framing and closing stay the server's: the fields
    /// `Connection` (and those that it names), `Keep-Alive`, `Proxy-Connection`, `TE`, `Trailer`,
    /// `Transfer-Encoding`, `Upgrade` and `Content-Length` are dropped. If the method isn't known, no body is sent. A
    /// body or fields of more than 16 KiB aren't sent, nor is the response of a function that panics: then the client
    /// gets the server's own, and an error is logged.
    ///
    /// ```no_run
    /// # fn main() -> mini_http::Result<()> {
    /// let mut server = mini_http::Server::new("127.0.0.1:3000")?;
    /// server.on_refusal(|refusal| {
    ///     let mut response = mini_http::Response::new(format!("{{\"error\":\"{}\"}}", refusal.text()));
    ///     let fields = response.headers_mut();
    ///     fields.insert("content-type", "application/json".parse().expect("a valid value"));
    ///     fields.insert("access-control-allow-origin", "*".parse().expect("a valid value"));
    ///     response
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_refusal<F, B>(&mut self, function: F) -> &mut Self
    where
        F: Fn(&Refusal) -> Response<B> + Send + Sync + 'static,
        B: Into<Bytes> + 'static,
    {
        self.settings.on_refusal = Some(Arc::new(CustomRefusal(function)));
        self
    }

    /// Whether requests of asynchronous handlers have a [`ConnectionId`](crate::ConnectionId) and a
    /// [`LocalAddr`](crate::LocalAddr) among their extensions. Off by default, because each costs an allocation for
    /// each request. (A [`Request`](crate::Request) always has both.)
    pub fn connection_extensions(&mut self, on: bool) -> &mut Self {
        self.settings.connection_extensions = on;
        self
    }

    fn add_sink(&mut self, sink: impl One + 'static) -> &mut Self {
        let rest = self.settings.sink.take();
        self.settings.sink = Some(Arc::new(Chain { sink, rest }));
        self
    }
}
