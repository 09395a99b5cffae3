//! The memory of a body that is coming.

use std::iter::once;

use super::{Account, BodyPool, allocated};
use crate::conn::{Context, Fault, Shared};

/// A body of which more is coming: in blocks of one size while it is large, and in the end in one
/// piece.
///
/// Bodies that grow beside one another, each in one piece, leave holes that are too small for any of
/// them. A wasm module's memory never shrinks: it took nearly three times what was held.
#[derive(Debug)]
pub(in crate::conn) struct Gathered {
    /// All of a small body; and of any for which there was a former body's memory.
    first: Vec<u8>,
    /// The blocks behind it. All are full but for the last.
    more: Vec<Vec<u8>>,
    length: usize,
    /// The memory of all of them.
    capacity: usize,
}

impl Gathered {
    /// What an announced length is believed for, unless memory is scarce, and the most that a body
    /// grows by, in bytes.
    const BLOCK: usize = BodyPool::BLOCK;

    /// The least that a body grows by, if there can be so much of it.
    const LEAST_GROWTH: usize = 4 << 10;

    /// Nothing yet, and the memory of `first`, which is empty.
    pub(in crate::conn) fn new(first: Vec<u8>) -> Self {
        Self {
            length: 0,
            capacity: first.capacity(),
            first,
            more: Vec::new(),
        }
    }

    /// Bytes that have come.
    pub(in crate::conn) fn len(&self) -> usize {
        self.length
    }

    /// Bytes of memory.
    pub(in crate::conn) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Appends what has come, within the budget. `missing` is what is still to come behind it, where
    /// that is known.
    pub(in crate::conn) fn extend(
        &mut self,
        cx: &mut Context<'_>,
        account: &mut Account,
        mut data: &[u8],
        missing: Option<u64>,
    ) -> Result<(), Fault> {
        loop {
            let last = self.last();
            let room = last.capacity() - last.len();
            let (fits, rest) = data.split_at(room.min(data.len()));
            last.extend_from_slice(fits);
            self.length += fits.len();
            if rest.is_empty() {
                return Ok(());
            }
            data = rest;
            let before = self.capacity;
            self.grow(cx, data.len(), missing)?;
            let grown = self.capacity - before;
            account.grow(&mut cx.shared.budget, grown);
        }
    }

    /// The whole body in one piece.
    pub(in crate::conn) fn into_body(self, cx: &mut Context<'_>) -> Result<Vec<u8>, Fault> {
        if self.more.is_empty() {
            return Ok(self.first);
        }
        // Not within the budget: there is only one such copy at a time, and a body that is whole is
        // not to be refused.
        let mut body = self.pooled(cx, self.length).unwrap_or_default();
        allocated(body.try_reserve_exact(self.length))?;
        let bodies = &mut cx.shared.buffers.bodies;
        for block in once(self.first).chain(self.more) {
            body.extend_from_slice(&block);
            bodies.keep_block(block);
        }
        Ok(body)
    }

    /// Makes room for at least one of `more` bytes, for as many as is sensible. The last block is full.
    fn grow(
        &mut self,
        cx: &mut Context<'_>,
        more: usize,
        missing: Option<u64>,
    ) -> Result<(), Fault> {
        let coming = missing.map(|missing| {
            let missing = usize::try_from(missing).unwrap_or(usize::MAX);
            missing.saturating_add(more)
        });
        let is_scarce = cx.shared.budget.is_scarce(cx.limits);
        if let Some(coming) = coming
            && !is_scarce
            && self.move_to_pooled(cx, coming)
        {
            return Ok(());
        }
        if self.last().capacity() >= Self::BLOCK {
            self.more.push(Vec::new());
        }
        let is_first = self.more.is_empty();
        let last = self.last();
        let capacity = last.capacity();
        let most = Self::BLOCK - capacity;
        let exact = more.min(most);
        let generous = match coming {
            Some(coming) => coming.min(most),
            None if is_first => exact.max(capacity).min(most),
            None => most,
        };
        // Each step may copy the block, so there must be few of them however small the pieces are.
        let modest = generous.min(exact.max(capacity / 8).max(Self::LEAST_GROWTH));
        let Context { shared, limits, .. } = cx;
        let room = shared.budget.room(limits);
        // While memory is scarce, nobody gets a block for a few bytes: else some thousand clients
        // could fill the budget with next to nothing.
        let is_believed = !(is_first && is_scarce);
        let granted = if is_believed && generous <= room {
            generous
        } else {
            modest
        };
        shared.budget.admit(granted, limits)?;
        if granted == Self::BLOCK
            && let Some(block) = shared.buffers.bodies.take_block()
        {
            *last = block;
        } else {
            allocated(last.try_reserve_exact(granted))?;
        }
        self.capacity += self.last().capacity() - capacity;
        Ok(())
    }

