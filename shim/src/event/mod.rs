//! Events, and what can be registered for them.

#[allow(clippy::module_inception, reason = "it holds the type of that name")]
mod event;
mod events;
mod source;

pub use event::Event;
pub(crate) use event::Readiness;
pub use events::{Events, Iter};
pub use source::Source;
