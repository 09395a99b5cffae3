//! The limits of a server with several workers: each worker takes shares of them.
//!
//! A limit on a number or on memory holds for the whole server. What no worker uses is in a `Pool`; what a worker
//! uses, and a little more, is its [`Share`]. As long as that is enough, a worker doesn't touch the pool, so that
//! processors don't wait for each other. When it needs more, it takes it; at the end of each iteration of its loop,
//! it gives back what it doesn't need. So it doesn't matter how unevenly connections are spread: what the server's
//! limit allows is refused only if it is in the small reserves of other workers.
//!
//! A worker that needs more than is left, and can wait for it, records that ([`Share::want`]). Then the others give
//! back their reserves, too, and it is woken as soon as there is something in the pool.
//!
//! A single worker has the limits themselves. On WASI, which has no threads, shares can't be made.

cfg_if::cfg_if! {
    if #[cfg(target_os = "wasi")] {
        mod none;
        pub(crate) use self::none::{Pools, Share};
    } else {
        mod pool;
        pub(crate) use self::pool::{Pools, Share};
    }
}
