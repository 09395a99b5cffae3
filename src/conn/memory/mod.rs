//! The memory that clients can make the server hold.
//!
//! | what | where |
//! |---|---|
//! | the bytes that all connections hold, and how many they may | `budget` |
//! | memory that is used again | `pools` |
//! | a body that is coming | `body` |

mod body;
mod budget;
mod pools;

pub(super) use body::Gathered;
pub(super) use budget::Budget;
pub(super) use pools::{BodyPool, BufferPool};
