//! The functions of preview 1, by their names.

use std::hash::{BuildHasher, RandomState};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use wasmi::{Caller, Error, ExternType, Linker, Module, Val};

use crate::errno::{Errno, Outcome};
use crate::guest::{Guest, beyond};
use crate::table::Entry;
use crate::{Host, files, poll};

const PREVIEW1: &str = "wasi_snapshot_preview1";

/// Defines one: `call!(linker, name(arguments) |host, guest| body)`.
macro_rules! call {
    ($linker:ident, $name:ident($($arg:ident: $type:ty),*) |$host:ident, $guest:ident| $body:expr) => {
        $linker.func_wrap(
            PREVIEW1,
            stringify!($name),
            |caller: Caller<'_, Host>, $($arg: $type),*| {
                with(caller, |$host, $guest| $body)
            },
        )?;
    };
}

/// Defines all that `module` may import. What isn't written here returns `NOSYS`.
pub fn define(linker: &mut Linker<Host>, module: &Module) -> Result<(), Error> {
    sockets(linker)?;
    descriptors(linker)?;
    process(linker)?;
    linker.func_wrap(PREVIEW1, "proc_exit", |status: i32| -> Result<(), Error> {
        Err(Error::i32_exit(status))
    })?;
    for import in module.imports() {
        if let ("wasi_snapshot_preview1", ExternType::Func(ty)) = (import.module(), import.ty()) {
            // An error means that it is defined already.
            let _ = linker.func_new(PREVIEW1, import.name(), ty.clone(), |_, _, results| {
                if let [result] = results {
                    *result = Val::I32(i32::from(Errno::NOSYS.0));
                }
                Ok(())
            });
        }
    }
    Ok(())
}

