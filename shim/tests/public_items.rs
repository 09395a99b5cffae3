//! Checks that the table in the README names every public item of mio, in the version of the workspace's lock file.
//!
//! The items are read from mio's sources, in cargo's folder. This is not a parser for Rust: it
//! relies on the layout of rustfmt, which mio uses.
#![cfg(not(target_os = "wasi"))]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn the_readme_names_every_public_item() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).expect("a README");
    let mut items = Vec::new();
    let sources = sources();
    for file in FILES {
        let path = sources.join("src").join(file);
        let text = fs::read_to_string(&path);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        items.extend(public_items(&text));
    }
    assert!(items.len() > 100, "hardly any items: {items:?}");
    for known in ["Poll::poll", "TcpStream::try_io", "Interest::add", "Source"] {
        assert!(items.iter().any(|item| item == known), "{known} not read");
    }
    let names =
        |line: &str, item: &str| line.starts_with("| ") && line.contains(&format!("`{item}`"));
    items.retain(|item| !readme.lines().any(|line| names(line, item)));
    assert!(items.is_empty(), "not in the README's table: {items:#?}");
}

/// The files with mio's public items. Most items below `sys` are public through these.
const FILES: &[&str] = &[
    "lib.rs",
    "poll.rs",
    "interest.rs",
    "token.rs",
    "waker.rs",
    "event/event.rs",
    "event/events.rs",
    "event/source.rs",
    "net/tcp/listener.rs",
    "net/tcp/stream.rs",
    "net/udp.rs",
    "net/uds/datagram.rs",
    "net/uds/listener.rs",
    "net/uds/stream.rs",
    "sys/unix/sourcefd.rs",
    "sys/unix/pipe.rs",
    "sys/windows/named_pipe.rs",
];

/// The folder of the mio of crates.io.
fn sources() -> PathBuf {
    let cargo = std::env::var("CARGO").unwrap_or("cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    let metadata = String::from_utf8_lossy(&output.stdout).into_owned();
    let paths = metadata.split(r#""manifest_path":""#).skip(1);
    let paths = paths.filter_map(|rest| rest.split('"').next());
    let mut folders = paths.filter_map(|path| Path::new(path).parent());
    let is_mio = |folder: &&Path| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("mio-1.2.")
    };
    let found = folders.find(is_mio);
    let why = String::from_utf8_lossy(&output.stderr);
    found
        .unwrap_or_else(|| panic!("no mio 1.2 in the workspace: {why}"))
        .to_path_buf()
}

/// `Type`, `Type::method`, `Type::CONSTANT` and `module`, as they are declared.
fn public_items(text: &str) -> Vec<String> {
    let mut items = Vec::new();
    // The inherent `impl` or the trait that the line is in, and how far it is indented.
    let mut within: Option<(usize, String, bool)> = None;
    for line in text.lines() {
        let start = line.trim_start();
        let indent = line.len() - start.len();
        if start.starts_with("mod tests") {
            break;
        }
        if within.as_ref().is_some_and(|it| indent <= it.0) && start.starts_with('}') {
            within = None;
        }
        if let Some(rest) = start.strip_prefix("impl")
            && !start.contains(" for ")
            && start.ends_with('{')
        {
            // `impl<'a> Type<'a> {`
            let rest = match rest.strip_prefix('<') {
                Some(generic) => generic.split_once('>').map_or("", |it| it.1),
                None => rest,
            };
            within = Some((indent, name(rest.trim_start()), false));
            continue;
        }
        let declared = start.strip_prefix("pub ").or_else(|| {
            // The methods of a public trait.
            let in_trait = within.as_ref().is_some_and(|it| it.2 && indent == it.0 + 4);
            in_trait.then_some(start)
        });
        let Some(declared) = declared else { continue };
        let declared = [
            "const fn ",
            "unsafe fn ",
            "fn ",
            "const ",
            "struct ",
            "enum ",
            "trait ",
            "mod ",
        ]
        .iter()
        .find_map(|keyword| Some((keyword.trim(), declared.strip_prefix(keyword)?)));
        let Some((keyword, rest)) = declared else {
            continue;
        };
        let item = name(rest);
        match &within {
            Some((_, owner, _)) if keyword.ends_with("fn") || keyword == "const" => {
                items.push(format!("{owner}::{item}"));
            }
            // A test of mio's, and the one free function.
            _ if keyword == "fn" && item == "as_raw_fd" => {}
            _ if keyword == "fn" => items.push(format!("pipe::{item}")),
            _ => items.push(item.clone()),
        }
        if keyword == "trait" {
            within = Some((indent, item, true));
        }
    }
    items
}

/// The name that a text begins with.
fn name(text: &str) -> String {
    let is_part = |c: &char| c.is_alphanumeric() || *c == '_';
    text.chars().take_while(is_part).collect()
}
