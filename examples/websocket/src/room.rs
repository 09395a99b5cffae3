//! [`Room`]: WebSockets that get each other's messages.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::Poll;

use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::{Message, Result};
use futures_channel::mpsc::{Receiver, Sender, channel};
use futures_util::StreamExt;
use mini_http::Stopping;

use crate::socket::{Event, Socket};

/// How many messages may wait for a member. A member that is further behind is removed, so that its queue stays small.
const WAITING: usize = 16;

/// The largest message, in bytes, that is sent to all. A member that is removed keeps those that wait for it until it
/// has taken them: at most 1 MiB, which `MAX_OPEN` in `main.rs` counts.
const MAX_MESSAGE: usize = 64 << 10;

#[derive(Default)]
pub(crate) struct Room {
    members: RefCell<Vec<Sender<Message>>>,
}

impl Room {
    /// Serves a member until it leaves.
    pub(crate) async fn join(&self, mut socket: Socket, mut stopping: Stopping) -> Result<()> {
        let mut inbox = self.enter();
        loop {
            match socket.next(&mut stopping, inbox.next()).await? {
                Event::Message(message) if message.len() > MAX_MESSAGE => {
                    socket.close::<()>(CloseCode::Size).await?;
                    return Ok(());
                }
                Event::Message(message) => {
                    self.send(&message);
                    // Many messages may have come at once: each is sent on before the next one is read.
                    give_way().await;
                }
                Event::Other(Some(message)) => socket.send(message).await?,
                Event::Other(None) => {
                    socket.close::<()>(CloseCode::Again).await?;
                    return Ok(());
                }
                Event::End => return Ok(()),
            }
        }
    }

    fn enter(&self) -> Receiver<Message> {
        let (sender, inbox) = channel(WAITING);
        let mut members = self.members.borrow_mut();
        // Not only by the next message: it may never come, and clients that come and go would fill the memory.
        members.retain(|member| !member.is_closed());
        members.push(sender);
        inbox
    }

    /// Sends a message to all members. Those that have left are removed, and those that are too slow.
    fn send(&self, message: &Message) {
        let mut members = self.members.borrow_mut();
        members.retain_mut(|member| member.try_send(message.clone()).is_ok());
    }
}

/// Lets the other tasks go on.
async fn give_way() {
    let mut has_waited = false;
    poll_fn(|cx| match std::mem::replace(&mut has_waited, true) {
        true => Poll::Ready(()),
        false => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_have_left_are_forgotten_without_a_message() {
        let room = Room::default();
        let first = room.enter();
        for _ in 0..1000 {
            drop(room.enter());
        }
        let last = room.enter();
        assert_eq!(room.members.borrow().len(), 2);
        drop((first, last));
    }
}
