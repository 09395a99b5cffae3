//! What a module says about its compiler.

/// Whether it was compiled by Go, whose linker adds a section with the name of the build.
pub(crate) fn is_go(module: &[u8]) -> bool {
    has_custom_section(module, b"go:buildid")
}

/// Whether a module has a custom section of this name. Bytes that aren't a module have none.
fn has_custom_section(module: &[u8], name: &[u8]) -> bool {
    // After the magic number and the version come sections: an identifier, a length, and contents.
    let mut rest = module.get(8..).unwrap_or_default();
    while let [id, after @ ..] = rest {
        let Some((length, contents)) = number(after) else {
            return false;
        };
        let Some((section, next)) = contents.split_at_checked(length) else {
            return false;
        };
        if *id == 0
            && let Some((length, named)) = number(section)
            && named.get(..length) == Some(name)
        {
            return true;
        }
        rest = next;
    }
    false
}

/// A number of at most 32 bits in LEB128, and the bytes after it.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_usize;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"\0asm\x01\0\0\0";

    #[test]
    fn modules_of_go_are_known_by_their_section() {
        let other = b"\x05\x03\x01\x00\x01";
        let section = b"\x00\x0e\x0ago:buildidabc";
        assert!(is_go(&[HEAD, other, section, other].concat()));
        for module in [
            &HEAD[..4],
            HEAD,
            &[HEAD, other].concat(),
            &[HEAD, &section[..9]].concat(),
        ] {
            assert!(!is_go(module));
        }
        // Lengths that lead outside, and that don't end.
        assert!(!is_go(&[HEAD, b"\x00\xff\xff\xff\xff\x0f"].concat()));
        assert!(!is_go(&[HEAD, b"\x00\xff\xff\xff\xff\xff\xff"].concat()));
    }
}
