//! Functions that check what must be true for any bytes that a client sends, and panic if it isn't. The fuzz targets,
//! the property tests and the replay of earlier findings share them.

// Each test program compiles this module, and none uses all of it.
#![allow(dead_code)]

pub(crate) mod choices;
pub(crate) mod chunked;
pub(crate) mod connection;
pub(crate) mod drive;
pub(crate) mod handler;
pub(crate) mod head;
pub(crate) mod proxy;
pub(crate) mod request;
pub(crate) mod streaming;
pub(crate) mod verdict;
