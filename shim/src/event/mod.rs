//! [`Event`] and its list [`Events`]; [`Source`], the trait of everything that can be registered.

#[allow(clippy::module_inception, reason = "it has the type of that name")]
mod event;
mod events;
mod source;

pub use event::Event;
pub(crate) use event::Readiness;
pub use events::{Events, Iter};
pub use source::Source;
