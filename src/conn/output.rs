//! The bytes that wait to be sent on one connection.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use super::memory::BufferPool;

/// What is to be sent, in order: small things one behind the other in one buffer, with large
/// bodies set in between without a copy.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// Heads and small bodies; sent up to `sent`.
    buffer: Vec<u8>,
    sent: usize,
    /// Large bodies, in order.
    inserts: VecDeque<Insert>,
    /// The memory of all of them.
    inserted: usize,
    /// Bytes left to send of both.
    pending: usize,
}

/// A large body.
#[derive(Debug)]
struct Insert {
    /// It stands before this byte of the buffer.
    at: usize,
    /// What is left of it.
    bytes: Bytes,
    /// How long it was.
    length: usize,
    /// Its memory, which is given back only when all of it is sent; none while somebody else holds it,
    /// too.
    memory: usize,
}

impl Output {
    /// A body of up to this many bytes is copied: that is cheaper than another slice to write.
    const COPIED: usize = 16 << 10;

    /// How many slices one write can have; four answers with large bodies.
    pub(super) const MAX_SLICES: usize = 8;

    /// Bytes left to send.
    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    /// Bytes of memory held.
    pub(super) fn held(&self) -> usize {
        self.buffer.capacity() + self.inserted
    }

    /// Appends by `write`, to the end of the buffer.
    pub(super) fn append(&mut self, pool: &mut BufferPool, write: impl FnOnce(&mut Vec<u8>)) {
        if self.buffer.capacity() == 0 {
            self.buffer = pool.take();
        }
        self.drop_sent();
        let before = self.buffer.len();
        write(&mut self.buffer);
        self.pending += self.buffer.len() - before;
    }

    /// Whether a body of `length` bytes is better appended than inserted.
    pub(super) const fn is_small(length: usize) -> bool {
        length <= Self::COPIED
    }

    /// Appends a large body without copying it. `memory` is what is held for it alone until it is
    /// sent.
    pub(super) fn insert(&mut self, bytes: Bytes, memory: usize) {
        self.pending += bytes.len();
        self.inserted += memory;
        self.inserts.push_back(Insert {
            at: self.buffer.len(),
            length: bytes.len(),
            memory,
            bytes,
        });
    }

    /// Counts the bodies that were shared or static when they were inserted and aren't any more: the
    /// handler has dropped its share.
    pub(super) fn recount(&mut self) {
        for insert in &mut self.inserts {
            if insert.memory == 0 && insert.bytes.is_unique() {
                insert.memory = insert.length;
                self.inserted += insert.memory;
            }
        }
    }

    /// Makes room in the buffer for what follows, once the sent part is the larger one: a client
    /// that always leaves something unsent must not make it grow for ever.
    fn drop_sent(&mut self) {
        if self.sent > self.buffer.len() / 2 {
            self.buffer.drain(..self.sent);
            for insert in &mut self.inserts {
                insert.at -= self.sent;
            }
            self.sent = 0;
        }
    }

    /// Fills `slices` with what is to be sent next, and tells how many it filled.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        // Mostly there is no large body.
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

    /// Takes note that the next `count` bytes are sent.
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
            self.clear(pool);
        }
    }

    /// Drops what is left, and the memory with it.
    pub(super) fn clear(&mut self, pool: &mut BufferPool) {
        pool.give_back(&mut self.buffer);
        if self.inserts.capacity() > 0 {
            self.inserts = VecDeque::new();
            self.inserted = 0;
        }
        self.sent = 0;
        self.pending = 0;
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
                output.insert(Bytes::copy_from_slice(body.as_bytes()), body.len());
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
    fn gives_its_bytes_in_order_however_they_are_taken() {
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
        output.insert(Bytes::from(vec![1; 1000]), 1000);
        output.advance(999, &mut pool);
        assert_eq!(output.held(), 1000);
        output.advance(1, &mut pool);
        assert_eq!(output.held(), 0);
    }

    #[test]
    fn what_is_never_all_sent_does_not_grow_for_ever() {
        let (mut output, mut pool) = (Output::default(), BufferPool::default());
        let (mut all, mut sent) = (Vec::new(), Vec::new());
        for number in 0..10_000u32 {
            let text = number.to_string();
            output.append(&mut pool, |buffer| {
                buffer.extend_from_slice(text.as_bytes())
            });
            all.extend_from_slice(text.as_bytes());
            if number % 7 == 0 {
                output.insert(Bytes::from(vec![b'-'; 3]), 3);
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
    fn many_large_bodies_never_overtake_one_another() {
        let (mut output, mut pool) = (Output::default(), BufferPool::default());
        let mut all = Vec::new();
        for number in 0..50u8 {
            output.append(&mut pool, |buffer| buffer.extend_from_slice(&[number; 3]));
            output.insert(Bytes::copy_from_slice(&[number + 100; 7]), 7);
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
