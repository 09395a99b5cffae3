//! Doubly linked lists of slot numbers. Insertion and removal take constant time, and an element needs neither an
//! allocation nor a pointer.

use crate::deadlines::grow;

/// The neighbours of each slot in its list. A slot is in at most one list at a time.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: Vec<Link>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
}

/// The ends of one list.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    first: u32,
    last: u32,
}

/// No slot.
const NONE: u32 = u32::MAX;

impl List {
    pub(super) const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
    };

    /// The first slot: the one that has been in the list for the longest time.
    pub(super) fn first(&self) -> Option<usize> {
        (self.first != NONE).then_some(self.first as usize)
    }

    /// Appends a slot that is in no list.
    pub(super) fn push(&mut self, links: &mut Links, slot: usize) {
        links.make_room(slot);
        links.links[slot] = Link {
            before: self.last,
            after: NONE,
        };
        match self.last {
            NONE => self.first = slot as u32,
            last => links.links[last as usize].after = slot as u32,
        }
        self.last = slot as u32;
    }

    /// Moves a slot of this list to its end.
    pub(super) fn move_to_end(&mut self, links: &mut Links, slot: usize) {
        if self.last as usize != slot {
            self.remove(links, slot);
            self.push(links, slot);
        }
    }

    /// Removes a slot from this list.
    pub(super) fn remove(&mut self, links: &mut Links, slot: usize) {
        let Link { before, after } = links.links[slot];
        match before {
            NONE => self.first = after,
            before => links.links[before as usize].after = after,
        }
        match after {
            NONE => self.last = before,
            after => links.links[after as usize].before = before,
        }
    }
}

impl Links {
    fn make_room(&mut self, slot: usize) {
        let none = Link {
            before: NONE,
            after: NONE,
        };
        grow(&mut self.links, slot + 1, none);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(list: &List, links: &Links) -> Vec<u32> {
        let next = |slot: &u32| {
            let after = links.links[*slot as usize].after;
            (after != NONE).then_some(after)
        };
        std::iter::successors((list.first != NONE).then_some(list.first), next).collect()
    }

    #[test]
    fn keeps_the_order_through_removals_at_both_ends_and_between() {
        let (mut list, mut links) = (List::EMPTY, Links::default());
        for slot in [4, 0, 7, 2] {
            list.push(&mut links, slot);
        }
        assert_eq!(all(&list, &links), [4, 0, 7, 2]);
        list.remove(&mut links, 7);
        list.remove(&mut links, 4);
        list.push(&mut links, 4);
        assert_eq!(all(&list, &links), [0, 2, 4]);
        list.move_to_end(&mut links, 4);
        assert_eq!(all(&list, &links), [0, 2, 4]);
        list.move_to_end(&mut links, 0);
        assert_eq!(all(&list, &links), [2, 4, 0]);
        list.remove(&mut links, 4);
        list.remove(&mut links, 0);
        list.remove(&mut links, 2);
        assert_eq!(list.first(), None);
    }
}
