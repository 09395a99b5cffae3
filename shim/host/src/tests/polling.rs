//! What `poll_oneoff` reports.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use super::puppet::{Ev, Puppet, Sub, half_close, ok, reset};
use crate::errno::Errno;
use crate::settings::Settings;

const MILLI: u64 = 1_000_000;

/// How late a clock may be: a millisecond, and what the machine adds when it is busy.
const LATE: Duration = Duration::from_millis(30);

/// After this time, bytes that were sent or the end of the stream have arrived, on a busy machine too.
const ARRIVED: Duration = Duration::from_millis(100);

fn error(index: u64, errno: Errno) -> Ev {
    Ev {
        error: errno.0,
        ..ok(index, 0)
    }
}

fn end(index: u64) -> Ev {
    Ev {
        hangup: true,
        ..ok(index, 0)
    }
}

#[test]
fn clocks_are_reported_in_time() {
    let mut puppet = Puppet::listening();
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let realtime = since_1970.expect("a time after 1970").as_nanos() as u64;
    let monotonic = puppet.store.data().monotonic();
    for (subs, events, after) in [
        (vec![Sub::After(0)], vec![0], 0),
        (vec![Sub::After(300_000)], vec![0], 0),
        (vec![Sub::After(20 * MILLI)], vec![0], 20),
        (
            vec![Sub::After(5000 * MILLI), Sub::After(20 * MILLI)],
            vec![1],
            20,
        ),
        (
            vec![Sub::After(0), Sub::After(5000 * MILLI), Sub::After(0)],
            vec![0, 2],
            0,
        ),
        // Absolute times in the past.
        (vec![Sub::At(0, 5), Sub::At(1, 5)], vec![0, 1], 0),
        (vec![Sub::At(0, realtime + 400 * MILLI)], vec![0], 1),
        (vec![Sub::At(1, monotonic + 600 * MILLI)], vec![0], 1),
    ] {
        let mut attempt = || {
            let start = Instant::now();
            let reported: Vec<u64> = puppet.poll(&subs).iter().map(|event| event.index).collect();
            let took = start.elapsed();
            assert_eq!(reported, events, "{subs:?}");
            took
        };
        let after = Duration::from_millis(after);
        let mut least = attempt();
        assert!(least >= after, "{subs:?}: {least:?}");
        // An absolute time has passed by a second attempt.
        if !matches!(subs[0], Sub::At(..)) {
            // A busy machine adds to some of them.
            for _ in 0..4 {
                if least >= after + LATE {
                    least = least.min(attempt());
                }
            }
            assert!(least < after + LATE, "{subs:?}: {least:?}");
        }
    }
    assert!(puppet.store.data().monotonic() >= monotonic + 600 * MILLI);
}

#[test]
fn short_sleeps_are_short() {
    let mut puppet = Puppet::listening();
    let mut took: Vec<Duration> = (0..9)
        .map(|_| {
            let start = Instant::now();
            puppet.poll(&[Sub::After(100_000)]);
            start.elapsed()
        })
        .collect();
    took.sort_unstable();
    assert!(took[4] >= Duration::from_micros(100));
    assert!(took[1] < Duration::from_millis(1), "{took:?}");
}

/// The kernel's waits are whole milliseconds, so beside sockets a clock may be late by one.
#[test]
fn beside_a_socket_clocks_are_right_to_a_millisecond() {
    let mut puppet = Puppet::listening();
    for micros in [400_u64, 2300, 12_700] {
        let time = Duration::from_micros(micros);
        let subs = [
            Sub::Read(3),
            Sub::After(5000 * MILLI),
            Sub::After(micros * 1000),
        ];
        // A busy machine adds to most of them.
        let least = (0..20).map(|_| {
            let start = Instant::now();
            assert_eq!(puppet.poll(&subs), [ok(2, 0)]);
            start.elapsed()
        });
        let least = least.min().expect("a time");
        assert!(least >= time, "{time:?}: {least:?}");
        let late = least - time;
        assert!(late < Duration::from_micros(1300), "{time:?}: {least:?}");
    }
}

