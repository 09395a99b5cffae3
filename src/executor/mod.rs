//! The executor: lets an event loop run futures in addition to its connections.
//!
//! It knows nothing about connections and HTTP, and it has no loop of its own: the event loop drives it, and so
//! does [`Simulation`], which has no sockets and a virtual clock. An iteration of either is
//!
//! 1. [`Tasks::adopt_spawned`];
//! 2. [`Inbox::begin_wait`], and a wait: for no time if that returned `false`, else for at most
//!    [`LoopContext::next_sleep`];
//! 3. [`LoopContext::wake_sleeps`];
//! 4. [`Inbox::take`], and for each target [`TaskWaker::take`] and a poll, in
//!    [`LoopContext::enter`]: [`Tasks::poll`] does that for tasks.
//!
//! | part | what it does |
//! |---|---|
//! | `inbox.rs` | the queue of connections and tasks that were woken, from any thread |
//! | `context.rs` | the loop that `sleep` and `spawn` belong to |
//! | `sleep/` | sleeps: one deadline each |
//! | `tasks.rs` | spawned tasks |
//! | `waiting.rs` | tasks of a server that doesn't run yet |
//! | `simulation.rs` | a loop without sockets, in virtual time |

mod context;
mod inbox;
mod simulation;
mod sleep;
mod tasks;
pub(crate) mod waiting;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use self::sleep::{Sleep, sleep};
pub use self::tasks::spawn;

pub(crate) use self::context::LoopContext;
pub(crate) use self::inbox::{Inbox, Target, TaskWaker};
pub(crate) use self::simulation::{Simulation, Stuck};
pub(crate) use self::tasks::{Task, Tasks};

/// Locks a mutex whose data is consistent at each panic: nothing that can panic runs under the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
