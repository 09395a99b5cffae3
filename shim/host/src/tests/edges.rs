//! Events that come between two steps of one call, or between two calls.

use std::io::{Read, Write};
use std::thread::sleep;
use std::time::Duration;

use rustix::net::sockopt;

use super::puppet::{Ev, Puppet, Sub, ok, reset};
use crate::errno::Errno;

/// After this time, bytes that were sent or a reset have arrived, on a busy machine too.
const ARRIVED: Duration = Duration::from_millis(100);

/// The system returns a reset once. If the read into the second of two buffers gets it, it is for the next call.
/// Otherwise the guest would take the end for that of a complete stream.
#[test]
fn a_reset_after_the_first_buffer_is_returned_by_the_next_read() {
    let mut puppet = Puppet::listening();
    let (mut client, fd) = puppet.connection();
    client.write_all(b"last").expect("room");
    sleep(ARRIVED);
    reset(client);
    sleep(ARRIVED);
    // Two buffers, of 4 and 8 bytes.
    for (place, (at, len)) in [(0x200, (0x1_0000_u32, 4_u32)), (0x208, (0x1_0100, 8))] {
        puppet.put(place, &at.to_le_bytes());
        puppet.put(place + 4, &len.to_le_bytes());
    }
    puppet
        .call("fd_read", &[u64::from(fd), 0x200, 2, 0x100])
        .expect("bytes");
    assert_eq!(puppet.number(0x100), 4);
    assert_eq!(puppet.read(fd, 8), Err(u32::from(Errno::CONNRESET.0)));
    assert_eq!(puppet.read(fd, 8), Ok(vec![]));
}

/// The list is read a second time when a socket has failed meanwhile.
#[test]
fn a_clock_that_doesnt_exist_is_reported_although_a_socket_fails() {
    for (clock, errno) in [(2, Errno::NOTSUP), (9, Errno::INVAL)] {
        let mut puppet = Puppet::listening();
        let (client, fd) = puppet.connection();
        assert_eq!(puppet.ready(&[Sub::Read(fd)]), []);
        reset(client);
        sleep(ARRIVED);
        let event = Ev {
            error: errno.0,
            ..ok(0, 0)
        };
        assert_eq!(puppet.soon(&[Sub::At(clock, 0), Sub::Read(3)]), [event]);
    }
}

/// A complete write may take the last room. A guest whose writes block would wait in the next one.
#[test]
fn a_write_that_is_reported_finds_room() {
    let mut puppet = Puppet::listening();
    let (mut client, fd) = puppet.connection();
    // So that single bytes fill them soon.
    sockopt::set_socket_recv_buffer_size(&client, 1).expect("a connection");
    let stream = puppet.store.data_mut().table.socket(fd);
    let stream = stream.and_then(|it| it.stream()).expect("a connection");
    sockopt::set_socket_send_buffer_size(&*stream, 1).expect("a connection");
    let write = [Sub::Write(fd)];
    let mut written = 0;
    while !puppet.ready(&write).is_empty() {
        assert_eq!(puppet.write(fd, b"x"), Ok(1), "after {written} bytes");
        written += 1;
    }
    assert!(written > 0);
    let mut all = vec![0; written];
    client.read_exact(&mut all).expect("the bytes");
    assert_eq!(puppet.soon(&write), [ok(0, 1)]);
}