#[test]
fn each_error_is_reported_by_its_own_event() {
    let mut puppet = Puppet::listening();
    let (mut client, fd) = puppet.connection();
    client.write_all(&[7; 100]).expect("room");
    sleep(ARRIVED);
    let clock = Sub::At(9, 0);
    let events = puppet.soon(&[Sub::Read(99), Sub::Read(fd), Sub::Write(98), clock]);
    let bad = [
        error(0, Errno::BADF),
        ok(1, 100),
        error(2, Errno::BADF),
        error(3, Errno::INVAL),
    ];
    assert_eq!(events.len(), 4);
    assert!(bad.iter().all(|event| events.contains(event)), "{events:?}");
}

#[test]
fn only_what_is_ready_is_reported() {
    let mut puppet = Puppet::listening();
    let (_idle, idle) = puppet.connection();
    let (mut busy, fd) = puppet.connection();
    let subs = [Sub::Read(3), Sub::Read(idle), Sub::Read(fd)];
    assert_eq!(puppet.ready(&subs), []);
    busy.write_all(&[7; 100]).expect("room");
    assert_eq!(puppet.soon(&subs), [ok(2, 100)]);
    // As long as it isn't read.
    assert_eq!(puppet.ready(&subs), [ok(2, 100)]);
    // The bytes that a read has left are reported next.
    assert_eq!(puppet.read(fd, 60).map(|it| it.len()), Ok(60));
    assert_eq!(puppet.ready(&subs), [ok(2, 40)]);
    // A read that fills its buffer exactly leaves nothing.
    assert_eq!(puppet.read(fd, 40).map(|it| it.len()), Ok(40));
    assert_eq!(puppet.ready(&subs), []);
    assert_eq!(puppet.read(fd, 40), Err(u32::from(Errno::AGAIN.0)));
    busy.write_all(&[7; 3]).expect("room");
    assert_eq!(puppet.soon(&subs), [ok(2, 3)]);
}

#[test]
fn a_listener_is_ready_as_long_as_a_connection_waits() {
    let mut puppet = Puppet::listening();
    puppet.set_nonblock(3);
    let address = puppet.address.expect("a listener");
    let _clients = [(); 2].map(|()| TcpStream::connect(address).expect("a connection"));
    assert_eq!(puppet.soon(&[Sub::Read(3)]), [ok(0, 1)]);
    puppet.accept(3, 0).expect("the first");
    assert_eq!(puppet.ready(&[Sub::Read(3)]), [ok(0, 1)]);
    puppet.accept(3, 0).expect("the second");
    assert_eq!(puppet.ready(&[Sub::Read(3)]), []);
    assert_eq!(puppet.accept(3, 0), Err(u32::from(Errno::AGAIN.0)));
    let _third = TcpStream::connect(address).expect("a connection");
    assert_eq!(puppet.soon(&[Sub::Read(3)]), [ok(0, 1)]);
}

#[test]
fn bytes_that_are_read_ahead_are_counted_and_kept_in_order() {
    let mut puppet = Puppet::listening();
    let (mut client, fd) = puppet.connection();
    let read = [Sub::Read(fd)];
    let sent: Vec<u8> = (0..3008_u32).map(|at| at as u8).collect();
    // More than is read ahead.
    client.write_all(&sent[..3000]).expect("room");
    sleep(ARRIVED);
    assert_eq!(puppet.soon(&read), [ok(0, 3000)]);
    let mut got = puppet.read(fd, 100).expect("bytes");
    assert_eq!(puppet.ready(&read), [ok(0, 2900)]);
    got.extend(puppet.read(fd, 4096).expect("bytes"));
    assert_eq!(got.len(), 3000);
    assert_eq!(puppet.ready(&read), []);
    // More comes after bytes that were reported.
    client.write_all(&sent[3000..3003]).expect("room");
    assert_eq!(puppet.soon(&read), [ok(0, 3)]);
    client.write_all(&sent[3003..]).expect("room");
    sleep(ARRIVED);
    assert_eq!(puppet.ready(&read), [ok(0, 8)]);
    got.extend(puppet.read(fd, 4096).expect("bytes"));
    assert_eq!(got, sent);
    assert_eq!(puppet.ready(&read), []);
    assert_eq!(puppet.read(fd, 1), Err(u32::from(Errno::AGAIN.0)));
}