/// Runs a call on the guest's memory, and makes its outcome the number that the guest gets.
fn with(
    mut caller: Caller<'_, Host>,
    call: impl FnOnce(&mut Host, &mut Guest<'_>) -> Outcome,
) -> u32 {
    let memory = caller.get_export("memory").and_then(|it| it.into_memory());
    let Some(memory) = memory else {
        return u32::from(Errno::FAULT.0);
    };
    let (bytes, host) = memory.data_and_store_mut(&mut caller);
    match call(host, &mut Guest(bytes)) {
        Ok(()) => 0,
        Err(errno) => u32::from(errno.0),
    }
}

fn sockets(linker: &mut Linker<Host>) -> Result<(), Error> {
    call!(linker, poll_oneoff(asked: u32, events: u32, count: u32, result: u32) |host, guest| {
        poll::oneoff(host, guest, [asked, events, count, result])
    });
    call!(linker, sock_accept(fd: u32, flags: u32, result: u32) |host, guest| {
        host.table.collect();
        let fd = host.table.accept(fd, flags & NONBLOCK != 0)?;
        guest.put_u32(result, fd)
    });
    call!(linker, sock_shutdown(fd: u32, how: u32) |host, _guest| {
        host.table.get(fd)?.shutdown(how)
    });
    call!(linker, fd_read(fd: u32, iovecs: u32, count: u32, result: u32) |host, guest| {
        read(host, guest, fd, (iovecs, count), result)
    });
    call!(linker, fd_write(fd: u32, iovecs: u32, count: u32, result: u32) |host, guest| {
        write(host, guest, fd, (iovecs, count), result)
    });
    Ok(())
}

fn descriptors(linker: &mut Linker<Host>) -> Result<(), Error> {
    call!(linker, fd_close(fd: u32) |host, _guest| host.table.close(fd));
    call!(linker, fd_fdstat_get(fd: u32, result: u32) |host, guest| {
        let entry = host.table.get(fd)?;
        let flags = if entry.is_nonblock() { NONBLOCK } else { 0 };
        guest.put_u32(result, u32::from(entry.file_type()) | flags << 16)?;
        guest.put_u32(beyond(result, 4)?, 0)?;
        // All rights.
        guest.put(beyond(result, 8)?, &[0xff; 16])
    });
    call!(linker, fd_fdstat_set_flags(fd: u32, flags: u32) |host, _guest| {
        host.table.get(fd)?.set_nonblock(flags & NONBLOCK != 0)
    });
    call!(linker, fd_prestat_get(fd: u32, result: u32) |host, guest| {
        let len = preopened_name(host, fd)?.len();
        guest.put_u32(result, 0)?;
        guest.put_u32(beyond(result, 4)?, u32::try_from(len).map_err(|_| Errno::INVAL)?)
    });
    call!(linker, fd_prestat_dir_name(fd: u32, name: u32, len: u32) |host, guest| {
        let known = preopened_name(host, fd)?.as_bytes();
        let known = known.get(..len as usize).unwrap_or(known);
        guest.put(name, known)
    });
    call!(linker, fd_filestat_get(fd: u32, result: u32) |host, guest| {
        files::filestat(host, guest, fd, result)
    });
    call!(linker, fd_seek(fd: u32, offset: i64, whence: u32, result: u32) |host, guest| {
        files::seek(host, guest, fd, offset, whence, result)
    });
    call!(linker, path_filestat_get(fd: u32, lookup: u32, name: u32, len: u32, result: u32) |host, guest| {
        files::path_filestat(host, guest, [fd, lookup, name, len, result])
    });
    call!(linker, path_open(
        fd: u32, _lookup: u32, name: u32, len: u32, flags: u32, _base: u64, _inherited: u64,
        _fdflags: u32, result: u32
    ) |host, guest| {
        files::open(host, guest, [fd, name, len, flags, result])
    });
    Ok(())
}

fn process(linker: &mut Linker<Host>) -> Result<(), Error> {
    call!(linker, args_sizes_get(count: u32, size: u32) |host, guest| {
        sizes(guest, &host.arguments, count, size)
    });
    call!(linker, args_get(list: u32, texts: u32) |host, guest| {
        put_texts(guest, &host.arguments, list, texts)
    });
    call!(linker, environ_sizes_get(count: u32, size: u32) |host, guest| {
        sizes(guest, &host.environment, count, size)
    });
    call!(linker, environ_get(list: u32, texts: u32) |host, guest| {
        put_texts(guest, &host.environment, list, texts)
    });
    call!(linker, clock_time_get(clock: u32, _precision: u64, result: u32) |host, guest| {
        let nanos = match clock {
            0 => SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| Errno::IO)?,
            1 => Instant::now() - host.started,
            _ => return Err(Errno::INVAL),
        };
        guest.put_u64(result, u64::try_from(nanos.as_nanos()).map_err(|_| Errno::IO)?)
    });
    call!(linker, clock_res_get(clock: u32, result: u32) |_host, guest| {
        match clock {
            // What wazero says of both.
            0 => guest.put_u64(result, 1_000),
            1 => guest.put_u64(result, 1),
            _ => Err(Errno::INVAL),
        }
    });
    call!(linker, random_get(at: u32, len: u32) |_host, guest| {
        // std's only source of randomness; each state is new.
        for chunk in guest.bytes_mut(at, len)?.chunks_mut(8) {
            let random = RandomState::new().hash_one(at).to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
        Ok(())
    });
    call!(
        linker,
        sched_yield() | _host,
        _guest | {
            std::thread::yield_now();
            Ok(())
        }
    );
    Ok(())
}

const NONBLOCK: u32 = 1 << 2;

/// Reads into one buffer after the other, and stops at the first that isn't filled.
fn read(
    host: &mut Host,
    guest: &mut Guest<'_>,
    fd: u32,
    (iovecs, count): (u32, u32),
    result: u32,
) -> Outcome {
    let entry = host.table.get(fd)?;
    let mut total = 0;
    for (at, len) in guest.iovecs(iovecs, count)? {
        if len == 0 {
            continue;
        }
        let read = entry.read(guest.bytes_mut(at, len)?)?;
        total += u32::try_from(read).map_err(|_| Errno::IO)?;
        if read < len as usize {
            break;
        }
    }
    guest.put_u32(result, total)
}

/// Writes each buffer by a call of its own. As in wazero, one that is written short doesn't keep
/// the next from being written, and when one fails, what the earlier ones have written is lost:
/// with more than one buffer a non-blocking socket gets its bytes garbled or twice.
fn write(
    host: &mut Host,
    guest: &mut Guest<'_>,
    fd: u32,
    (iovecs, count): (u32, u32),
    result: u32,
) -> Outcome {
    let entry = host.table.get(fd)?;
    let mut total = 0;
    for (at, len) in guest.iovecs(iovecs, count)? {
        let written = entry.write(guest.bytes(at, len)?)?;
        total += u32::try_from(written).map_err(|_| Errno::IO)?;
    }
    guest.put_u32(result, total)
}

fn preopened_name(host: &mut Host, fd: u32) -> Outcome<&str> {
    match host.table.get(fd)? {
        Entry::Directory {
            name: Some(name), ..
        } => Ok(name),
        _ => Err(Errno::BADF),
    }
}

fn sizes(guest: &mut Guest<'_>, texts: &[String], count: u32, size: u32) -> Outcome {
    let number = |n: usize| u32::try_from(n).map_err(|_| Errno::INVAL);
    guest.put_u32(count, number(texts.len())?)?;
    guest.put_u32(size, number(texts.iter().map(|text| text.len() + 1).sum())?)
}

/// Writes the texts, each with a NUL behind it, and the list of their addresses.
fn put_texts(guest: &mut Guest<'_>, texts: &[String], mut list: u32, mut at: u32) -> Outcome {
    for text in texts {
        let len = u32::try_from(text.len()).map_err(|_| Errno::INVAL)?;
        guest.put_u32(list, at)?;
        guest.put(at, text.as_bytes())?;
        guest.put(beyond(at, len)?, &[0])?;
        list = beyond(list, 4)?;
        at = beyond(at, len + 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_makes_it_panic() {
        const SIZE: u32 = 4096;
        let edges = [
            0,
            1,
            8,
            63,
            SIZE - 65,
            SIZE - 8,
            SIZE - 1,
            SIZE,
            1 << 31,
            u32::MAX - 3,
            u32::MAX,
        ];
        let mut host = Host::for_tests();
        host.environment = vec!["NAME=value".into()];
        let mut memory = vec![0; SIZE as usize];
        let mut guest = Guest(&mut memory);
        for a in edges {
            for b in edges {
                for c in edges {
                    // Its memory is all zeroes: clocks of 0, and buffers without room.
                    guest.0.fill(0);
                    let _ = poll::oneoff(&mut host, &mut guest, [a, b, c % 100, c]);
                    let _ = poll::oneoff(&mut host, &mut guest, [a, b, c.max(1_000), a]);
                    // What is written to the standard streams would be seen.
                    let _ = write(&mut host, &mut guest, 3, (a, b), c);
                    let _ = read(&mut host, &mut guest, 3, (a, b), c);
                    let _ = files::open(&mut host, &mut guest, [4, a, b, 0, c]);
                    let _ = files::filestat(&mut host, &mut guest, 3, c);
                    let _ = files::path_filestat(&mut host, &mut guest, [4, 1, a, b, c]);
                    let environment = host.environment.clone();
                    let _ = sizes(&mut guest, &environment, a, b);
                    let _ = put_texts(&mut guest, &environment, a, b);
                }
            }
        }
    }

    #[test]
    fn arguments_are_laid_out_as_libc_reads_them() {
        let mut memory = vec![0; 64];
        let mut guest = Guest(&mut memory);
        let texts = ["a".to_owned(), "bc".to_owned()];
        assert_eq!(sizes(&mut guest, &texts, 0, 4), Ok(()));
        assert_eq!((guest.u32(0), guest.u32(4)), (Ok(2), Ok(5)));
        assert_eq!(put_texts(&mut guest, &texts, 8, 32), Ok(()));
        assert_eq!((guest.u32(8), guest.u32(12)), (Ok(32), Ok(34)));
        assert_eq!(guest.bytes(32, 5), Ok(&b"a\0bc\0"[..]));
    }
}
