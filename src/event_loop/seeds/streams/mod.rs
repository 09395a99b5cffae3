//! What differs in worlds whose handlers are futures and whose bodies stream.
//!
//! | what must be so | where it is checked |
//! |---|---|
//! | a wait ends no later than the next wake-up; the loop doesn't spin; a sleep is not too short | `watch` |
//! | a request's future, its body and `Incoming` are dropped when its connection is closed | `watch`, `verdict` |
//! | a body is polled only while there is room, and not for HEAD | `verdict` |
//! | the handler gets the body that was sent; bytes of a body are no request | `handler` |
//! | every whole request gets its response, or there is a reason why not | `verdict` |

mod body;
mod handler;
mod script;
mod verdict;
mod wait;
mod watch;

pub(super) use self::handler::{Tools, handler, stopper};
pub(super) use self::script::{Part, Script, Wait, limits, request};
pub(super) use self::verdict::judge;
pub(super) use self::wait::wait;
pub(super) use self::watch::Watch;
