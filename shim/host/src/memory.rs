//! The guest's memory. It is little-endian, and every access is checked.

/// The whole memory, during one call.
pub(crate) struct Memory<'a>(pub(crate) &'a mut [u8]);

/// A pointer outside of the memory. In WASI this is a trap.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outside;

type Result<T> = std::result::Result<T, Outside>;

impl Memory<'_> {
    /// `len` bytes at `at`.
    pub(crate) fn bytes(&self, at: u32, len: u32) -> Result<&[u8]> {
        self.0.get(range(at, len)).ok_or(Outside)
    }

    /// The same, mutable.
    pub(crate) fn bytes_mut(&mut self, at: u32, len: u32) -> Result<&mut [u8]> {
        self.0.get_mut(range(at, len)).ok_or(Outside)
    }

    /// An array of bytes.
    pub(crate) fn array<const N: usize>(&self, at: u32) -> Result<[u8; N]> {
        let from = at as usize;
        let bytes = self.0.get(from..from + N).ok_or(Outside)?;
        bytes.try_into().map_err(|_| Outside)
    }

    /// A number of 32 bits.
    pub(crate) fn u32(&self, at: u32) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(at)?))
    }

    /// Writes an array of bytes.
    pub(crate) fn put<const N: usize>(&mut self, at: u32, value: [u8; N]) -> Result<()> {
        let from = at as usize;
        let bytes = self.0.get_mut(from..from + N).ok_or(Outside)?;
        bytes.copy_from_slice(&value);
        Ok(())
    }

    /// The pointer and the length at `index` in a list of buffers.
    pub(crate) fn buffer(&self, list: u32, index: u32) -> Result<(u32, u32)> {
        let at = list.checked_add(index.checked_mul(8).ok_or(Outside)?);
        let both = self.array::<8>(at.ok_or(Outside)?)?;
        let [a, b, c, d, e, f, g, h] = both;
        Ok((
            u32::from_le_bytes([a, b, c, d]),
            u32::from_le_bytes([e, f, g, h]),
        ))
    }
}

/// Both have 32 bits, so their sum can't overflow.
fn range(at: u32, len: u32) -> std::ops::Range<usize> {
    let at = at as usize;
    at..at + len as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_outside_of_the_memory_are_refused() {
        let mut bytes = [0; 16];
        let mut memory = Memory(&mut bytes);
        assert_eq!(memory.bytes(16, 0), Ok(&[][..]));
        assert_eq!(memory.bytes(15, 2), Err(Outside));
        assert_eq!(memory.bytes(u32::MAX, u32::MAX), Err(Outside));
        assert_eq!(memory.u32(13), Err(Outside));
        assert_eq!(memory.put(13, [0; 4]), Err(Outside));
        assert_eq!(memory.put(12, 7_u32.to_le_bytes()), Ok(()));
        assert_eq!(memory.u32(12), Ok(7));
        assert_eq!(memory.buffer(8, 0), Ok((0, 7)));
        assert_eq!(memory.buffer(8, 1), Err(Outside));
        assert_eq!(memory.buffer(u32::MAX, 1), Err(Outside));
        assert_eq!(memory.buffer(0, u32::MAX), Err(Outside));
    }
}
