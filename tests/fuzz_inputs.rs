//! Replays inputs that fuzzing has found, and makes the fuzzer's seeds from the conformance cases.
#![cfg(not(target_os = "wasi"))]

mod common;
mod oracle;

use common::check;
use common::notation::Step;
use oracle::choices::Choices;
use std::fs;
use std::path::{Path, PathBuf};

type Check = fn(&[u8]);

const TARGETS: [(&str, Check); 5] = [
    ("connection", oracle::connection::check),
    ("head", oracle::head::check),
    ("chunked", oracle::chunked::check),
    ("streaming", oracle::streaming::check),
    ("proxy", oracle::proxy::check),
];

/// The files `fuzz/regressions/TARGET/NAME` are inputs that the fuzzer has found. The faults are fixed.
#[test]
fn inputs_that_failed_before_pass() {
    let mut count = 0;
    for (target, check) in TARGETS {
        let folder = root().join("fuzz/regressions").join(target);
        // Not every target has a folder.
        let entries = fs::read_dir(&folder).into_iter().flatten();
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            let bytes = fs::read(&path).expect("readable");
            let result = std::panic::catch_unwind(|| check(&bytes));
            assert!(result.is_ok(), "{}: see above", path.display());
            count += 1;
        }
    }
    assert!(count > 0, "no inputs are there");
}

/// The seeds are made from conformance cases, and must pass the fuzzer's checks, too.
#[test]
fn all_seeds_pass() {
    for (target, check) in TARGETS {
        for seed in seeds(target) {
            check(&seed);
        }
    }
}

/// Writes the seeds of each target into a folder with its name.
#[test]
#[ignore = "writes into the folder MINI_HTTP_CORPUS, for ci/run fuzz"]
fn write_seeds() {
    let folder = std::env::var_os("MINI_HTTP_CORPUS").expect("MINI_HTTP_CORPUS");
    for (target, _) in TARGETS {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder).expect("a folder");
        for (number, seed) in seeds(target).iter().enumerate() {
            fs::write(folder.join(format!("case-{number:04}")), seed).expect("writable");
        }
    }
}

/// The longest seed. Longer ones slow down the fuzzer, and find nothing that short ones don't.
const LONGEST: usize = 2000;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let cases = common::cases::load(&root().join("tests/conformance"));
    let mut seeds = Vec::new();
    for input in cases.iter().flat_map(|case| &case.inputs) {
        let bytes = check::bytes(input);
        let ends = u8::from(input.contains(&Step::Eof));
        if bytes.len() > LONGEST {
            continue;
        }
        match target {
            "chunked" => {
                let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
                let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
                if let Some(end) = end.filter(|_| head.contains("chunked")) {
                    seeds.push(Choices::join(&bytes[end + 4..], &[]));
                }
            }
            "proxy" if begins_with_proxy_header(&bytes) => {
                seeds.push(Choices::join(&bytes, &[]));
                seeds.push(Choices::join(&bytes, &[ends, 5, 0, 17, 2]));
            }
            "proxy" => {}
            "head" => seeds.push(Choices::join(&bytes, &[])),
            "streaming" => {
                // In pieces, compared with complete bodies.
                seeds.push(Choices::join(
                    &bytes,
                    &[2 * ends, 0, 0, 0, 6, 3, 0, 1, 20, 5],
                ));
                // A response at once, a body taken bit by bit, one that is left unread, and an echo.
                let flags = 1 + 8 * ends;
                for choices in [
                    &[0xf1, 0x2a, 0xec, 0x3, 0xe, 0xf, 0xf1, 0xa, 0x3c, 0x1e, 0xf][..],
                    &[
                        0x51, 0x8, 0x27, 0x11, 0x37, 0xf1, 0x57, 0xf, 0xf7, 0xf, 0x2a, 0x3c, 0xe,
                        0xf,
                    ],
                    &[
                        0x71, 0x9, 0x2a, 0xe, 0xf1, 0xf, 0x99, 0x8, 0xf1, 0x4a, 0xf, 0x4, 0x3,
                    ],
                    &[
                        0x81, 0xa, 0x3c, 0xf1, 0xf7, 0x4c, 0x33, 0x66, 0x4, 0x96, 0xe,
                    ],
                ] {
                    seeds.push(Choices::join(
                        &bytes,
                        &[&[flags, 0, 0][..], choices].concat(),
                    ));
                }
            }
            _ => {
                seeds.push(Choices::join(&bytes, &[0, 0, ends]));
                // In pieces, with other responses, which the client takes in pieces.
                let pieces = [1, 1, 7, ends, 10, 9, 3, 7, 10, 36, 10, 7];
                seeds.push(Choices::join(&bytes, &pieces));
                // With small limits, waits and other disturbances.
                let disturbed = [7, 0, 4, 0, 0, 0, 3, ends | 8, 10, 9, 53, 36, 10, 61, 1, 5];
                seeds.push(Choices::join(&bytes, &disturbed));
            }
        }
    }
    seeds.sort();
    seeds.dedup();
    seeds
}

/// Only such inputs become seeds of `proxy`, so that they are few, and all about the header.
fn begins_with_proxy_header(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PROXY ") || bytes.starts_with(b"\r\n\r\n\0")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
