//! Names of files, as clients give them.

/// In bytes. File systems take 255; some room is left for what others add to names.
const LONGEST: usize = 120;

/// A name that can be used in any folder: without a path, visible, without characters that are special to
/// a system or in a terminal.
pub(crate) fn safe(name: &str) -> String {
    // Some browsers send the whole path of the client's machine.
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let safe: String = name.chars().map(safe_character).collect();
    // A dot at the beginning hides a file; at the end, Windows drops it.
    let safe = safe.trim_matches(['.', ' ']);
    match shortened(safe) {
        "" => "unnamed".into(),
        safe if is_device(safe) => format!("_{safe}"),
        safe => safe.into(),
    }
}

/// Whether Windows takes the name for a device, with any extension, in any folder: writing to `NUL` loses the file.
fn is_device(name: &str) -> bool {
    let name = name.split('.').next().unwrap_or(name).trim_end();
    let name = name.to_ascii_uppercase();
    match name.strip_prefix("COM").or(name.strip_prefix("LPT")) {
        Some(number) => matches!(
            number,
            "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³"
        ),
        None => matches!(&*name, "CON" | "PRN" | "AUX" | "NUL"),
    }
}

fn safe_character(character: char) -> char {
    match character {
        '.' | '-' | '_' | ' ' | '(' | ')' => character,
        _ if character.is_alphanumeric() => character,
        _ => '_',
    }
}

fn shortened(name: &str) -> &str {
    if name.len() <= LONGEST {
        return name;
    }
    let ends = name.char_indices().map(|(end, _)| end);
    let end = ends.take_while(|&end| end <= LONGEST).last().unwrap_or(0);
    name[..end].trim_end_matches(['.', ' '])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_names_stay() {
        for name in [
            "a.txt",
            "Report (2) final-v1_x.PDF",
            "grüße.txt",
            "名.png",
            "a..b",
        ] {
            assert_eq!(safe(name), name);
        }
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for (name, expected) in [
            ("../../etc/passwd", "passwd"),
            ("/etc/passwd", "passwd"),
            ("C:\\Users\\me\\a.txt", "a.txt"),
            ("..\\a.txt", "a.txt"),
            ("..", "unnamed"),
            (".", "unnamed"),
            ("", "unnamed"),
            ("a/", "unnamed"),
            (".htaccess", "htaccess"),
            ("a.txt. ", "a.txt"),
            ("C:a.txt", "C_a.txt"),
            ("a.txt:stream", "a.txt_stream"),
            ("NUL", "_NUL"),
            ("con.tar.gz", "_con.tar.gz"),
            ("Com1 .txt", "_Com1 .txt"),
            ("LPT².txt", "_LPT².txt"),
            ("COM10", "COM10"),
            ("console.txt", "console.txt"),
            ("a\0b\nc\x1b[1m\u{202e}<>|*?\"", "a_b_c__1m_______"),
        ] {
            assert_eq!(safe(name), expected, "{name:?}");
        }
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(safe(&"ä".repeat(200)), "ä".repeat(60));
        let dotted = "x".repeat(LONGEST - 1) + "..txt";
        assert_eq!(safe(&dotted), "x".repeat(LONGEST - 1));
    }
}
