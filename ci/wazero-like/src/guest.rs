//! The guest's memory. Whatever address it passes, the result is at worst `FAULT`.

use crate::errno::{Errno, Outcome};

/// The memory, borrowed for one call.
pub struct Guest<'a>(pub &'a mut [u8]);

impl Guest<'_> {
    pub fn bytes(&self, at: u32, len: u32) -> Outcome<&[u8]> {
        let from = self.0.get(at as usize..);
        from.and_then(|from| from.get(..len as usize))
            .ok_or(Errno::FAULT)
    }

    pub fn bytes_mut(&mut self, at: u32, len: u32) -> Outcome<&mut [u8]> {
        let from = self.0.get_mut(at as usize..);
        from.and_then(|from| from.get_mut(..len as usize))
            .ok_or(Errno::FAULT)
    }

    pub fn u16(&self, at: u32) -> Outcome<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    pub fn u32(&self, at: u32) -> Outcome<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    pub fn u64(&self, at: u32) -> Outcome<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    pub fn put(&mut self, at: u32, bytes: &[u8]) -> Outcome {
        let len = u32::try_from(bytes.len()).map_err(|_| Errno::FAULT)?;
        self.bytes_mut(at, len)?.copy_from_slice(bytes);
        Ok(())
    }

    pub fn put_u32(&mut self, at: u32, value: u32) -> Outcome {
        self.put(at, &value.to_le_bytes())
    }

    pub fn put_u64(&mut self, at: u32, value: u64) -> Outcome {
        self.put(at, &value.to_le_bytes())
    }

    /// The buffers of a read or a write: addresses and lengths.
    pub fn iovecs(&self, at: u32, count: u32) -> Outcome<Vec<(u32, u32)>> {
        let list = self.bytes(at, count.checked_mul(8).ok_or(Errno::FAULT)?)?;
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0, |n, byte| n << 8 | u32::from(*byte))
        };
        Ok(list
            .chunks_exact(8)
            .map(|iovec| (number(&iovec[..4]), number(&iovec[4..])))
            .collect())
    }

    fn array<const N: usize>(&self, at: u32) -> Outcome<[u8; N]> {
        let bytes = self.0.get(at as usize..).and_then(<[u8]>::first_chunk);
        bytes.copied().ok_or(Errno::FAULT)
    }
}

/// `at + offset`, or `FAULT` past the end of what an address can say.
pub fn beyond(at: u32, offset: u32) -> Outcome<u32> {
    at.checked_add(offset).ok_or(Errno::FAULT)
}