#[test]
fn bytes_that_are_read_ahead_outlive_a_reset() {
    let mut puppet = Puppet::listening();
    let (mut client, fd) = puppet.connection();
    client.write_all(b"last").expect("room");
    assert_eq!(puppet.soon(&[Sub::Read(fd)]), [ok(0, 4)]);
    reset(client);
    sleep(ARRIVED);
    assert_eq!(puppet.read(fd, 2), Ok(b"la".to_vec()));
    assert_eq!(puppet.read(fd, 8), Ok(b"st".to_vec()));
    assert_eq!(puppet.read(fd, 8), Err(u32::from(Errno::CONNRESET.0)));
    assert_eq!(puppet.read(fd, 8), Ok(vec![]));
}

#[test]
fn the_end_comes_behind_the_bytes() {
    let mut puppet = Puppet::listening();
    let (mut client, fd) = puppet.connection();
    client.write_all(b"last").expect("room");
    half_close(&client);
    sleep(ARRIVED);
    let read = [Sub::Read(fd)];
    assert_eq!(puppet.soon(&read), [ok(0, 4)]);
    assert_eq!(puppet.read(fd, 8), Ok(b"last".to_vec()));
    assert_eq!(puppet.soon(&read), [end(0)]);
    assert_eq!(puppet.read(fd, 8), Ok(vec![]));
    assert_eq!(puppet.ready(&read), [end(0)]);
    // The other direction works.
    assert_eq!(puppet.write(fd, b"hello"), Ok(5));
    let mut buf = [0; 5];
    client.read_exact(&mut buf).expect("five bytes");
}

#[test]
fn an_end_between_report_and_read_is_not_missed() {
    let mut puppet = Puppet::listening();
    let (mut client, fd) = puppet.connection();
    client.write_all(b"last").expect("room");
    assert_eq!(puppet.soon(&[Sub::Read(fd)]), [ok(0, 4)]);
    half_close(&client);
    sleep(ARRIVED);
    assert_eq!(puppet.read(fd, 8), Ok(b"last".to_vec()));
    assert_eq!(puppet.soon(&[Sub::Read(fd)]), [end(0)]);
}

#[test]
fn a_reset_is_an_error_of_both_directions() {
    let mut puppet = Puppet::listening();
    let (client, fd) = puppet.connection();
    let subs = [Sub::Read(fd), Sub::Write(fd)];
    assert_eq!(puppet.soon(&subs), [ok(1, 1)]);
    reset(client);
    sleep(ARRIVED);
    let errors = [error(0, Errno::CONNRESET), error(1, Errno::CONNRESET)];
    assert_eq!(puppet.soon(&subs), errors);
    assert_eq!(puppet.read(fd, 8), Err(u32::from(Errno::CONNRESET.0)));
    assert_eq!(puppet.read(fd, 8), Ok(vec![]));
    assert_eq!(puppet.write(fd, b"x"), Err(u32::from(Errno::PIPE.0)));
    assert_eq!(puppet.ready(&[Sub::Read(fd)]), [end(0)]);
}

#[test]
fn in_edge_mode_a_reset_is_no_error_of_an_event() {
    let settings = Settings {
        edge: true,
        ..Settings::default()
    };
    let mut puppet = Puppet::with(settings, 64);
    let (client, fd) = puppet.connection();
    assert_eq!(puppet.ready(&[Sub::Read(fd)]), []);
    reset(client);
    sleep(ARRIVED);
    assert_eq!(puppet.soon(&[Sub::Read(fd)]), [end(0)]);
    assert_eq!(puppet.read(fd, 8), Err(u32::from(Errno::CONNRESET.0)));
}

