//! The memory that clients can make the server hold.
//!
//! | what | where |
//! |---|---|
//! | the bytes that all connections hold, how many they may, and 503 for the rest | `budget` |
//! | the bytes that are counted for one connection | `account` |
//! | memory that is used again | `pools` |
//! | a body that is being received | `body` |
//! | the copies of heads, which requests share | `head_block` |
//!
//! The boxes of requests, which a thread uses again, are in `src/request.rs`, with their type.

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
