//! What must be true whatever a client sends, as functions of arbitrary bytes that panic where it
//! is not. The fuzz targets, the property tests and the replay of old findings share them.

// Every program compiles this module for itself and none uses all of it.
#![allow(dead_code)]

pub(crate) mod choices;
pub(crate) mod chunked;
pub(crate) mod connection;
pub(crate) mod drive;
pub(crate) mod handler;
pub(crate) mod head;
pub(crate) mod request;
pub(crate) mod streaming;
pub(crate) mod verdict;
