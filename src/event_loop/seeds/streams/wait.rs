//! The waits of a script: a sleep, a future that wakes itself, and one that a task wakes.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::script::Wait;
use super::watch::{Due, Waiting, Watch};
use crate::executor::{sleep, spawn};

pub(in crate::event_loop::seeds) async fn wait(watch: Watch, wait: Wait) {
    match wait {
        Wait::Yield => yield_once(&watch).await,
        Wait::Sleep(time) => sleep_for(&watch, time).await,
        Wait::Ring(time, times) => ring(&watch, time, times).await,
    }
}

async fn yield_once(watch: &Watch) {
    let waiting = watch.wait_for(Due::Woken);
    let mut is_first = true;
    poll_fn(|cx| match std::mem::take(&mut is_first) {
        true => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        false => Poll::Ready(()),
    })
    .await;
    watch.record_act();
    drop(waiting);
}

async fn sleep_for(watch: &Watch, time: Duration) {
    let at = watch.fake.now() + time.as_nanos() as u64;
    let waiting = watch.wait_for(Due::At(at));
    sleep(time).await;
    waiting.end_at(at);
}

/// Waits until a task has woken it. The task wakes again later, when there may be another future.
async fn ring(watch: &Watch, time: Duration, times: u8) {
    let bell = Bell::new(watch);
    let task = (Rc::clone(&bell), watch.clone());
    spawn(async move {
        let (bell, watch) = task;
        for _ in 0..times {
            sleep_for(&watch, time).await;
            bell.ring();
        }
    });
    bell.wait().await;
    watch.record_act();
}

/// An event for which one future waits. Once it has rung, it stays so.
#[derive(Default)]
pub(super) struct Bell {
    has_rung: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    waiting: RefCell<Option<Waiting>>,
}

impl Bell {
    pub(super) fn new(watch: &Watch) -> Rc<Self> {
        let waiting = watch.wait_for(Due::Open);
        Rc::new(Self {
            waiting: RefCell::new(Some(waiting)),
            ..Self::default()
        })
    }

    pub(super) fn ring(&self) {
        self.has_rung.set(true);
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
            if let Some(waiting) = &*self.waiting.borrow() {
                waiting.set(Due::Woken);
            }
        }
    }

    pub(super) async fn wait(self: Rc<Self>) {
        let _end = Ending(&self);
        poll_fn(|cx| {
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            match self.has_rung.get() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

/// Records, when it is dropped, that no future waits for the bell any more.
struct Ending<'a>(&'a Bell);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        drop(self.0.waiting.take());
    }
}
