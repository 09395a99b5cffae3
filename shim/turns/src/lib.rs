//! What the two WASI reactors share:
//!
//! - [`Planner`] decides which of many sockets to poll.
//! - [`Table`] holds values in slots, with keys that are not reused. The event loop keeps its connections in one.
//! - [`trace`] writes the log lines of calls.
//! - [`log`] has the macros for all log lines, which do nothing without the feature `log`.
//! - [`Interest`] says what a socket is polled for.
//!
//! # How the planner works
//! For each poll, a WASI runtime checks every socket in the list. So thousands of idle connections
//! would slow down every request of the few that are busy. A connection is *busy* if something has happened on it
//! within [`BUSY_FOR`], otherwise *idle*. Each iteration polls the busy connections. While there are any, the idle
//! ones are polled in turn, a window of them at a time, within a budget of time. When nothing is busy, one poll
//! waits for all connections. [`Planner`] makes these decisions: it returns a [`Plan`], and is passed what was
//! found.
//!
//! A *cycle* is the time in which each idle connection is polled once. If there are n of them, and polling one
//! costs *p* (which is measured), a cycle takes 13·p·n of the program's working time, or 64·p·n of elapsed time,
//! whichever is over first. But it takes at least 10 ms if n is above 256: a cheap cycle isn't repeated more often,
//! so that busy connections get the rest of the time. When nothing is busy, an event of an idle connection is found
//! at once.
//!
//! # Invariants
//! - Every slot is in [`Planner::busy`] or is found by [`Planner::next_idle`], until it is removed.
//! - Idle connections are visited in the order of their slots, and a slot never moves. So none is left out.
//!
//! # Out of scope
//! Polling itself, and anything about sockets: a slot is just a number.

mod budget;
mod interest;
mod key;
pub mod log;
mod planner;
mod sets;
mod table;
pub mod trace;

pub use self::budget::TIME_SHARE;
pub use self::interest::Interest;
pub use self::key::Key;
pub use self::planner::{BUSY_FOR, Found, Plan, Planner};
pub use self::table::Table;
