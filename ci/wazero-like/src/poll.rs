//! `poll_oneoff`, which in wazero knows nothing about sockets.
//!
//! Every subscription is answered: reading from anything that is open as ready, writing to it as
//! `NOTSUP`, what isn't open as `BADF`. Only then the shortest clock is slept out, whatever is
//! ready; without one the call never returns. An event's number of bytes and its flags aren't
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
    let [asked, told, count, result] = list;
    if count == 0 {
        return Err(Errno::INVAL);
    }
    let room = |each: u32| count.checked_mul(each).ok_or(Errno::FAULT);
    guest.bytes(asked, room(SUBSCRIPTION)?)?;
    guest.bytes(told, room(EVENT)?)?;
    guest.put_u32(result, count)?;
    let mut sleep_for = None;
    for number in 0..count {
        let (asked, told) = (asked + number * SUBSCRIPTION, told + number * EVENT);
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
        guest.put_u64(told, userdata)?;
        guest.put(told + 8, &error.map_or(0, |errno| errno.0).to_le_bytes())?;
        guest.put_u32(told + 10, u32::from(kind))?;
    }
    match sleep_for {
        Some(nanos) => sleep(Duration::from_nanos(nanos)),
        None => loop {
            sleep(Duration::MAX);
        },
    }
    Ok(())
}
