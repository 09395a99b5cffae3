//! What the reactors of WASI share: which of many sockets to poll, where a poll costs time for each of its
//! list ([`Planner`]); a table whose keys are never mistaken for one another ([`Table`]), in which the event
//! loop has its connections, too; and log lines of calls ([`trace`]).
//!
//! # The scheme
//! A WASI runtime looks at every socket of the list for each poll, so thousands of idle connections
//! would tax every request of the few that are busy. A connection where something happened within
//! [`BUSY_FOR`] is *busy*, the others are *idle*. Each round polls the busy ones. The idle ones are
//! polled in turn, a window at a time, on a budget; and when nothing is busy, all are waited for
//! together. [`Planner`] decides that: a [`Plan`] goes out, and what was found comes in.
//!
//! So with n idle connections of cost *p* (measured), while others are busy, each is polled
//! within one turn: 13·p·n of working time, or 64·p·n of any time, but not sooner than 10 ms when n is
//! above 256: where a turn is cheap, busy connections get the rest. When nothing is busy, what
//! happens to an idle one is seen at once.
//!
//! # Invariants
//! - A slot is in [`Planner::busy`], or found by [`Planner::next_idle`], or was removed.
//! - Walking the idle goes by slot, and a slot never moves: none is passed over.
//!
//! # Out of scope
//! Polling, and all knowledge of what a socket is: slots are numbers.

mod budget;
mod key;
mod planner;
mod sets;
mod table;
pub mod trace;

pub use self::budget::TIME_SHARE;
pub use self::key::Key;
pub use self::planner::{BUSY_FOR, Found, Plan, Planner};
pub use self::table::Table;
