//! Worlds with upgraded connections: after a request that asks for it, bytes pass in both directions.
//!
//! | what must be so | where it is checked |
//! |---|---|
//! | bytes arrive in both directions as they were sent, none lost and none twice | `user`, `peer`, `verdict` |
//! | each direction holds at most 64 KiB | `link` |
//! | `close` is ready when all has been passed to the system | `user` |
//! | nothing waits longer than the bound; what is written is sent, whatever the other side does | `verdict` |
//! | a client that takes nothing for `rate_window` is closed, and no other limit of HTTP applies | `verdict` |
//! | each error of the user and each reason of a close has its cause | `verdict` |
//! | a response that doesn't upgrade is the one that is due, and the future fails | `verdict` |
//! | memory and file descriptors come back; the loop doesn't spin, and ends when it must | `world` |

mod link;
mod peer;
mod plan;
mod user;
mod verdict;
mod world;

pub(super) use self::world::run;