#[test]
fn in_edge_mode_a_reset_hides_no_room() {
    let settings = Settings {
        edge: true,
        ..Settings::default()
    };
    let mut puppet = Puppet::with(settings, 64);
    let (mut slow, one) = puppet.connection();
    let (client, two) = puppet.connection();
    assert_eq!(puppet.soon(&[Sub::Write(one)]), [ok(0, 1)]);
    let bytes = fill(&mut puppet, one);
    assert_eq!(puppet.ready(&[Sub::Write(one)]), []);
    drain(&mut slow, bytes);
    sleep(ARRIVED);
    // The host learns of the room in a poll that doesn't ask for it.
    assert_eq!(puppet.ready(&[Sub::Read(two)]), []);
    reset(client);
    sleep(ARRIVED);
    let both = [Sub::Write(one), Sub::Read(two)];
    assert_eq!(puppet.ready(&both), [ok(0, 1), end(1)]);
}

#[test]
fn what_came_before_a_reset_can_be_read() {
    let mut puppet = Puppet::listening();
    let (mut client, fd) = puppet.connection();
    assert_eq!(puppet.ready(&[Sub::Read(fd)]), []);
    client.write_all(b"last").expect("room");
    sleep(ARRIVED);
    reset(client);
    sleep(ARRIVED);
    assert_eq!(puppet.soon(&[Sub::Read(fd)]), [error(0, Errno::CONNRESET)]);
    assert_eq!(puppet.read(fd, 8), Ok(b"last".to_vec()));
    assert_eq!(puppet.read(fd, 8), Err(u32::from(Errno::CONNRESET.0)));
}

/// Writes until there is no room.
fn fill(puppet: &mut Puppet, fd: u32) -> usize {
    let mut all = 0;
    while let Ok(written) = puppet.write(fd, &[0; 1 << 20]) {
        all += written;
    }
    all
}

fn drain(client: &mut TcpStream, bytes: usize) {
    client.read_exact(&mut vec![0; bytes]).expect("the bytes");
}

#[test]
fn room_is_reported_when_there_is_some() {
    let mut puppet = Puppet::listening();
    let (mut client, fd) = puppet.connection();
    let write = [Sub::Write(fd)];
    assert_eq!(puppet.soon(&write), [ok(0, 1)]);
    assert_eq!(puppet.ready(&write), [ok(0, 1)]);
    let bytes = fill(&mut puppet, fd);
    assert_eq!(puppet.ready(&write), []);
    drain(&mut client, bytes);
    assert_eq!(puppet.soon(&write), [ok(0, 1)]);
}

#[test]
fn in_edge_mode_room_is_reported_once() {
    let settings = Settings {
        edge: true,
        ..Settings::default()
    };
    let mut puppet = Puppet::with(settings, 64);
    let (mut client, fd) = puppet.connection();
    let both = [Sub::Read(fd), Sub::Write(fd)];
    assert_eq!(puppet.soon(&both), [ok(1, 1)]);
    assert_eq!(puppet.ready(&both), []);
    assert_eq!(puppet.write(fd, b"room"), Ok(4));
    assert_eq!(puppet.ready(&both), []);
    let bytes = 4 + fill(&mut puppet, fd);
    assert_eq!(puppet.ready(&both), []);
    drain(&mut client, bytes);
    assert_eq!(puppet.soon(&both), [ok(1, 1)]);
    assert_eq!(puppet.ready(&both), []);
    // Input is reported as long as there is some.
    client.write_all(b"in").expect("room");
    assert_eq!(puppet.soon(&both), [ok(0, 2)]);
    assert_eq!(puppet.ready(&both), [ok(0, 2)]);
}

#[test]
fn a_number_that_is_used_again_starts_anew() {
    let mut puppet = Puppet::listening();
    let (mut client, fd) = puppet.connection();
    client.write_all(b"old").expect("room");
    assert_eq!(puppet.soon(&[Sub::Read(fd)]), [ok(0, 3)]);
    puppet.close(fd).expect("it is open");
    let (mut client, again) = puppet.connection();
    assert_eq!(again, fd);
    assert_eq!(puppet.ready(&[Sub::Read(fd)]), []);
    client.write_all(b"newer").expect("room");
    assert_eq!(puppet.soon(&[Sub::Read(fd)]), [ok(0, 5)]);
}

