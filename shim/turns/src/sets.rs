//! The busy and the idle.

use std::num::NonZeroU32;

/// Places from 0 up, each absent, busy or idle.
#[derive(Debug, Default)]
pub(crate) struct Sets {
    places: Vec<Option<Place>>,
    busy: Vec<u32>,
    /// How many are idle.
    idle: usize,
    /// Where the walk over the idle goes on.
    cursor: usize,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    /// When something last happened here, in wrapping microseconds.
    active: u32,
    /// The position in the list of the busy, counted from 1, if it is there.
    busy_at: Option<NonZeroU32>,
}

impl Sets {
    /// Takes a place into the idle.
    pub(crate) fn insert(&mut self, place: u32) {
        let at = place as usize;
        if self.places.len() <= at {
            self.places.resize(at + 1, None);
        }
        self.remove(place);
        let (active, busy_at) = (0, None);
        self.places[at] = Some(Place { active, busy_at });
        self.idle += 1;
    }

    /// Forgets a place.
    pub(crate) fn remove(&mut self, place: u32) {
        self.rest(place);
        if let Some(found) = self.places.get_mut(place as usize)
            && found.take().is_some()
        {
            self.idle -= 1;
        }
    }

    /// Something has happened: the place is busy.
    pub(crate) fn touch(&mut self, place: u32, now: u64) {
        let Some(Some(found)) = self.places.get_mut(place as usize) else {
            return;
        };
        found.active = micros(now);
        if found.busy_at.is_none() {
            self.busy.push(place);
            found.busy_at = position(self.busy.len());
            self.idle -= 1;
        }
    }

    /// The place is idle, whatever has happened.
    pub(crate) fn rest(&mut self, place: u32) {
        let Some(Some(found)) = self.places.get_mut(place as usize) else {
            return;
        };
        let Some(at) = found.busy_at.take() else {
            return;
        };
        let at = at.get() as usize - 1;
        self.busy.swap_remove(at);
        self.idle += 1;
        if let Some(&moved) = self.busy.get(at)
            && let Some(Some(moved)) = self.places.get_mut(moved as usize)
        {
            moved.busy_at = position(at + 1);
        }
    }

    /// Takes those from the busy where nothing has happened for `nanos`.
    pub(crate) fn rest_if_quiet(&mut self, now: u64, nanos: u64) {
        let mut at = 0;
        while let Some(&place) = self.busy.get(at) {
            let active = self.places[place as usize].map_or(0, |found| found.active);
            if u64::from(micros(now).wrapping_sub(active)) * 1000 >= nanos {
                self.rest(place);
            } else {
                at += 1;
            }
        }
    }

    /// Whether a place is idle.
    pub(crate) fn is_idle(&self, place: u32) -> bool {
        matches!(self.places.get(place as usize), Some(Some(found)) if found.busy_at.is_none())
    }

    /// The busy places.
    pub(crate) fn busy(&self) -> &[u32] {
        &self.busy
    }

    /// How many are idle.
    pub(crate) const fn idle(&self) -> usize {
        self.idle
    }

    /// Every place, busy or idle.
    pub(crate) fn all(&self) -> impl Iterator<Item = u32> {
        let places = (0..).zip(&self.places);
        places.filter_map(|(place, found)| found.map(|_| place))
    }

    /// Appends the next `count` idle places in turn that are `wanted`; fewer if there are fewer.
    pub(crate) fn next_idle(
        &mut self,
        count: usize,
        wanted: impl Fn(u32) -> bool,
        to: &mut Vec<u32>,
    ) {
        let most = to.len() + count;
        for _ in 0..self.places.len() {
            if to.len() >= most {
                break;
            }
            if self.cursor >= self.places.len() {
                self.cursor = 0;
            }
            let place = u32::try_from(self.cursor).unwrap_or(u32::MAX);
            if self.is_idle(place) && wanted(place) {
                to.push(place);
            }
            self.cursor += 1;
        }
    }
}

fn micros(nanos: u64) -> u32 {
    // It wraps after 71 minutes, far beyond the times that are told apart.
    (nanos / 1000) as u32
}

fn position(count: usize) -> Option<NonZeroU32> {
    u32::try_from(count).ok().and_then(NonZeroU32::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_busy_or_idle_or_gone() {
        let mut sets = Sets::default();
        for place in 0..5 {
            sets.insert(place);
        }
        for place in [3, 1, 4] {
            sets.touch(place, 1_000_000);
        }
        assert_eq!((sets.busy(), sets.idle()), (&[3, 1, 4][..], 2));
        sets.remove(3);
        assert_eq!((sets.busy(), sets.idle()), (&[4, 1][..], 2));
        sets.touch(1, 5_000_000);
        sets.rest_if_quiet(6_000_000, 2_000_000);
        assert_eq!((sets.busy(), sets.idle()), (&[1][..], 3));
        assert!(sets.is_idle(4) && !sets.is_idle(1) && !sets.is_idle(3));
        assert_eq!(sets.all().collect::<Vec<_>>(), [0, 1, 2, 4]);
        sets.touch(3, 0);
        assert_eq!(sets.busy(), [1]);
    }

    #[test]
    fn the_idle_come_in_turn() {
        let mut sets = Sets::default();
        for place in 0..6 {
            sets.insert(place);
        }
        sets.touch(2, 0);
        let mut next = |count| {
            let mut places = Vec::new();
            sets.next_idle(count, |place| place != 4, &mut places);
            places
        };
        assert_eq!(next(3), [0, 1, 3]);
        assert_eq!(next(2), [5, 0]);
        assert_eq!(next(9), [1, 3, 5, 0]);
    }
}
