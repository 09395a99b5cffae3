//! The memory that clients can make the server hold.
//!
//! | what | where |
//! |---|---|
//! | the bytes that all connections hold, how many they may, and 503 for the rest | `budget` |
//! | the bytes that one connection is counted with | `account` |
//! | memory that is used again | `pools` |
//! | a body that is coming | `body` |

mod account;
mod body;
mod budget;
mod pools;

pub(super) use account::Account;
pub(super) use body::{append, trim};
pub(super) use budget::{Budget, allocated};
pub(super) use pools::BufferPool;
