//! Finds out whether a process has bound a socket to a file and doesn't listen on it yet. The file must not be removed
//! then, although connections to it are refused as if it had been left behind.
//!
//! Linux's list of Unix domain sockets, `/proc/net/unix`, has such sockets, too. It lists those of this process's
//! network namespace, each with the path with which it was bound. So a socket of another container isn't found, nor is
//! one that was bound with a relative path.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Identity;

/// Whether a stream socket is bound to this file, and doesn't listen.
pub(super) fn is_bound(path: &Path, identity: Identity) -> bool {
    let is_it = |other: &Path| {
        // Other files aren't touched: a file system that doesn't respond would block.
        other.is_absolute()
            && other.file_name() == path.file_name()
            && fs::symlink_metadata(other).is_ok_and(|file| Identity::of(&file) == identity)
    };
    // Without the list, none is known.
    let list = fs::read("/proc/net/unix").unwrap_or_default();
    let lines = list.split(|&byte| byte == b'\n');
    lines.filter_map(bound_path).any(is_it)
}

/// The path of a stream socket that neither listens nor is connected: an accepted one has its listener's path. A line
/// is `Num RefCount Protocol Flags Type St Inode Path`.
fn bound_path(line: &[u8]) -> Option<&Path> {
    let mut rest = line;
    let mut field = || {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(|&byte| byte == b' ')?;
        let (field, after) = rest.split_at(end);
        rest = after;
        Some(field)
    };
    let (_number, _references, _protocol) = (field()?, field()?, field()?);
    let kind = (field()?, field()?, field()?);
    let _inode = field()?;
    let path = rest.strip_prefix(b" ")?;
    (kind == (b"00000000", b"0001", b"01")).then(|| Path::new(OsStr::from_bytes(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_that_neither_listen_nor_are_connected_count() {
        for (line, path) in [
            (
                "Num       RefCount Protocol Flags    Type St Inode Path",
                None,
            ),
            (
                "0000000000000000: 00000002 00000000 00000000 0001 01 26812 /run/a b",
                Some("/run/a b"),
            ),
            (
                "0000000000000000: 00000002 00000000 00000000 0001 01   812 /run/s",
                Some("/run/s"),
            ),
            (
                "0000000000000000: 00000002 00000000 00010000 0001 01 26812 /run/s",
                None,
            ),
            (
                "0000000000000000: 00000003 00000000 00000000 0001 03 26812 /run/s",
                None,
            ),
            (
                "0000000000000000: 00000002 00000000 00000000 0002 01 26812 /run/s",
                None,
            ),
            (
                "0000000000000000: 00000002 00000000 00000000 0001 01 26812",
                None,
            ),
            ("", None),
        ] {
            assert_eq!(bound_path(line.as_bytes()), path.map(Path::new), "{line}");
        }
    }
}
