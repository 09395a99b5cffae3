//! The calls of `wasi:http`, by the bindings of the crate `wasip2`.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::log::warn;
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use wasip2::clocks::monotonic_clock;
use wasip2::http::types::{Fields, FutureTrailers, IncomingBody, OutgoingBody, OutgoingResponse};
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

pub use wasip2;
pub use wasip2::http::types::{IncomingRequest, ResponseOutparam};

use super::exchange;
use super::handler::Exported;
use super::head::{Asked, fields};
use super::host::{Gone, Host, Read, Wanted};
use crate::time::{Instant, nanos};

thread_local! {
    /// The handler of this instance, once it has had a request.
    static EXPORTED: RefCell<Option<Exported>> = const { RefCell::new(None) };
    /// Whether this instance has had a request.
    static IS_COMPONENT: Cell<bool> = const { Cell::new(false) };
}

/// Handles a request of the host. `make` is called for the first one.
pub fn handle(request: IncomingRequest, response: ResponseOutparam, make: fn() -> Exported) {
    IS_COMPONENT.set(true);
    EXPORTED.with_borrow_mut(|exported| {
        let exported = exported.get_or_insert_with(make);
        let asked = asked(&request);
        let mut host = WasiHost {
            response: Some(response),
            input: Input::Unread(request),
            output: None,
        };
        exchange::handle(&mut host, exported, asked);
    });
}

/// Whether this program is a component that [`export!`](crate::export) has made.
pub(crate) fn is_component() -> bool {
    IS_COMPONENT.get()
}

fn asked(request: &IncomingRequest) -> Asked {
    Asked {
        method: method(request.method()),
        path_with_query: request.path_with_query(),
        authority: request.authority(),
        fields: request.headers().entries(),
    }
}

fn method(method: wasip2::http::types::Method) -> Option<Method> {
    use wasip2::http::types::Method as Known;
    Some(match method {
        Known::Get => Method::GET,
        Known::Head => Method::HEAD,
        Known::Post => Method::POST,
        Known::Put => Method::PUT,
        Known::Delete => Method::DELETE,
        Known::Connect => Method::CONNECT,
        Known::Options => Method::OPTIONS,
        Known::Trace => Method::TRACE,
        Known::Patch => Method::PATCH,
        Known::Other(name) => return Method::from_bytes(name.as_bytes()).ok(),
    })
}

/// The host of one request.
struct WasiHost {
    /// Taken with the response's head.
    response: Option<ResponseOutparam>,
    input: Input,
    output: Option<Output>,
}

/// The request's body. Each pollable is dropped before what it belongs to, and each stream before its body: in the
/// order of the fields.
enum Input {
    /// The loop hasn't asked for it.
    Unread(IncomingRequest),
    Open {
        pollable: Option<Pollable>,
        stream: InputStream,
        body: IncomingBody,
    },
    Trailers {
        pollable: Option<Pollable>,
        future: FutureTrailers,
    },
    Ended,
}

/// The response's body, in the order in which the parts are dropped.
struct Output {
    pollable: Option<Pollable>,
    stream: OutputStream,
    body: OutgoingBody,
}

impl Host for WasiHost {
    fn now(&self) -> Instant {
        Instant::from_nanos(monotonic_clock::now())
    }

    fn read(&mut self, most: usize) -> Read {
        if let Input::Unread(request) = &self.input {
            match open(request) {
                Some(open) => self.input = open,
                None => return self.fail_input(),
            }
        }
        if let Input::Open { stream, .. } = &self.input {
            match stream.read(most as u64) {
                Ok(data) if data.is_empty() => return Read::Pending,
                Ok(data) => return Read::Data(Bytes::from(data)),
                Err(StreamError::Closed) => self.await_trailers(),
                Err(StreamError::LastOperationFailed(_)) => return self.fail_input(),
            }
        }
        self.read_trailers()
    }

    fn begin(&mut self, head: Response<()>, has_body: bool) {
        let Some(param) = self.response.take() else {
            return;
        };
        let response = OutgoingResponse::new(to_fields(head.headers()));
        // A new response has 200: so the usual one takes one call of the host less.
        if head.status() != StatusCode::OK {
            // Each status from 100 to 999 is valid.
            let _ = response.set_status_code(head.status().as_u16());
        }
        // The body is taken even if nothing is sent: otherwise jco ends.
        let body = response.body().ok();
        ResponseOutparam::set(param, Ok(response));
        if !has_body {
            // A response to HEAD states a length and has no body. Hosts may report that as an error, but it is right.
            let _ = body.map(|body| OutgoingBody::finish(body, None));
            return;
        }
        self.output = body.and_then(|body| {
            let stream = body.write().ok()?;
            Some(Output {
                pollable: None,
                stream,
                body,
            })
        });
    }

