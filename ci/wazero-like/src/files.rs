//! Reading files below the mounted directories: just enough for a module that serves a few.

use std::fs::{self, File, Metadata};
use std::io::{Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::Host;
use crate::errno::{Errno, Outcome};
use crate::guest::Guest;
use crate::table::Entry;

/// `O_CREAT`, `O_EXCL` and `O_TRUNC`: this host writes nothing.
const WRITING: u32 = 1 | 4 | 8;
/// The lookup flag `SYMLINK_FOLLOW`.
const FOLLOW: u32 = 1;
/// `O_DIRECTORY`.
const DIRECTORY: u32 = 2;

/// The path `name` below the directory `fd`.
fn below(host: &mut Host, guest: &Guest<'_>, fd: u32, name: u32, len: u32) -> Outcome<PathBuf> {
    let name = std::str::from_utf8(guest.bytes(name, len)?).map_err(|_| Errno::INVAL)?;
    let Entry::Directory { path, .. } = host.table.get(fd)? else {
        return Err(Errno::NOTDIR);
    };
    let name = Path::new(name);
    // Symbolic links are followed: this host runs only modules of tests.
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if !name.components().all(inside) {
        return Err(Errno::PERM);
    }
    Ok(path.join(name))
}

pub fn open(host: &mut Host, guest: &mut Guest<'_>, list: [u32; 5]) -> Outcome {
    let [fd, name, len, flags, result] = list;
    let path = below(host, guest, fd, name, len)?;
    if flags & WRITING != 0 {
        return Err(Errno::PERM);
    }
    let entry = if fs::metadata(&path)?.is_dir() {
        Entry::Directory { path, name: None }
    } else if flags & DIRECTORY != 0 {
        return Err(Errno::NOTDIR);
    } else {
        Entry::File(File::open(path)?)
    };
    let opened = host.table.insert(entry);
    guest.put_u32(result, opened)
}

pub fn path_filestat(host: &mut Host, guest: &mut Guest<'_>, list: [u32; 5]) -> Outcome {
    let [fd, lookup, name, len, result] = list;
    let path = below(host, guest, fd, name, len)?;
    let metadata = match lookup & FOLLOW {
        0 => fs::symlink_metadata(path)?,
        _ => fs::metadata(path)?,
    };
    put_filestat(guest, result, &metadata)
}

pub fn filestat(host: &mut Host, guest: &mut Guest<'_>, fd: u32, result: u32) -> Outcome {
    let entry = host.table.get(fd)?;
    let metadata = match entry {
        Entry::File(file) => file.metadata()?,
        Entry::Directory { path, .. } => fs::metadata(path)?,
        other => {
            let file_type = other.file_type();
            guest.put(result, &[0; 64])?;
            return guest.put(result + 16, &[file_type]);
        }
    };
    put_filestat(guest, result, &metadata)
}

fn put_filestat(guest: &mut Guest<'_>, at: u32, metadata: &Metadata) -> Outcome {
    guest.put(at, &[0; 64])?;
    let file_type = match metadata {
        it if it.is_dir() => 3,
        it if it.is_symlink() => 7,
        _ => 4,
    };
    guest.put(at + 16, &[file_type])?;
    guest.put_u64(at + 24, 1)?;
    guest.put_u64(at + 32, metadata.len())?;
    let times = [
        metadata.accessed(),
        metadata.modified(),
        metadata.modified(),
    ];
    for (offset, time) in [40, 48, 56].into_iter().zip(times) {
        let since = time
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let nanos = since.and_then(|since| u64::try_from(since.as_nanos()).ok());
        guest.put_u64(at + offset, nanos.unwrap_or(0))?;
    }
    Ok(())
}

pub fn seek(
    host: &mut Host,
    guest: &mut Guest<'_>,
    fd: u32,
    offset: i64,
    whence: u32,
    result: u32,
) -> Outcome {
    let Entry::File(file) = host.table.get(fd)? else {
        return Err(Errno::INVAL);
    };
    let to = match whence {
        0 => SeekFrom::Start(u64::try_from(offset).map_err(|_| Errno::INVAL)?),
        1 => SeekFrom::Current(offset),
        2 => SeekFrom::End(offset),
        _ => return Err(Errno::INVAL),
    };
    guest.put_u64(result, file.seek(to)?)
}
