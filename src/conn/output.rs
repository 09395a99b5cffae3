//! A connection's output: the bytes queued to be sent.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::memory::BufferPool;

/// The output queue. Heads and small bodies are copied into one buffer; large bodies are inserted
/// between its bytes without a copy.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// Heads and small bodies.
    buffer: Vec<u8>,
    /// How many bytes at the front of `buffer` are sent.
    sent: usize,
    /// Large bodies, in order.
    inserts: VecDeque<Insert>,
    /// Bytes of memory held by `inserts`.
    inserted: usize,
    /// Bytes left to send, in `buffer` and `inserts` together.
    pending: usize,
}

/// A large body in the output queue.
#[derive(Debug)]
struct Insert {
    /// It is sent before the buffer's byte at this index.
    at: usize,
    /// The part not sent yet.
    bytes: Bytes,
    /// Its full length in bytes.
    length: usize,
    /// Bytes of memory counted for it until all of it is sent; 0 while it is shared.
    memory: usize,
    /// For an `Arc` body, a second clone of it: `Bytes` can't report the reference count.
    share: Option<Arc<[u8]>>,
}

impl Insert {
    /// Whether nothing else refers to the body. Otherwise it isn't counted: `Bytes` doesn't show whether the
    /// handler or another connection holds it, and several connections would each count it.
    fn is_unshared(&self) -> bool {
        match &self.share {
            Some(share) => Arc::strong_count(share) == 2,
            None => self.bytes.is_unique(),
        }
    }
}

impl Output {
    /// Bodies up to this many bytes are copied into the buffer: cheaper than one more slice in a
    /// vectored write. At half, a response of 10 KiB needs such a slice; at double, a client that takes
    /// nothing holds twice as much for each response.
    const MAX_COPIED: usize = 16 << 10;

    /// The most slices in one vectored write: enough for four responses with large bodies. At half, a pipeline of four
    /// takes two writes; more would not fit into the system's buffer.
    pub(super) const MAX_SLICES: usize = 8;

    /// Bytes left to send.
    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    /// Bytes of memory held.
    pub(super) fn held(&self) -> usize {
        self.buffer.capacity() + self.inserted
    }

    /// Lets `write` append to the end of the buffer.
    pub(super) fn append(&mut self, pool: &mut BufferPool, write: impl FnOnce(&mut Vec<u8>)) {
        if self.buffer.capacity() == 0 {
            self.buffer = pool.take();
        }
        self.drop_sent();
        let before = self.buffer.len();
        write(&mut self.buffer);
        self.pending += self.buffer.len() - before;
    }

    /// The least room in the buffer for the framing of a part, in bytes: the size line of a chunk and its CRLF take
    /// up to 20.
    const FRAMING: usize = 64;

    /// Parts from this size on are inserted where the buffer would grow beyond what the pool keeps: cheaper
    /// than memory that is allocated for each write. A slice for each of many smaller ones would cost more.
    const MIN_INSERTED: usize = 1 << 10;

    /// Makes room for a head, and for a part of this length with its framing. The buffer gets only the memory
    /// that they need: it isn't taken from the pool, and isn't rounded up to a power of two.
    #[cold]
    pub(super) fn reserve_exactly(&mut self, part: usize) {
        self.move_to_front();
        let copied = if Self::is_small(part) { part } else { 0 };
        self.buffer.reserve_exact(copied + 4 * Self::FRAMING);
    }

    /// Appends a part of a response that streams. The buffer grows in powers of two, up to what the pool
    /// keeps: so a stream soon gets by with the memory that it has.
    pub(super) fn append_part(&mut self, pool: &mut BufferPool, part: Bytes, memory: usize) {
        if self.buffer.capacity() == 0 {
            self.buffer = pool.take();
        }
        self.drop_sent();
        let needed = self.buffer.len() + part.len() + Self::FRAMING;
        let fits = needed <= BufferPool::MAX_CAPACITY || part.len() < Self::MIN_INSERTED;
        if !Self::is_small(part.len()) || !fits {
            return self.insert(part, memory, None);
        }
        if needed > self.buffer.capacity() {
            let more = needed.next_power_of_two() - self.buffer.len();
            self.buffer.reserve_exact(more);
        }
        self.append(pool, |buffer| buffer.extend_from_slice(&part));
    }