    /// Goes on in the memory of a former body that has room for the whole of this one, of which
    /// `coming` bytes are still to come, if there is such.
    fn move_to_pooled(&mut self, cx: &mut Context<'_>, coming: usize) -> bool {
        let whole = self.length.saturating_add(coming);
        if whole <= Self::BLOCK || !self.more.is_empty() {
            return false;
        }
        let Some(mut pooled) = self.pooled(cx, whole) else {
            return false;
        };
        pooled.extend_from_slice(&self.first);
        self.capacity = pooled.capacity();
        self.first = pooled;
        true
    }

    /// The memory of a former body for `length` bytes, if there is such, and room within the budget
    /// for what it has more than this one.
    fn pooled(&self, cx: &mut Context<'_>, length: usize) -> Option<Vec<u8>> {
        let Shared {
            buffers, budget, ..
        } = &mut *cx.shared;
        let most = self.capacity.saturating_add(budget.room(cx.limits));
        buffers.bodies.take(length, most)
    }

    /// The block that is being filled.
    fn last(&mut self) -> &mut Vec<u8> {
        self.more.last_mut().unwrap_or(&mut self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::time::Instant;

    /// A body that comes alone.
    struct Bench {
        shared: Shared,
        limits: Limits,
        body: Gathered,
        account: Account,
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
                body: Gathered::new(Vec::new()),
                account: Account::default(),
            }
        }

        fn extend(&mut self, data: &[u8], missing: Option<u64>) -> Result<(), Fault> {
            let mut cx = Context {
                now: Instant::default(),
                limits: &self.limits,
                shared: &mut self.shared,
            };
            self.body
                .extend(&mut cx, &mut self.account, data, missing)?;
            assert_eq!(self.account.held(), self.body.capacity());
            assert_eq!(self.account.held(), self.shared.held());
            assert!(self.account.held() <= self.limits.max_held);
            Ok(())
        }

        /// The whole body; another one can come.
        fn finish(&mut self) -> Vec<u8> {
            let body = std::mem::replace(&mut self.body, Gathered::new(Vec::new()));
            self.account.set(&mut self.shared.budget, 0);
            body.into_body(&mut Context {
                now: Instant::default(),
                limits: &self.limits,
                shared: &mut self.shared,
            })
            .expect("there is memory")
        }
    }

    /// So many bytes that no two blocks are the same.
    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at % 251) as u8).collect()
    }

    const BLOCK: usize = Gathered::BLOCK;

    #[test]
    fn all_that_came_is_there_however_it_came() {
        for length in [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 200_001] {
            let all = bytes(length);
            for piece in [999, BLOCK - 1, BLOCK, 150_000] {
                for is_announced in [true, false] {
                    let mut bench = Bench::new(1 << 20);
                    for round in 0..3 {
                        for (number, data) in all.chunks(piece).enumerate() {
                            let missing = length - (number * piece + data.len());
                            let missing = is_announced.then_some(missing as u64);
                            bench.extend(data, missing).expect("there is room");
                        }
                        assert_eq!(bench.body.len(), length);
                        let body = bench.finish();
                        assert!(body == all, "{length} bytes by {piece}, round {round}");
                        // As one that was sent: the next has its memory.
                        bench.shared.buffers.bodies.give_back(body.into());
                    }
                }
            }
        }
    }

    #[test]
    fn no_more_than_a_block_is_held_beside_what_has_come() {
        for missing in [Some(1 << 40), None] {
            let mut bench = Bench::new(1 << 30);
            for _ in 0..1_000 {
                bench.extend(&bytes(1_000), missing).expect("room");
                let (held, came) = (bench.body.capacity(), bench.body.len());
                assert!(held <= came + BLOCK, "{held} bytes for {came}");
            }
        }
    }

    #[test]
    fn the_budget_can_be_used_up() {
        let max_held = 2 * BLOCK + 10_000;
        let mut bench = Bench::new(max_held);
        let fault = (0..)
            .find_map(|_| bench.extend(&bytes(100), None).err())
            .expect("an end");
        assert_eq!(fault.status(), 503);
        let came = bench.body.len();
        assert!(came > max_held - Gathered::LEAST_GROWTH, "{came} bytes");
    }

    #[test]
    fn blocks_are_used_again_and_not_hoarded() {
        let mut bench = Bench::new(1 << 30);
        let all = bytes(40 * BLOCK);
        bench.extend(&all, None).expect("room");
        bench.finish();
        let mut kept = Vec::new();
        while let Some(block) = bench.shared.buffers.bodies.take_block() {
            assert!(block.is_empty() && block.capacity() == BLOCK);
            kept.push(block);
        }
        assert_eq!(kept.len(), 32);
        let place = kept[0].as_ptr();
        bench.shared.buffers.bodies.keep_block(kept.swap_remove(0));
        bench.extend(&all[..3 * BLOCK], None).expect("room");
        assert_eq!(bench.body.first.as_ptr(), place);
    }
}
