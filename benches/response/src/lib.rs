//! The response that all compared servers send, and what the bare loops need to send it.

/// The body of every response.
pub const BODY: &str = "Hello, world!";

/// The response of the bare loops. It has the same fields as those of the other servers, so it has the same length.
pub const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    content-length: 13\r\n\
    date: Sun, 22 Nov 2026 12:00:00 GMT\r\n\
    \r\n\
    Hello, world!";

/// The most requests that one read of this many bytes can contain: no request is shorter than 18
/// bytes.
#[must_use]
pub const fn most(read: usize) -> usize {
    read / 18 + 1
}

/// The size of the program's linear memory, as text. Some servers return it for `/memory`; the memory of a connection
/// is calculated from it.
#[must_use]
pub fn memory() -> String {
    #[cfg(target_family = "wasm")]
    let pages = core::arch::wasm32::memory_size(0);
    #[cfg(not(target_family = "wasm"))]
    let pages = 0_usize;
    (pages << 16).to_string()
}

/// Counts the heads that end in `input`. `matched` is how many bytes of an empty line the input before
/// ended with, and is updated. (A bare loop takes the liberty to assume that there are no bodies.)
#[must_use]
pub fn heads(input: &[u8], matched: &mut u8) -> usize {
    let mut heads = 0;
    let mut state = *matched;
    for &byte in input {
        state = match (state, byte) {
            (0 | 2, b'\r') => state + 1,
            (1, b'\n') => 2,
            (3, b'\n') => {
                heads += 1;
                0
            }
            (_, b'\r') => 1,
            _ => 0,
        };
    }
    *matched = state;
    heads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_counted_at_every_split() {
        let input = b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\nGET";
        for cut in 0..input.len() {
            let mut matched = 0;
            let count = heads(&input[..cut], &mut matched) + heads(&input[cut..], &mut matched);
            assert_eq!((count, matched), (2, 0), "cut at {cut}");
        }
    }
}
