//! The memory of a body that is being received.
//!
//! When a piece of memory grows, it is moved and leaves a hole. Where several bodies grow side by side, the
//! holes lie between them, and the memory of a wasm module never shrinks. So the first 256 KiB of a body are
//! in blocks of one size, which aren't moved. A larger body is one piece, which needs no copy when it is
//! complete. It grows in few steps, all bodies have the same sizes, and a large one is moved only if there is
//! room for both places.

use std::iter::once;

use super::{Account, Budget, allocated};
use crate::conn::{Context, Refusal, Shared};
use crate::limits::Limits;

/// A body holds at most this many times what was received of it. Its last size is its announced length, or `max_body`
/// if none is announced; the size before is a sixth of that, and so on. The factor must be less than
/// `TURNOVER_WINDOWS` (`conn/deadlines.rs`): then a client must send more to take memory than to keep it for another
/// rate window. With two, the holes of 40 bodies in a module came to 0.4 times the bodies, with four to 0.2, with six
/// to 0.15. With eight, fewer bodies without a length would fit into the budget.
const FACTOR: usize = 6;

/// The least that a body grows by, if there is room for that, in bytes: 10,000 connections that have sent a
/// byte each hold 40 MiB. With half of it, small bodies would be moved once more.
const LEAST_GROWTH: usize = 4 << 10;

/// While a body of up to this many bytes is moved, its former place isn't counted: only one is moved at
/// a time, and 1 MiB is little compared with what the process takes anyway. With 64 KiB, the last bytes of
/// a small budget couldn't be used.
const MOVED_FREELY: usize = 1 << 20;

/// A complete body with at most this many bytes of memory keeps those that it doesn't use: they are soon used
/// again, and moving the body costs more.
const SMALL: usize = 64 << 10;

/// The size of a block, in bytes: what one read takes at most. A body up to this length is one piece.
const BLOCK: usize = 64 << 10;

/// Up to this length, a body is in blocks. It is copied once then, which takes some 20 microseconds. With
/// half of it, 500 bodies that share 64 MiB are moved while they grow, and leave holes; with double, the
/// copy costs an echo of 1 MiB twice as much.
const IN_BLOCKS: usize = 4 * BLOCK;

/// A body that is being received.
#[derive(Debug)]
pub(in crate::conn) struct GrowingBody {
    /// All of a small body, and of a large one; the first block of one in between.
    piece: Vec<u8>,
    /// The blocks after it.
    blocks: Vec<Vec<u8>>,
    length: usize,
}

impl GrowingBody {
    /// An empty body, in the memory of `piece`.
    pub(in crate::conn) fn new(piece: Vec<u8>) -> Self {
        Self {
            piece,
            blocks: Vec::new(),
            length: 0,
        }
    }

    /// Bytes that have been received.
    pub(in crate::conn) fn len(&self) -> usize {
        self.length
    }

    /// Bytes of memory.
    pub(in crate::conn) fn capacity(&self) -> usize {
        self.pieces().map(Vec::capacity).sum()
    }

    /// Appends what was received, within the budget. `missing` is the number of bytes that follow it,
    /// where that is known. Where it isn't, all of the body has at most `max_body` bytes.
    pub(in crate::conn) fn append(
        &mut self,
        data: &[u8],
        missing: Option<u64>,
        max_body: u64,
        account: &mut Account,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let most = match missing {
            Some(missing) => missing.saturating_add((self.length + data.len()) as u64),
            None => max_body,
        };
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut rest = data;
        loop {
            let last = self.blocks.last_mut().unwrap_or(&mut self.piece);
            let fits = rest.len().min(last.capacity() - last.len());
            last.extend_from_slice(&rest[..fits]);
            self.length += fits;
            rest = &rest[fits..];
            if rest.is_empty() {
                return Ok(());
            }
            let before = self.capacity();
            self.grow(rest.len(), most, missing.is_some(), cx)?;
            let grown = self.capacity().saturating_sub(before);
            account.grow(&mut cx.shared.budget, grown);
        }
    }

    /// The complete body, in one piece.
    pub(in crate::conn) fn into_piece(mut self, is_announced: bool) -> Result<Vec<u8>, Refusal> {
        if !self.blocks.is_empty() {
            // Not counted: only one is copied at a time.
            self.join(self.length)?;
        } else if !is_announced {
            trim(&mut self.piece);
        }
        Ok(self.piece)
    }