    fn room(&mut self) -> Result<usize, Gone> {
        let room = self.output()?.stream.check_write().map_err(|_| Gone)?;
        Ok(usize::try_from(room).unwrap_or(usize::MAX))
    }

    fn write(&mut self, data: &[u8]) -> Result<(), Gone> {
        self.output()?.stream.write(data).map_err(|_| Gone)
    }

    fn flush(&mut self) -> Result<(), Gone> {
        self.output()?.stream.flush().map_err(|_| Gone)
    }

    fn end(&mut self, trailers: Option<&HeaderMap>) {
        if let Some(Output {
            pollable,
            stream,
            body,
        }) = self.output.take()
        {
            drop(pollable);
            drop(stream);
            if OutgoingBody::finish(body, trailers.map(to_fields)).is_err() {
                warn!(target: "mini_http", "the host didn't accept the end of the response's body");
            }
        }
    }

    fn abort(&mut self) {
        // A body that isn't finished isn't complete.
        self.output = None;
    }

    fn wait(&mut self, wanted: Wanted) {
        self.subscribe(wanted);
        let clock = wanted
            .time
            .map(|time: Duration| monotonic_clock::subscribe_duration(nanos(time)));
        let mut list = Vec::with_capacity(3);
        list.extend(clock.as_ref());
        if wanted.read {
            list.extend(self.input.pollable());
        }
        if wanted.room
            && let Some(output) = &self.output
        {
            list.extend(output.pollable.as_ref());
        }
        // The host ends the program for an empty list. One pollable is polled like several: each function that a
        // component imports takes time in each new instance.
        if !list.is_empty() {
            poll(&list);
        }
    }
}

impl WasiHost {
    fn output(&mut self) -> Result<&mut Output, Gone> {
        self.output.as_mut().ok_or(Gone)
    }

    fn fail_input(&mut self) -> Read {
        self.input = Input::Ended;
        Read::Failed
    }

    /// The body's data is complete.
    fn await_trailers(&mut self) {
        if let Input::Open {
            pollable,
            stream,
            body,
        } = std::mem::replace(&mut self.input, Input::Ended)
        {
            drop(pollable);
            drop(stream);
            self.input = Input::Trailers {
                pollable: None,
                future: IncomingBody::finish(body),
            };
        }
    }

    fn read_trailers(&mut self) -> Read {
        let Input::Trailers { future, .. } = &self.input else {
            return Read::Failed;
        };
        let trailers = match future.get() {
            None => return Read::Pending,
            Some(Ok(Ok(trailers))) => trailers,
            Some(Ok(Err(_)) | Err(())) => return self.fail_input(),
        };
        self.input = Input::Ended;
        let trailers = trailers.map(|trailers| fields(trailers.entries()));
        Read::End(trailers.filter(|trailers| !trailers.is_empty()))
    }

    /// Makes the pollables that a wait needs. They are kept.
    fn subscribe(&mut self, wanted: Wanted) {
        if wanted.read {
            match &mut self.input {
                Input::Open {
                    pollable, stream, ..
                } => {
                    pollable.get_or_insert_with(|| stream.subscribe());
                }
                Input::Trailers { pollable, future } => {
                    pollable.get_or_insert_with(|| future.subscribe());
                }
                Input::Unread(_) | Input::Ended => {}
            }
        }
        if wanted.room
            && let Some(Output {
                pollable, stream, ..
            }) = &mut self.output
        {
            pollable.get_or_insert_with(|| stream.subscribe());
        }
    }
}

impl Input {
    fn pollable(&self) -> Option<&Pollable> {
        match self {
            Self::Open { pollable, .. } | Self::Trailers { pollable, .. } => pollable.as_ref(),
            Self::Unread(_) | Self::Ended => None,
        }
    }
}

fn open(request: &IncomingRequest) -> Option<Input> {
    let body = request.consume().ok()?;
    let stream = body.stream().ok()?;
    Some(Input::Open {
        pollable: None,
        stream,
        body,
    })
}

/// The fields for the host. Those that it forbids are left out.
fn to_fields(fields: &HeaderMap) -> Fields {
    if fields.is_empty() {
        return Fields::new();
    }
    let entry = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), value.as_bytes().to_vec())
    };
    let entries: Vec<_> = fields.iter().map(entry).collect();
    Fields::from_list(&entries).unwrap_or_else(|_| {
        let allowed = Fields::new();
        for (name, value) in &entries {
            if allowed.append(name, value).is_err() {
                warn!(target: "mini_http", "the host forbids the field {name}: it isn't sent");
            }
        }
        allowed
    })
}
