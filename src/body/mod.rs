//! Bodies of responses.

mod whole;

pub use whole::Body;
