//! Small pieces are joined.

use super::*;

#[test]
fn single_bytes_take_little_more_memory_than_their_number() {
    let Fixture {
        stream,
        mut incoming,
        ..
    } = fixture(None);
    let sent: Vec<u8> = (0..QUEUE).map(|at| at.to_le_bytes()[0]).collect();
    for byte in &sent {
        stream.push(Bytes::copy_from_slice(&[*byte]));
    }
    assert_eq!(stream.receiver_state().queued, QUEUE);
    stream.finish(None);
    let (mut pieces, mut received) = (0, Vec::new());
    while !incoming.is_end_stream() {
        received.extend_from_slice(&data(&mut incoming));
        pieces += 1;
    }
    assert!(received == sent, "other bytes came out");
    // Each takes about 100 bytes beside its data.
    assert!(pieces <= 16 + QUEUE / 1000, "{pieces} pieces");
}

#[test]
fn pieces_are_joined_only_if_many_wait_and_are_small() {
    let Fixture {
        stream,
        mut incoming,
        ..
    } = fixture(None);
    let lengths = [1; 15].into_iter().chain([1000, 24, 1, 1023, 1, 5000]);
    for length in lengths {
        stream.push(vec![b'x'; length].into());
    }
    let pieces = [1; 15].into_iter().chain([1024, 1024, 1, 5000]);
    for length in pieces {
        assert_eq!(data(&mut incoming).len(), length);
    }
}