    /// Whether a body of `length` bytes is to be appended, not inserted.
    pub(super) const fn is_small(length: usize) -> bool {
        length <= Self::MAX_COPIED
    }

    /// Appends a large body without copying it. `memory` is how many bytes it holds until it is
    /// sent; `share` is a clone of it if it is an `Arc`.
    pub(super) fn insert(&mut self, bytes: Bytes, memory: usize, share: Option<Arc<[u8]>>) {
        self.pending += bytes.len();
        self.inserted += memory;
        self.inserts.push_back(Insert {
            at: self.buffer.len(),
            memory,
            length: bytes.len(),
            bytes,
            share,
        });
    }

    /// Counts bodies that were shared when they were inserted, and no longer are: the handler has dropped
    /// its reference, and other connections have sent theirs.
    pub(super) fn recount(&mut self) {
        for insert in &mut self.inserts {
            if insert.memory == 0 && insert.is_unshared() {
                insert.memory = insert.length;
                self.inserted += insert.memory;
            }
        }
    }

    /// Removes the sent bytes from the buffer once they are more than half of it. Otherwise a client
    /// that never takes all of its output would make the buffer grow without bound.
    fn drop_sent(&mut self) {
        if self.sent > self.buffer.len() / 2 {
            self.move_to_front();
        }
    }

    fn move_to_front(&mut self) {
        self.buffer.drain(..self.sent);
        for insert in &mut self.inserts {
            insert.at -= self.sent;
        }
        self.sent = 0;
    }

