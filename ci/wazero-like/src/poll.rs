//! `poll_oneoff`, which in wazero knows nothing about sockets.
//!
//! Every subscription is reported: reading from anything that is open as ready, writing to it as
//! `NOTSUP`, what isn't open as `BADF`. But first the call sleeps for the time of the shortest clock, whatever
//! is ready; without a clock it never returns. An event's number of bytes and its flags aren't
//! written at all: the guest finds there what it had in its buffer.

use std::thread::sleep;
use std::time::Duration;

use crate::Host;
use crate::errno::{Errno, Outcome};
use crate::guest::{Guest, beyond};

const SUBSCRIPTION: u32 = 48;
const EVENT: u32 = 32;
const CLOCK: u8 = 0;
const READ: u8 = 1;
const WRITE: u8 = 2;

pub fn oneoff(host: &mut Host, guest: &mut Guest<'_>, list: [u32; 4]) -> Outcome {
    host.table.collect();
    let [asked, events, count, result] = list;
    if count == 0 {
        return Err(Errno::INVAL);
    }
    let room = |each: u32| count.checked_mul(each).ok_or(Errno::FAULT);
    guest.bytes(asked, room(SUBSCRIPTION)?)?;
    guest.bytes(events, room(EVENT)?)?;
    guest.put_u32(result, count)?;
    let mut sleep_for = None;
    for number in 0..count {
        let (asked, events) = (asked + number * SUBSCRIPTION, events + number * EVENT);
        let userdata = guest.u64(asked)?;
        let kind = guest.bytes(beyond(asked, 8)?, 1)?[0];
        let fd = guest.u32(asked + 16)?;
        let error = match kind {
            CLOCK => {
                match guest.u16(asked + 40)? {
                    0 => {}
                    // Absolute time.
                    1 => return Err(Errno::NOTSUP),
                    _ => return Err(Errno::INVAL),
                }
                let timeout = guest.u64(asked + 24)?;
                sleep_for = Some(sleep_for.map_or(timeout, |least: u64| least.min(timeout)));
                None
            }
            READ => host.table.get(fd).err(),
            WRITE => Some(host.table.get(fd).err().unwrap_or(Errno::NOTSUP)),
            _ => return Err(Errno::INVAL),
        };
        guest.put_u64(events, userdata)?;
        guest.put(events + 8, &error.map_or(0, |errno| errno.0).to_le_bytes())?;
        guest.put_u32(events + 10, u32::from(kind))?;
    }
    match sleep_for {
        Some(nanos) => sleep(Duration::from_nanos(nanos)),
        None => loop {
            sleep(Duration::MAX);
        },
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTENER: u32 = 3;
    const NOT_OPEN: u32 = 9;

    /// Polls for these: kind, file descriptor, timeout, flags. Returns each event's kind and error.
    fn poll(list: &[(u8, u32, u64, u16)]) -> Outcome<Vec<(u8, u16)>> {
        let mut memory = vec![0; 4096];
        let mut guest = Guest(&mut memory);
        for (at, (kind, fd, timeout, flags)) in (0..).step_by(48).zip(list) {
            guest.put(at + 8, &[*kind])?;
            guest.put_u32(at + 16, *fd)?;
            guest.put_u64(at + 24, *timeout)?;
            guest.put(at + 40, &flags.to_le_bytes())?;
        }
        let count = u32::try_from(list.len()).expect("few");
        oneoff(&mut Host::for_tests(), &mut guest, [0, 2048, count, 4092])?;
        assert_eq!(guest.u32(4092), Ok(count));
        let event = |at: u32| Ok((guest.bytes(at + 10, 1)?[0], guest.u16(at + 8)?));
        (2048..).step_by(32).take(list.len()).map(event).collect()
    }

    #[test]
    fn it_reports_everything_and_sleeps_all_the_same() {
        let started = std::time::Instant::now();
        let events = poll(&[
            (READ, LISTENER, 0, 0),
            (WRITE, LISTENER, 0, 0),
            (READ, NOT_OPEN, 0, 0),
            (WRITE, NOT_OPEN, 0, 0),
            (CLOCK, 0, 10_000_000, 0),
            (CLOCK, 0, 5_000_000_000, 0),
        ]);
        let badf = Errno::BADF.0;
        let expected = [
            (1, 0),
            (2, Errno::NOTSUP.0),
            (1, badf),
            (2, badf),
            (0, 0),
            (0, 0),
        ];
        assert_eq!(events.as_deref(), Ok(&expected[..]));
        assert!((10..2_000).contains(&started.elapsed().as_millis()));
    }

    #[test]
    fn what_it_cannot_do_fails_as_a_whole() {
        assert_eq!(poll(&[]), Err(Errno::INVAL));
        assert_eq!(poll(&[(CLOCK, 0, 0, 1)]), Err(Errno::NOTSUP));
        assert_eq!(poll(&[(CLOCK, 0, 0, 2)]), Err(Errno::INVAL));
        assert_eq!(poll(&[(3, 0, 0, 0)]), Err(Errno::INVAL));
    }
}
