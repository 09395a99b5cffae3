//! A response's body, which follows the script of its request.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http::header::HeaderValue;
use http_body::{Body, Frame, SizeHint};

use super::script::{End, Hint, Part};
use super::wait::wait;
use super::watch::{Guard, Watch};
use crate::event_loop::seeds::requests::Planned;
use crate::incoming::Incoming;

/// A body that follows the script of its request.
pub(in crate::event_loop::seeds) struct Scripted {
    planned: Rc<Planned>,
    watch: Watch,
    /// The next part.
    next: usize,
    /// Bytes that were produced.
    produced: usize,
    waiting: Option<Pin<Box<dyn Future<Output = ()>>>>,
    has_ended: bool,
    _kept: Option<Incoming>,
    _guard: Guard,
}

impl Scripted {
    pub(super) fn new(planned: Rc<Planned>, watch: Watch, kept: Option<Incoming>) -> Self {
        Self {
            _guard: watch.own(planned.number),
            planned,
            watch,
            next: 0,
            produced: 0,
            waiting: None,
            has_ended: false,
            _kept: kept,
        }
    }

    fn end(&mut self, end: End) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        if end == End::Never {
            return Poll::Pending;
        }
        self.watch.fault(!self.has_ended, || {
            format!(
                "the body of {} is polled after its end",
                self.planned.number
            )
        });
        self.has_ended = true;
        Poll::Ready(match end {
            End::Complete | End::Never => None,
            End::Error => Some(Err("as planned")),
            End::Panic => std::panic::resume_unwind(Box::new("as planned")),
            End::Trailers => {
                let mut trailers = HeaderMap::new();
                trailers.insert("last", HeaderValue::from(self.planned.number));
                Some(Ok(Frame::trailers(trailers)))
            }
        })
    }
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let this = &mut *self;
        let planned = Rc::clone(&this.planned);
        let script = planned.script();
        loop {
            if let Some(waiting) = &mut this.waiting {
                ready!(waiting.as_mut().poll(cx));
                this.waiting = None;
            }
            let part = script.parts.get(this.next);
            this.next += 1;
            match part {
                None => return this.end(script.end),
                Some(Part::Wait(it)) => {
                    this.waiting = Some(Box::pin(wait(this.watch.clone(), *it)))
                }
                Some(Part::Data(length)) => {
                    let from = this.produced;
                    this.produced += length;
                    this.watch.record_produced(planned.number, *length);
                    let data = Bytes::copy_from_slice(&planned.response[from..this.produced]);
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.planned.script().hint {
            Hint::Exact(length) => SizeHint::with_exact(length),
            Hint::Unknown | Hint::Field(_) => SizeHint::default(),
        }
    }
}