    /// Makes room for some of the next `more` bytes. The complete body has `most` bytes, or at most
    /// that many if its length was not announced.
    #[inline(never)]
    fn grow(
        &mut self,
        more: usize,
        most: usize,
        is_announced: bool,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let needed = self.length + more;
        let largest = most.max(needed);
        if self.move_to_pooled(needed, is_announced, largest, cx) {
            return Ok(());
        }
        let is_in_blocks = self.piece.capacity() <= BLOCK && needed <= IN_BLOCKS;
        if !is_in_blocks || largest <= BLOCK {
            return self.grow_piece(needed, largest, cx);
        }
        if self.piece.capacity() < BLOCK {
            return self.grow_piece(needed.min(BLOCK), BLOCK, cx);
        }
        let least = more.min(BLOCK);
        let budget = &cx.shared.budget;
        let free = match holds_most(self.capacity(), budget) {
            true => 0,
            false => cx.limits.max_held / 100 * FREE_BESIDE_BLOCKS,
        };
        let granted = budget.grant([BLOCK; 3], least, free, cx.limits)?;
        let mut block = Vec::new();
        allocated(block.try_reserve_exact(granted))?;
        self.blocks.push(block);
        Ok(())
    }

    /// Moves the body to memory from the pool, if there is some of the right size. Not while memory is scarce,
    /// because a client gets all of it for a few bytes.
    fn move_to_pooled(
        &mut self,
        needed: usize,
        is_announced: bool,
        largest: usize,
        cx: &mut Context<'_>,
    ) -> bool {
        let capacity = self.capacity();
        let Shared {
            buffers, budget, ..
        } = &mut *cx.shared;
        if budget.is_scarce(cx.limits) {
            return false;
        }
        let size = match is_announced {
            true => largest,
            false => size_for(needed, largest, FACTOR),
        };
        let room = budget.room_for(size.saturating_sub(capacity), cx.limits);
        let most = capacity.saturating_add(room);
        let Some(mut pooled) = buffers.bodies.take(size, most) else {
            return false;
        };
        self.pieces()
            .for_each(|piece| pooled.extend_from_slice(piece));
        self.piece = pooled;
        self.blocks = Vec::new();
        true
    }

    /// Makes the body one piece with room for `needed` bytes, which may grow to `largest`.
    fn grow_piece(
        &mut self,
        needed: usize,
        largest: usize,
        cx: &Context<'_>,
    ) -> Result<(), Refusal> {
        let (capacity, budget) = (self.capacity(), &cx.shared.budget);
        let size_by = |factor| size_for(needed, largest, factor).max(needed);
        let wished = size_by(FACTOR);
        let copy = left_free(capacity, needed, budget, cx.limits);
        let doubled = size_by(2).min(wished);
        let modest = capacity + (capacity / 8).max(LEAST_GROWTH);
        let modest = modest.clamp(needed, largest);
        // In many small steps it would leave as many holes.
        let least = if copy > 0 { doubled } else { needed };
        let granted = budget.grant(
            [wished, doubled, modest].map(|size| size.saturating_sub(capacity)),
            least.saturating_sub(capacity),
            copy,
            cx.limits,
        )?;
        self.join(capacity + granted)
    }

    /// Makes the body one piece of this size.
    fn join(&mut self, size: usize) -> Result<(), Refusal> {
        if self.blocks.is_empty() {
            let more = size - self.piece.len();
            return allocated(self.piece.try_reserve_exact(more));
        }
        let mut piece = Vec::new();
        allocated(piece.try_reserve_exact(size))?;
        self.pieces().for_each(|old| piece.extend_from_slice(old));
        self.piece = piece;
        self.blocks = Vec::new();
        Ok(())
    }

    fn pieces(&self) -> impl Iterator<Item = &Vec<u8>> {
        once(&self.piece).chain(&self.blocks)
    }
}

/// Frees unused memory of a complete body. If its length was not announced, that may be
/// five times as much as the body itself. Up to a fourth of all is kept, because it would only leave a hole that is
/// too small to be used.
fn trim(body: &mut Vec<u8>) {
    if body.capacity() > SMALL && body.len() < body.capacity() / 4 * 3 {
        body.shrink_to_fit();
    }
}

/// Bytes that must stay free in addition to those that a piece grows by: its own size, because it is there twice
/// while it is moved, or [`FOR_HOLES`] if that is more. A body that holds more than all others together is exempt.
/// Otherwise a single one couldn't have all of the budget.
fn left_free(capacity: usize, needed: usize, budget: &Budget, limits: &Limits) -> usize {
    if needed <= IN_BLOCKS || holds_most(capacity, budget) {
        return 0;
    }
    let moved = if capacity > MOVED_FREELY { capacity } else { 0 };
    moved.max(limits.max_held / 100 * FOR_HOLES)
}

