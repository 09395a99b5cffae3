//! What the tests of the server's behaviour share: the cases written in Markdown, a strict reader
//! of answers, and the checks that bind the two to a subject.

// Every test program compiles this module for itself and none uses all of it.
#![allow(dead_code)]

pub(crate) mod answers;
pub(crate) mod cases;
pub(crate) mod check;
pub(crate) mod machine;
pub(crate) mod notation;
pub(crate) mod socket;
