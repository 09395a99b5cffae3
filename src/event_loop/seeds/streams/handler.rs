//! The handler of a world with futures: it follows the script of each request, and checks the bodies that it takes.

use std::cell::RefCell;
use std::error::Error;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use http::Response;
use http_body::Body;

use super::body::Scripted;
use super::script::{Beside, Hint, Outcome, Take, Wait};
use super::wait::{Bell, wait};
use super::watch::Watch;
use crate::event_loop::seeds::book::Book;
use crate::event_loop::seeds::requests::{Act, Planned};
use crate::executor::{Task, sleep, spawn};
use crate::handle::Handle;
use crate::incoming::{Incoming, IncomingError};

type Failed = Box<dyn Error + Send + Sync>;

/// The future of a request.
type Handling = Pin<Box<dyn Future<Output = Result<Response<Scripted>, Failed>>>>;

/// What the handlers of a world share.
#[derive(Clone)]
pub(in crate::event_loop::seeds) struct Tools {
    pub(in crate::event_loop::seeds) book: Rc<RefCell<Book>>,
    pub(in crate::event_loop::seeds) watch: Watch,
    pub(in crate::event_loop::seeds) handle: Handle,
    /// How long a call of the handler works.
    pub(in crate::event_loop::seeds) work: Duration,
}

/// A handler that follows the scripts.
pub(in crate::event_loop::seeds) fn handler(
    tools: Tools,
) -> impl FnMut(http::Request<Incoming>) -> Handling {
    move |request| {
        tools.watch.fake.work(tools.work);
        let tools = tools.clone();
        tools.watch.record_act();
        let (number, now) = (request.uri().path()[1..].parse(), tools.watch.fake.now());
        let planned = number.map_err(|_| "no number".to_string());
        let planned = planned.and_then(|number| tools.book.borrow_mut().begin(number, now));
        let text = planned.as_ref().err().cloned().unwrap_or_default();
        tools.watch.fault(planned.is_ok(), || text);
        Box::pin(async move { respond(tools, planned?, request.into_body()).await })
    }
}

/// The task that stops the server.
pub(in crate::event_loop::seeds) fn stopper(tools: Tools, at: Duration, within: Duration) -> Task {
    Box::pin(async move {
        sleep(at).await;
        let now = tools.watch.fake.now();
        tools.book.borrow_mut().stopped_at.get_or_insert(now);
        tools.watch.record_act();
        tools.handle.stop_within(within);
    })
}

async fn respond(
    tools: Tools,
    planned: Rc<Planned>,
    mut incoming: Incoming,
) -> Result<Response<Scripted>, Failed> {
    let script = planned.script();
    if let Some(limit) = script.limit {
        incoming.limit(limit);
    }
    if let Some(rate) = script.rate {
        incoming.min_rate(rate);
    }
    let _guard = tools.watch.own(planned.number);
    begin_beside(&tools, script.beside);
    let kept = take(&tools, &planned, incoming).await?;
    for &it in &script.waits {
        wait(tools.watch.clone(), it).await;
    }
    match script.outcome {
        Outcome::Response => {}
        Outcome::Error => return Err("as planned".into()),
        Outcome::Panic => std::panic::resume_unwind(Box::new("as planned")),
        Outcome::Never => pending::<()>().await,
    }
    let mut response = Response::builder()
        .status(planned.status)
        .header("number", planned.number);
    if let Hint::Field(length) = script.hint {
        response = response.header("content-length", length);
    }
    if planned.act == Act::RespondAndClose {
        response = response.header("connection", "close");
    }
    let body = Scripted::new(Rc::clone(&planned), tools.watch.clone(), kept);
    Ok(response.body(body)?)
}

fn begin_beside(tools: &Tools, beside: Beside) {
    let (watch, handle) = (tools.watch.clone(), tools.handle.clone());
    match beside {
        Beside::Nothing => {}
        Beside::Sleeper(time) => spawn(wait(watch, Wait::Sleep(time))),
        Beside::Stopping => spawn(async move {
            handle.stopping().await;
            watch.record_act();
        }),
        Beside::Endless => spawn(pending()),
        Beside::Panics => spawn(async { std::panic::resume_unwind(Box::new("as planned")) }),
    }
}

/// Does with the request's body what the script says. Returns what is to be kept of it.
async fn take(
    tools: &Tools,
    planned: &Rc<Planned>,
    incoming: Incoming,
) -> Result<Option<Incoming>, IncomingError> {
    let guard = tools.watch.own(planned.number);
    match planned.script().take {
        Take::Nothing => {}
        Take::Keep => return Ok(Some(incoming)),
        Take::All => {
            tools.watch.polls(planned.number);
            check(tools, planned, &incoming.bytes().await?, true);
        }
        Take::Frames(pause) => frames(tools, planned, incoming, Some(pause), usize::MAX).await?,
        Take::Some(count) => frames(tools, planned, incoming, None, count).await?,
        Take::Task => {
            let bell = Bell::new(&tools.watch);
            let (rung, result) = (Rc::clone(&bell), Rc::new(RefCell::new(None)));
            let found = Rc::clone(&result);
            let (watch, number) = (tools.watch.clone(), planned.number);
            spawn(async move {
                watch.polls(number);
                let all = incoming.bytes().await;
                *found.borrow_mut() = Some(all);
                rung.ring();
                drop(guard);
            });
            bell.wait().await;
            if let Some(all) = result.take() {
                check(tools, planned, &all?, true);
            }
        }
    }
    Ok(None)
}

async fn frames(
    tools: &Tools,
    planned: &Planned,
    mut incoming: Incoming,
    pause: Option<Wait>,
    count: usize,
) -> Result<(), IncomingError> {
    let mut all = Vec::new();
    for _ in 0..count {
        if let Some(pause) = pause {
            wait(tools.watch.clone(), pause).await;
        }
        tools.watch.polls(planned.number);
        let next = poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await;
        let Some(frame) = next else {
            check(tools, planned, &all, true);
            return Ok(());
        };
        tools.watch.record_act();
        if let Ok(data) = frame?.into_data() {
            all.extend_from_slice(&data);
        }
    }
    check(tools, planned, &all, false);
    Ok(())
}

fn check(tools: &Tools, planned: &Planned, received: &[u8], is_whole: bool) {
    let is_right = match is_whole {
        true => {
            let is_refused = planned.is_refused() || planned.script().exceeds_limit(planned);
            planned.body == received && !is_refused
        }
        false => planned.body.starts_with(received),
    };
    tools.watch.record_act();
    tools.watch.fault(is_right, || {
        format!("the body of request {}", planned.number)
    });
}
