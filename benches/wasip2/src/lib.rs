//! The answer that all programs give.

/// The body of every answer.
pub const BODY: &str = "Hello, world!";

/// What the bare loop sends. The same fields as the others have, so that as many bytes are sent.
pub const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    content-length: 13\r\n\
    date: Sun, 22 Nov 2026 12:00:00 GMT\r\n\
    \r\n\
    Hello, world!";

/// Counts the heads that end in `input`. `matched` is how much of an empty line the input before
/// ended with, and is brought up to date. (That there are no bodies is one of the liberties of a
/// bare loop.)
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
