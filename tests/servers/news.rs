//! What long polls (`/wait`) wait for: messages, which `/tell` brings.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use mini_http::Bytes;

/// The last message, and the wakers of those that wait for the next.
#[derive(Default)]
pub(crate) struct News {
    message: RefCell<Bytes>,
    /// How many messages there were.
    told: Cell<u64>,
    waiting: RefCell<BTreeMap<u64, Waker>>,
    /// How many have waited.
    begun: Cell<u64>,
}

impl News {
    /// The next message.
    pub(crate) fn next(&self) -> Next<'_> {
        let number = self.begun.get();
        self.begun.set(number + 1);
        let told = self.told.get();
        Next {
            news: self,
            number,
            told,
        }
    }

    /// A message for all that wait; their number.
    pub(crate) fn tell(&self, message: Bytes) -> usize {
        self.message.replace(message);
        self.told.set(self.told.get() + 1);
        let waiting = self.waiting.take();
        let count = waiting.len();
        waiting.into_values().for_each(Waker::wake);
        count
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }
}

/// Ready with the next message. Dropped, it waits no more.
pub(crate) struct Next<'a> {
    news: &'a News,
    number: u64,
    /// The messages that there were before.
    told: u64,
}

impl Future for Next<'_> {
    type Output = Bytes;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Bytes> {
        if self.news.told.get() > self.told {
            return Poll::Ready(self.news.message.borrow().clone());
        }
        let mut waiting = self.news.waiting.borrow_mut();
        waiting.insert(self.number, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Next<'_> {
    fn drop(&mut self) {
        self.news.waiting.borrow_mut().remove(&self.number);
    }
}
