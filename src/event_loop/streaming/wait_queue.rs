//! [`WaitQueue`]: connections that wait because of `max_requests`.

use std::collections::BTreeMap;

use poll_turns::Key;

/// Connections that wait, in the order in which they came. Any of them can leave: while none is served, many clients
/// may give up, and each removal takes few steps.
#[derive(Debug, Default)]
pub(super) struct WaitQueue {
    keys: BTreeMap<Ticket, Key>,
    /// How many have come so far.
    count: u64,
}

/// The number of a connection in the queue, which no other has had.
#[derive(Clone, Copy, Debug)]
// The tests count comparisons.
#[cfg_attr(not(test), derive(PartialEq, Eq, PartialOrd, Ord))]
pub(super) struct Ticket(u64);

impl WaitQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn push(&mut self, key: Key) -> Ticket {
        let ticket = Ticket(self.count);
        self.count += 1;
        self.keys.insert(ticket, key);
        ticket
    }

    /// Takes the connection that has waited longest.
    pub(super) fn pop(&mut self) -> Option<Key> {
        self.keys.pop_first().map(|(_, key)| key)
    }

    pub(super) fn remove(&mut self, ticket: Ticket) {
        self.keys.remove(&ticket);
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.keys.values().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::cmp::Ordering;

    use super::*;

    thread_local! {
        /// How often tickets were compared: the steps of a search for one.
        static STEPS: Cell<u32> = const { Cell::new(0) };
    }

    impl Ord for Ticket {
        fn cmp(&self, other: &Self) -> Ordering {
            STEPS.set(STEPS.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Ticket {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl PartialEq for Ticket {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl Eq for Ticket {}

    #[test]
    fn connections_leave_in_the_order_in_which_they_came() {
        let mut queue = WaitQueue::default();
        let key = |number| Key::new(number, 0);
        let tickets: Vec<_> = (0..4).map(|number| queue.push(key(number))).collect();
        queue.remove(tickets[1]);
        assert_eq!(queue.pop(), Some(key(0)));
        // Its slot may be used again.
        queue.push(key(1));
        queue.remove(tickets[1]);
        assert_eq!(queue.keys().collect::<Vec<_>>(), [key(2), key(3), key(1)]);
        assert!(
            [queue.pop(), queue.pop(), queue.pop()]
                .iter()
                .all(Option::is_some)
        );
        assert!(queue.pop().is_none() && queue.is_empty());
    }

    /// A step for each of the others would be too much.
    #[test]
    fn many_leave_in_few_steps() {
        const COUNT: u32 = 10_000;
        let mut queue = WaitQueue::default();
        let tickets: Vec<_> = (0..COUNT).map(|it| queue.push(Key::new(it, 0))).collect();
        // The first ones stay the longest, as where the oldest connections wait for a slow handler.
        for ticket in tickets.into_iter().rev() {
            STEPS.set(0);
            queue.remove(ticket);
            assert!((1..100).contains(&STEPS.get()), "{} steps", STEPS.get());
        }
        assert!(queue.is_empty());
    }
}
