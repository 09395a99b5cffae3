//! Which file a request's path means.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use percent_encoding::percent_decode_str;

/// The page of a folder.
const INDEX: &str = "index.html";

/// Longer names don't exist on any usual file system.
const LONGEST_NAME: usize = 255;

#[derive(Debug)]
pub(crate) enum Found {
    /// A file, and its media type.
    File(File, String),
    /// A folder, whose path should end with a slash.
    Folder,
    Nothing,
}

/// Finds what `path`, the path of a request, means below `directory`.
///
/// Each segment must be the visible name of something in its folder: then there is no way to write `..`, an absolute
/// path or another separator, decoded or not. Symbolic links aren't followed, because they could lead anywhere.
/// (A process that may write to the folder could replace a file by a link after the check and before it is opened. If
/// you can't trust it, let the system confine the server: a WASI runtime does.)
pub(crate) fn find(directory: &Path, path: &str) -> io::Result<Found> {
    let Some(names) = path.strip_prefix('/').and_then(names) else {
        return Ok(Found::Nothing);
    };
    let mut path = directory.to_path_buf();
    let (mut is_folder, mut is_file) = (true, false);
    for name in &names {
        if !is_folder {
            return Ok(Found::Nothing);
        }
        path.push(name);
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        (is_folder, is_file) = (metadata.is_dir(), metadata.is_file());
    }
    // Neither: a link, a pipe, a device.
    match (is_folder, is_file) {
        (true, _) => Ok(Found::Folder),
        (_, true) => match File::open(path) {
            Ok(file) => Ok(Found::File(file, media_type(&names))),
            // It was removed since.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) => Err(error),
        },
        _ => Ok(Found::Nothing),
    }
}

/// The decoded names of the segments. `None` if one of them can't be served.
fn names(path: &str) -> Option<Vec<String>> {
    let mut names = path.split('/').map(name).collect::<Option<Vec<_>>>()?;
    let last = names.last_mut()?;
    if last.is_empty() {
        *last = INDEX.into();
    }
    names.iter().all(|name| is_visible(name)).then_some(names)
}

fn name(segment: &str) -> Option<String> {
    let name = percent_decode_str(segment).decode_utf8().ok()?;
    Some(name.into_owned())
}

/// Whether this can be a name in a folder, on every system, and not one that is hidden. So `.` and `..` aren't,
/// and nothing with a separator of Unix or Windows, or with NUL.
fn is_visible(name: &str) -> bool {
    let is_bad = |character: char| character.is_control() || "/\\:".contains(character);
    !name.is_empty()
        && name.len() <= LONGEST_NAME
        && !name.starts_with('.')
        && !name.contains(is_bad)
}

/// By the extension of the name.
fn media_type(names: &[String]) -> String {
    let name = names.last().map_or("", String::as_str);
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    match guess.type_() == mime_guess::mime::TEXT {
        true => format!("{guess}; charset=utf-8"),
        false => guess.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &str) -> Option<String> {
        names(path).map(|names| names.join("|"))
    }

    #[test]
    fn a_path_has_visible_names() {
        assert_eq!(shown("a.txt").as_deref(), Some("a.txt"));
        assert_eq!(shown("a/b%20c/d").as_deref(), Some("a|b c|d"));
        assert_eq!(shown("gr%C3%BC%C3%9Fe").as_deref(), Some("grüße"));
        assert_eq!(shown("100%").as_deref(), Some("100%"));
        assert_eq!(shown("").as_deref(), Some("index.html"));
        assert_eq!(shown("a/").as_deref(), Some("a|index.html"));
    }

    #[test]
    fn no_path_leads_out() {
        let long = "x".repeat(256);
        for path in [
            "..",
            "../a",
            "a/../../b",
            "%2e%2e/a",
            "%2E%2E%2Fa",
            "..%2fa",
            "..%5ca",
            "a%00",
            "a%00.txt",
            "a%0ab",
            "a\\b",
            ".",
            "./a",
            ".hidden",
            "%2ehidden",
            "/etc/passwd",
            "%2fetc/passwd",
            "a//b",
            "//",
            "C:",
            "C:%5ca",
            "a:stream",
            "%ff",
            &long,
        ] {
            assert_eq!(shown(path), None, "{path}");
        }
    }

    #[test]
    fn text_is_utf_8() {
        let of = |name: &str| media_type(&["a".into(), name.into()]);
        assert_eq!(of("a.txt"), "text/plain; charset=utf-8");
        assert_eq!(of("index.HTML"), "text/html; charset=utf-8");
        assert_eq!(of("a.png"), "image/png");
        assert_eq!(of("a.wasm"), "application/wasm");
        assert_eq!(of("a"), "application/octet-stream");
    }
}
