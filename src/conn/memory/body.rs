//! The memory of a body that is coming: one piece, which grows with what has come.
//!
//! A body grows in few steps. Where several bodies grow beside one another, each step leaves a hole
//! that is too small for the next, and the memory of a wasm module never shrinks.

use super::{Account, allocated};
use crate::conn::{Context, Refusal, Shared};

/// What an announced length is believed for in any case, in bytes: a body up to this size is made
/// room for at once.
const BELIEVED: usize = 64 << 10;

/// The sizes that a body of announced length has one after the other: its length, a sixteenth of that,
/// and so on. So the last copy costs little, in time and in memory.
const LEAP: usize = 16;

/// The same for a body whose length is not announced, of what it may have at most. It holds up to four
/// times what has come, but leaves holes of a third of its size only; by doubling it would leave twice
/// as many of all sizes.
const STEP: usize = 4;

/// The least that a body grows by, if there can be so much of it, in bytes.
const LEAST_GROWTH: usize = 4 << 10;

/// Appends what has come to a body, within the budget. `missing` is what is still to come behind it,
/// where that is known.
pub(in crate::conn) fn append(
    body: &mut Vec<u8>,
    data: &[u8],
    missing: Option<u64>,
    account: &mut Account,
    cx: &mut Context<'_>,
) -> Result<(), Refusal> {
    if data.len() > body.capacity() - body.len() {
        let needed = body.len() + data.len();
        let whole = missing.map(|missing| {
            let missing = usize::try_from(missing).unwrap_or(usize::MAX);
            missing.saturating_add(needed)
        });
        let before = body.capacity();
        grow(body, needed, whole, cx)?;
        let grown = body.capacity().saturating_sub(before);
        account.grow(&mut cx.shared.budget, grown);
    }
    body.extend_from_slice(data);
    Ok(())
}

/// Gives back what a whole body has no use for: of one whose length was not announced, that may be
/// three times as much as the body itself. Less than a fourth stays, for it would be a hole that nobody
/// can use.
pub(in crate::conn) fn trim(body: &mut Vec<u8>) {
    if body.capacity() > BELIEVED && body.len() < body.capacity() / 4 * 3 {
        body.shrink_to_fit();
    }
}

/// Makes room for `needed` bytes at least, of the `whole` body if its length is known.
#[inline(never)]
fn grow(
    body: &mut Vec<u8>,
    needed: usize,
    whole: Option<usize>,
    cx: &mut Context<'_>,
) -> Result<(), Refusal> {
    let Shared {
        buffers, budget, ..
    } = &mut *cx.shared;
    let capacity = body.capacity();
    let is_scarce = budget.is_scarce(cx.limits);
    let most = capacity.saturating_add(budget.room(cx.limits));
    let largest = usize::try_from(cx.limits.max_body).unwrap_or(usize::MAX);
    let largest = whole.unwrap_or(largest).max(needed);
    // Nobody gets much for a few bytes while memory is scarce, or of what there is no room for as a
    // whole: else some thousand clients could fill the budget with next to nothing.
    let (factor, least) = match whole {
        Some(whole) if whole > most => (2, LEAST_GROWTH),
        Some(_) if is_scarce => (LEAP, LEAST_GROWTH),
        Some(_) => (LEAP, BELIEVED),
        None => (STEP, LEAST_GROWTH),
    };
    let wished = size_for(needed, largest, factor, least);
    if !is_scarce && let Some(mut former) = buffers.bodies.take(whole.unwrap_or(wished), most) {
        former.extend_from_slice(body);
        *body = former;
        return Ok(());
    }
    let at_least = |size: usize| size.max(needed).min(largest);
    let sizes = [
        wished,
        at_least(capacity.saturating_mul(2)),
        at_least(capacity + (capacity / 8).max(LEAST_GROWTH)),
    ];
    let granted = budget.grant(
        sizes.map(|size| size - capacity),
        needed - capacity,
        cx.limits,
    )?;
    allocated(body.try_reserve_exact(capacity + granted - body.len()))
}

/// The capacity that is enough for `needed` bytes, and at most `factor` times as much or `least`:
/// `largest`, divided by `factor` as often as it takes. So bodies that come beside one another have the
/// same sizes, and one can have the memory that another has left.
fn size_for(needed: usize, largest: usize, factor: usize, least: usize) -> usize {
    let most = needed.saturating_mul(factor).max(least);
    let mut size = largest;
    while size > most {
        size = size.div_ceil(factor);
    }
    size
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
        body: Vec<u8>,
        account: Account,
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
                body: Vec::new(),
                account: Account::default(),
                steps: 0,
            }
        }

        fn append(&mut self, data: &[u8], missing: Option<u64>) -> Result<(), Refusal> {
            let mut cx = Context {
                now: Instant::default(),
                limits: &self.limits,
                shared: &mut self.shared,
            };
            let before = self.body.capacity();
            append(&mut self.body, data, missing, &mut self.account, &mut cx)?;
            self.steps += usize::from(self.body.capacity() != before);
            assert_eq!(self.account.held(), self.body.capacity());
            assert_eq!(self.account.held(), self.shared.held());
            assert!(self.account.held() <= self.limits.max_held);
            Ok(())
        }

        /// The whole body; another one can come.
        fn finish(&mut self) -> Vec<u8> {
            self.account.set(&mut self.shared.budget, 0);
            std::mem::take(&mut self.body)
        }
    }

    /// So many bytes that no two pages are the same.
    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn all_that_came_is_there_however_it_came() {
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
                        // As one that was sent: the next has its memory.
                        bench.shared.buffers.bodies.give_back(body.into());
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_held_follows_what_has_come() {
        const GIB: usize = 1 << 30;
        for (max_held, missing, times) in [
            (3 * GIB, Some(GIB as u64), LEAP),
            (3 * GIB, None, STEP),
            // There is no room for all of it.
            (GIB, Some(GIB as u64), 2),
        ] {
            let mut bench = Bench::new(max_held);
            for _ in 0..1_000 {
                bench.append(&bytes(1_000), missing).expect("room");
                let (held, came) = (bench.body.capacity(), bench.body.len());
                assert!(
                    held <= (came * times).max(BELIEVED),
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
        assert_eq!(last, (LENGTH.div_ceil(LEAP), LENGTH));
        assert!(bench.steps <= 4, "{} steps", bench.steps);
    }

    #[test]
    fn while_memory_is_scarce_nobody_gets_much_for_a_few_bytes() {
        let mut bench = Bench::new(1 << 20);
        let mut others = Account::default();
        others.set(&mut bench.shared.budget, (1 << 19) + 1);
        let mut cx = Context {
            now: Instant::default(),
            limits: &bench.limits,
            shared: &mut bench.shared,
        };
        append(
            &mut bench.body,
            b"x",
            Some(100_000),
            &mut bench.account,
            &mut cx,
        )
        .expect("there is room");
        let held = bench.body.capacity();
        assert!(held <= LEAST_GROWTH, "{held} bytes for one");
    }

    #[test]
    fn the_budget_can_be_used_up() {
        let max_held = 2 * BELIEVED + 10_000;
        let mut bench = Bench::new(max_held);
        let fault = (0..)
            .find_map(|_| bench.append(&bytes(100), None).err())
            .expect("an end");
        assert_eq!(fault.status(), 503);
        let came = bench.body.len();
        assert!(came > max_held - LEAST_GROWTH, "{came} bytes");
        assert!(bench.steps < 20, "{} steps", bench.steps);
    }

    #[test]
    fn a_whole_body_gives_back_what_it_has_no_use_for() {
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
