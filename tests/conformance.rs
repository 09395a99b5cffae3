//! The cases of `tests/conformance/`.

mod common;

use common::cases;
use std::path::Path;

#[test]
fn all_cases_can_be_read() {
    let cases = cases::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance"));
    assert!(!cases.is_empty());
}
