//! The programs in the documents are compiled as tests.

/// `README.md`.
#[doc = include_str!("../README.md")]
struct Readme;

/// `docs/addresses.md`.
#[doc = include_str!("../docs/addresses.md")]
struct Addresses;

/// `docs/api.md`.
#[doc = include_str!("../docs/api.md")]
struct Api;

/// `docs/async.md`.
#[doc = include_str!("../docs/async.md")]
struct Async;

/// `docs/operators.md`.
#[doc = include_str!("../docs/operators.md")]
struct Operators;

/// `docs/stopping.md`.
#[doc = include_str!("../docs/stopping.md")]
struct Stopping;

/// `docs/upgrade.md`.
#[doc = include_str!("../docs/upgrade.md")]
struct Upgrade;

/// `docs/workers.md`.
#[doc = include_str!("../docs/workers.md")]
struct Workers;
