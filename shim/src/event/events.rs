//! [`Events`]: the list of events that a poll fills.

use std::fmt;
use std::slice;

use super::Event;

/// A list of events with a capacity, which a poll fills.
pub struct Events {
    events: Vec<Event>,
    capacity: usize,
}

impl Events {
    /// A list with room for `capacity` events, but at least for one. Events that don't fit are reported by the next
    /// poll.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            events: Vec::with_capacity(capacity.min(1024)),
            capacity,
        }
    }

    /// How many events there is room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether the last poll has reported nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The events that the last poll has reported.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.events.iter())
    }

    /// Removes all events.
    pub fn clear(&mut self) {
        self.events.clear();
    }

    pub(crate) fn has_room(&self) -> bool {
        self.events.len() < self.capacity
    }

    pub(crate) fn push(&mut self, event: Event) {
        self.events.push(event);
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = &'a Event;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// An iterator over [`Events`].
#[derive(Clone, Debug)]
pub struct Iter<'a>(slice::Iter<'a, Event>);

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Event;

    fn next(&mut self) -> Option<&'a Event> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }

    fn count(self) -> usize {
        self.0.count()
    }
}