    /// Fills `slices` with the next bytes to send, and returns how many it filled.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        // The common case: no large body.
        if self.inserts.is_empty()
            && self.pending > 0
            && let Some(first) = slices.first_mut()
        {
            *first = IoSlice::new(&self.buffer[self.sent..]);
            return 1;
        }
        let mut filled = 0;
        let mut from = self.sent;
        let mut put = |bytes: &'a [u8]| {
            if bytes.is_empty() || filled == slices.len() {
                return;
            }
            slices[filled] = IoSlice::new(bytes);
            filled += 1;
        };
        for insert in self.inserts.iter().take(Self::MAX_SLICES) {
            put(&self.buffer[from..insert.at]);
            put(&insert.bytes);
            from = insert.at;
        }
        if self.inserts.len() <= Self::MAX_SLICES {
            put(&self.buffer[from..]);
        }
        filled
    }

    /// Removes the first `count` bytes, which are sent. If nothing is left, and nothing follows soon, call
    /// [`release`](Self::release).
    pub(super) fn advance(&mut self, mut count: usize, pool: &mut BufferPool) {
        self.pending -= count;
        while let Some(insert) = self.inserts.front_mut() {
            let before = insert.at - self.sent;
            if count < before {
                break;
            }
            count -= before;
            self.sent = insert.at;
            if count < insert.bytes.len() {
                insert.bytes.advance(count);
                return;
            }
            count -= insert.bytes.len();
            self.inserted -= insert.memory;
            pool.bodies.give_back(std::mem::take(&mut insert.bytes));
            self.inserts.pop_front();
        }
        self.sent += count;
        if self.pending == 0 {
            self.buffer_sent(pool);
        }
    }

    /// Drops the remaining output; the memory returns to the pool.
    pub(super) fn clear(&mut self, pool: &mut BufferPool) {
        self.buffer_sent(pool);
        self.release();
        self.pending = 0;
    }

    /// Frees the memory of the list of large bodies. A response that streams uses it again until it ends.
    pub(super) fn release(&mut self) {
        if self.inserts.capacity() > 0 {
            self.inserts = VecDeque::new();
            self.inserted = 0;
        }
    }

    fn buffer_sent(&mut self, pool: &mut BufferPool) {
        pool.give_back(&mut self.buffer);
        self.sent = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> (Output, Vec<u8>, BufferPool) {
        let (mut output, mut pool) = (Output::default(), BufferPool::default());
        let mut all = Vec::new();
        for (head, body) in [("one", "11111"), ("", "22"), ("three", "3"), ("four", "")] {
            output.append(&mut pool, |buffer| {
                buffer.extend_from_slice(head.as_bytes())
            });
            if !body.is_empty() {
                output.insert(Bytes::copy_from_slice(body.as_bytes()), body.len(), None);
            }
            all.extend_from_slice(head.as_bytes());
            all.extend_from_slice(body.as_bytes());
        }
        (output, all, pool)
    }

    fn front(output: &Output) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); Output::MAX_SLICES];
        let count = output.slices(&mut slices);
        slices[..count]
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect()
    }

    #[test]
    fn bytes_are_sent_in_order_in_steps_of_any_size() {
        for step in 1..20 {
            let (mut output, all, mut pool) = filled();
            let mut sent = Vec::new();
            while output.pending() > 0 {
                let bytes = front(&output);
                let count = step.min(bytes.len());
                sent.extend_from_slice(&bytes[..count]);
                output.advance(count, &mut pool);
            }
            assert_eq!(sent, all, "in steps of {step}");
            assert_eq!(output.held(), 0);
        }
    }

    #[test]
    fn a_large_body_is_held_until_its_last_byte_is_sent() {
        let (mut output, mut pool) = (Output::default(), BufferPool::default());
        output.insert(Bytes::from(vec![1; 1000]), 1000, None);
        output.advance(999, &mut pool);
        assert_eq!(output.held(), 1000);
        output.advance(1, &mut pool);
        assert_eq!(output.held(), 0);
    }

    #[test]
    fn the_buffer_is_bounded_if_output_is_never_fully_sent() {
        let (mut output, mut pool) = (Output::default(), BufferPool::default());
        let (mut all, mut sent) = (Vec::new(), Vec::new());
        for number in 0..10_000u32 {
            let text = number.to_string();
            output.append(&mut pool, |buffer| {
                buffer.extend_from_slice(text.as_bytes())
            });
            all.extend_from_slice(text.as_bytes());
            if number % 7 == 0 {
                output.insert(Bytes::from(vec![b'-'; 3]), 3, None);
                all.extend_from_slice(b"---");
            }
            let bytes = front(&output);
            let count = output.pending().saturating_sub(5).min(bytes.len());
            sent.extend_from_slice(&bytes[..count]);
            output.advance(count, &mut pool);
            assert!(output.held() <= 128, "{} held", output.held());
        }
        sent.extend(front(&output));
        assert_eq!(sent, all);
    }

    #[test]
    fn parts_use_the_same_memory_again() {
        for length in [10, 1000, 4000, 16_384, 16_385, 60_000] {
            let (mut output, mut pool) = (Output::default(), BufferPool::default());
            let mut places = Vec::new();
            for _ in 0..4 {
                while output.pending() < 64 << 10 {
                    output.append(&mut pool, |buffer| buffer.extend_from_slice(b"framing"));
                    output.append_part(&mut pool, Bytes::from(vec![b'x'; length]), length);
                }
                places.push((output.buffer.as_ptr(), output.inserts.capacity()));
                let all = output.pending();
                assert!(
                    output.held() <= all + (64 << 10),
                    "{length}: {}",
                    output.held()
                );
                while output.pending() > 0 {
                    let count = front(&output).len();
                    output.advance(count, &mut pool);
                }
                assert_eq!(output.held(), 0);
            }
            assert!(
                length < 100 || places[1..].iter().all(|place| *place == places[1]),
                "{length}"
            );
            output.release();
            assert_eq!(output.inserts.capacity(), 0);
        }
    }

    #[test]
    fn many_large_bodies_stay_in_order() {
        let (mut output, mut pool) = (Output::default(), BufferPool::default());
        let mut all = Vec::new();
        for number in 0..50u8 {
            output.append(&mut pool, |buffer| buffer.extend_from_slice(&[number; 3]));
            output.insert(Bytes::copy_from_slice(&[number + 100; 7]), 7, None);
            all.extend_from_slice(&[number; 3]);
            all.extend_from_slice(&[number + 100; 7]);
        }
        let mut sent = Vec::new();
        while output.pending() > 0 {
            let bytes = front(&output);
            assert!(!bytes.is_empty());
            let count = bytes.len().min(23);
            sent.extend_from_slice(&bytes[..count]);
            output.advance(count, &mut pool);
        }
        assert_eq!(sent, all);
    }
}