#[test]
fn a_renumbered_socket_is_reported_by_its_new_number() {
    let mut puppet = Puppet::listening();
    let (mut first, from) = puppet.connection();
    let (mut second, to) = puppet.connection();
    assert_eq!(puppet.ready(&[Sub::Read(from), Sub::Read(to)]), []);
    first.write_all(b"first").expect("room");
    let numbers = [u64::from(from), u64::from(to)];
    puppet.call("fd_renumber", &numbers).expect("both are open");
    assert_eq!(puppet.soon(&[Sub::Read(to)]), [ok(0, 5)]);
    assert_eq!(puppet.ready(&[Sub::Read(from)]), [error(0, Errno::BADF)]);
    // What had the number was closed.
    assert_eq!(second.read(&mut [0; 1]).expect("the end"), 0);
}

#[test]
fn the_same_socket_twice_is_reported_twice() {
    let mut puppet = Puppet::listening();
    let (mut client, fd) = puppet.connection();
    let subs = [Sub::Read(fd), Sub::Read(fd)];
    assert_eq!(puppet.ready(&subs), []);
    client.write_all(b"two").expect("room");
    assert_eq!(puppet.soon(&subs), [ok(0, 3), ok(1, 3)]);
    assert_eq!(puppet.ready(&subs), [ok(0, 3), ok(1, 3)]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_read_that_stops_at_urgent_data_leaves_the_rest_readable() {
    let mut puppet = Puppet::listening();
    let (mut client, fd) = puppet.connection();
    let read = [Sub::Read(fd)];
    assert_eq!(puppet.ready(&read), []);
    client.write_all(b"before").expect("room");
    rustix::net::send(&client, b"!", rustix::net::SendFlags::OOB).expect("room");
    client.write_all(b"behind").expect("room");
    sleep(ARRIVED);
    let mut got = Vec::new();
    while got.len() < 12 {
        assert!(
            !puppet.soon(&read).iter().any(|event| event.index == 1),
            "{got:?}"
        );
        got.extend(puppet.read(fd, 100).expect("bytes"));
    }
    assert_eq!(got, b"beforebehind");
}

#[test]
fn files_and_standard_output_are_always_ready() {
    let folder = std::env::temp_dir().display().to_string();
    let settings = Settings {
        dirs: vec![(folder, "/".to_owned())],
        ..Settings::default()
    };
    let mut puppet = Puppet::with(settings, 64);
    // The directory is in front of the listener.
    let subs = [Sub::Read(3), Sub::Write(1), Sub::Write(2), Sub::Read(4)];
    assert_eq!(puppet.ready(&subs), [ok(0, 1), ok(1, 1), ok(2, 1)]);
    assert_eq!(puppet.ready(&[Sub::Read(1)]), [error(0, Errno::BADF)]);
    assert_eq!(puppet.ready(&[Sub::Write(0)]), [error(0, Errno::BADF)]);
}

#[test]
fn a_connection_that_stays_ready_hides_no_other() {
    let mut puppet = Puppet::listening();
    let (mut first, one) = puppet.connection();
    let (mut second, two) = puppet.connection();
    let subs = [Sub::Read(one), Sub::Read(two)];
    first.write_all(b"never read").expect("room");
    assert_eq!(puppet.soon(&subs), [ok(0, 10)]);
    second.write_all(b"new").expect("room");
    sleep(ARRIVED);
    assert_eq!(puppet.ready(&subs), [ok(0, 10), ok(1, 3)]);
}

#[test]
fn the_standard_input_twice_is_reported_twice() {
    // In a test it is a file or a pipe. If it has no input now, there is nothing to check.
    let mut puppet = Puppet::listening();
    let [one, two] = [&[Sub::Read(0)][..], &[Sub::Read(0), Sub::Read(0)][..]];
    let once = puppet.ready(one).len();
    assert_eq!(puppet.ready(two).len(), 2 * once);
}
