//! Shared by the tests of the server's behaviour: a reader of the cases in Markdown, a strict parser for
//! responses, and the checks that run the cases against a server.

// Each test program compiles this module, and none uses all of it.
#![allow(dead_code)]

pub(crate) mod cases;
pub(crate) mod check;
pub(crate) mod machine;
pub(crate) mod notation;
pub(crate) mod responses;
pub(crate) mod serve;
pub(crate) mod socket;