/// Whether a body that holds `capacity` bytes holds more than all others together.
fn holds_most(capacity: usize, budget: &Budget) -> bool {
    capacity > budget.held_in_all().saturating_sub(capacity)
}

/// The part of the budget, in per cent, that the blocks after a body's first leave free. The memory of a
/// module never shrinks: the holes that these blocks leave between others are too small for a piece, so
/// memory for pieces comes on top. With nothing free, 500 bodies that share 64 MiB took 74 to 112 MiB of
/// a module, with an eighth 65 to 86.
const FREE_BESIDE_BLOCKS: usize = if cfg!(target_family = "wasm") { 12 } else { 0 };

/// The part of the budget, in per cent, that pieces leave free for the holes between them. The memory of a
/// module never shrinks: without this, 500 large bodies side by side take 1.9 times the budget there, with a
/// fourth or a third 1.2 to 1.7 times, with 45 per cent 1.5 times, and 1.3 times with
/// [`FREE_BESIDE_BLOCKS`]. With 50 per cent, a second body of 16 MiB doesn't fit into 64 MiB. Natively the
/// system takes the largest holes back: there, 1.2 times without this.
const FOR_HOLES: usize = if cfg!(target_family = "wasm") { 48 } else { 12 };

/// The capacity that is enough for `needed` bytes, and at most `factor` times as much or the least growth:
/// `largest`, divided by `factor` as often as it takes. So bodies that are received side by side have the
/// same sizes, and one can use memory that another has freed.
fn size_for(needed: usize, largest: usize, factor: usize) -> usize {
    let most = needed.saturating_mul(factor).max(LEAST_GROWTH);
    let mut size = largest;
    while size > most {
        size = size.div_ceil(factor);
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    /// A body that is received while others are.
    struct Bench {
        shared: Shared,
        limits: Limits,
        body: GrowingBody,
        account: Account,
        others: Account,
        /// How often it has grown.
        steps: usize,
    }

    impl Bench {
        fn new(max_held: usize) -> Self {
            let limits = Limits {
                max_held,
                ..Limits::default()
            };
            Self {
                shared: Shared::new(),
                limits,
                body: GrowingBody::new(Vec::new()),
                account: Account::default(),
                others: Account::default(),
                steps: 0,
            }
        }

        fn others_hold(&mut self, bytes: usize) {
            self.others.set(&mut self.shared.budget, bytes);
        }

        fn append(&mut self, data: &[u8], missing: Option<u64>) -> Result<(), Refusal> {
            let mut cx = Context {
                now: Instant::default(),
                limits: &self.limits,
                shared: &mut self.shared,
            };
            let before = self.body.capacity();
            let max_body = cx.limits.max_body;
            self.body
                .append(data, missing, max_body, &mut self.account, &mut cx)?;
            self.steps += usize::from(self.body.capacity() != before);
            assert_eq!(self.account.held(), self.body.capacity());
            let held = self.account.held() + self.others.held();
            assert_eq!(held, self.shared.held());
            assert!(held <= self.limits.max_held);
            Ok(())
        }

        /// The complete body. The next one begins.
        fn finish(&mut self) -> Vec<u8> {
            self.account.set(&mut self.shared.budget, 0);
            let empty = GrowingBody::new(Vec::new());
            let body = std::mem::replace(&mut self.body, empty);
            body.into_piece(true).expect("there is memory")
        }
    }

    /// This many bytes, which differ from page to page.
    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn a_body_is_what_was_received_in_pieces_of_any_size() {
        for length in [1, 65_535, 65_536, 65_537, 200_001] {
            let all = bytes(length);
            for piece in [999, 65_536, 150_000] {
                for is_announced in [true, false] {
                    let mut bench = Bench::new(1 << 20);
                    for round in 0..3 {
                        for (number, data) in all.chunks(piece).enumerate() {
                            let missing = length - (number * piece + data.len());
                            let missing = is_announced.then_some(missing as u64);
                            bench.append(data, missing).expect("there is room");
                        }
                        let body = bench.finish();
                        assert!(body == all, "{length} bytes by {piece}, round {round}");
                        // It was sent: the next one gets its memory.
                        bench.shared.buffers.bodies.give_back(body.into());
                    }
                }
            }
        }
    }

    #[test]
    fn memory_grows_with_what_was_received() {
        const GIB: usize = 1 << 30;
        // In the second case, there is no room for all of it.
        for (max_held, missing) in [(3 * GIB, Some(GIB)), (GIB, Some(GIB)), (3 * GIB, None)] {
            let missing = missing.map(|missing| missing as u64);
            let mut bench = Bench::new(max_held);
            for _ in 0..1_000 {
                bench.append(&bytes(1_000), missing).expect("room");
                let (held, came) = (bench.body.capacity(), bench.body.len());
                assert!(
                    held <= (came * FACTOR).max(LEAST_GROWTH),
                    "{held} bytes for {came} of {missing:?}"
                );
            }
        }
    }

    #[test]
    fn an_announced_body_has_exactly_its_length_after_a_few_steps() {
        const LENGTH: usize = 40_000_001;
        let mut bench = Bench::new(LENGTH);
        let mut last = (0, 0);
        while bench.body.len() < LENGTH {
            let data = bytes((LENGTH - bench.body.len()).min(1 << 16));
            let missing = LENGTH - bench.body.len() - data.len();
            let before = bench.body.capacity();
            bench.append(&data, Some(missing as u64)).expect("room");
            if bench.body.capacity() != before {
                last = (before, bench.body.capacity());
            }
        }
        assert_eq!(last, (LENGTH.div_ceil(FACTOR), LENGTH));
        // The first block, three more, and three pieces.
        assert!(bench.steps <= 7, "{} steps", bench.steps);
    }

    #[test]
    fn a_few_bytes_get_little_memory() {
        // Also while memory is scarce.
        for others in [0, (1 << 19) + 1] {
            for missing in [Some(100_000), None] {
                let mut bench = Bench::new(1 << 20);
                bench.others_hold(others);
                bench.append(b"x", missing).expect("there is room");
                let held = bench.body.capacity();
                assert!(held <= LEAST_GROWTH, "{held} bytes for one");
            }
        }
    }

    #[test]
    fn a_large_body_is_moved_only_if_both_places_fit() {
        const LENGTH: usize = 4 * MOVED_FREELY;
        let data = bytes(LENGTH / 2);
        for missing in [Some((LENGTH / 2 - 1) as u64), None] {
            // How many bytes are free in addition to what it has and what it will have.
            for (free, expected) in [(-1, Err(503)), (0, Ok(LENGTH))] {
                let mut bench = Bench::new(10 * LENGTH);
                bench.limits.max_body = LENGTH as u64;
                bench.body = GrowingBody::new(Vec::with_capacity(data.len()));
                bench.body.piece.extend_from_slice(&data);
                bench.body.length = data.len();
                bench.account.set(&mut bench.shared.budget, data.len());
                let free_for_holes = 10 * LENGTH / 100 * FOR_HOLES;
                let most = 10 * LENGTH - LENGTH - data.len().max(free_for_holes);
                bench.others_hold(most.checked_add_signed(-free).expect("it is more"));
                let moved = bench.append(b"x", missing);
                let moved = moved.map(|()| bench.body.capacity());
                let moved = moved.map_err(|refusal| refusal.status().as_u16());
                assert_eq!(moved, expected, "{free} free, {missing:?}");
            }
        }
    }

    #[test]
    fn the_one_body_that_holds_more_than_all_others_has_all_of_the_budget() {
        const MIB: usize = 1 << 20;
        let mut bench = Bench::new(12 * MIB);
        bench.others_hold(MIB);
        let data = bytes(MIB);
        for _ in 0..11 {
            bench.append(&data, None).expect("there is room");
        }
        assert_eq!(bench.shared.held(), 12 * MIB);
    }

    #[test]
    fn the_budget_can_be_used_up() {
        let max_held = 2 * SMALL + 10_000;
        let mut bench = Bench::new(max_held);
        let refusal = (0..)
            .find_map(|_| bench.append(&bytes(100), None).err())
            .expect("an end");
        assert_eq!(refusal.status(), 503);
        let came = bench.body.len();
        assert!(came > max_held - LEAST_GROWTH, "{came} bytes");
        assert!(bench.steps < 20, "{} steps", bench.steps);
    }

    #[test]
    fn a_complete_body_gives_back_much_unused_memory() {
        let mut body = Vec::with_capacity(200_000);
        body.resize(100_001, 1);
        trim(&mut body);
        assert_eq!(body.capacity(), 100_001);
        let mut nearly_full = Vec::with_capacity(200_000);
        nearly_full.resize(190_000, 1);
        trim(&mut nearly_full);
        assert_eq!(nearly_full.capacity(), 200_000);
        let mut small = Vec::with_capacity(8_000);
        trim(&mut small);
        assert_eq!(small.capacity(), 8_000, "it is used again as it is");
    }
}
