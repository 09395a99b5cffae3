//! The memory that clients can make the server hold.
//!
//! | what | where |
//! |---|---|
//! | the bytes that all connections hold, how many they may, and 503 for the rest | `budget` |
//! | the bytes that one connection is counted with | `account` |
//! | memory that is used again | `pools` |
//! | a body that is coming | `body` |
//! | the copies of heads that requests share | `head_block` |
//!
//! One thing lies elsewhere: the boxes of requests that a thread uses again, with the type that they
//! are of (`src/request.rs`).

mod account;
mod body;
mod budget;
mod head_block;
mod pools;

pub(super) use account::Account;
pub(super) use body::GrowingBody;
pub(super) use budget::{Budget, allocated};
pub(super) use head_block::HeadBlock;
pub(super) use pools::BufferPool;
