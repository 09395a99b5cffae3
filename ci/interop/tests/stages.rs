//! The stages of scripts, as `ci/lib.sh` runs and counts them.

use std::process::Command;

/// Runs these lines between `stages_begin` and `stages_end`. Returns what they print, and whether all has passed.
fn stages(lines: &str) -> (String, bool) {
    let library = concat!(env!("CARGO_MANIFEST_DIR"), "/../lib.sh");
    let script =
        format!("set -euo pipefail\nsource '{library}'\nstages_begin\n{lines}\nstages_end\n");
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).env_remove("INTEROP_SUMMARY");
    let output = bash.output().expect("bash");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    (printed, output.status.success())
}

#[test]
fn a_stage_counts_as_one_check_unless_it_has_counted() {
    let (printed, passed) = stages(
        "stage one true\n\
         stage two false\n\
         counted() { echo '3 0' >>\"$INTEROP_SUMMARY\"; }\n\
         stage three counted\n\
         named() { echo '1 0' >>\"$INTEROP_SUMMARY\"; echo '0 1 GET, wasmi' >>\"$INTEROP_SUMMARY\"; false; }\n\
         stage four named\n\
         beside five bash -c 'echo why; false'",
    );
    let end = "failed: two\nfailed: GET, wasmi\nfailed: five\n5 passed, 3 failed\n";
    assert!(printed.ends_with(end), "{printed}");
    let before_the_list = "\n== the last lines of five\nwhy\n\nok ";
    assert!(printed.contains(before_the_list), "{printed}");
    assert!(!passed);
}

#[test]
fn what_a_stage_leaves_out_is_listed_and_is_not_counted() {
    let (printed, passed) = stages(
        "stage one true\n\
         stage two leave_out 'the guest in Go: there is no Go'\n\
         beside three bash -c \"source '$ROOT/ci/lib.sh'; leave_out 'the load: there is no wrk'\"\n\
         nested() { (stages_begin; stage inner leave_out 'a test: there is no root'; stages_end); }\n\
         stage four nested",
    );
    let listed = "left out: the guest in Go: there is no Go\n\
                  left out: a test: there is no root\n\
                  left out: the load: there is no wrk\n\
                  1 passed, 0 failed\n";
    assert!(printed.ends_with(listed), "{printed}");
    assert!(passed);
}

/// `cargo` is a function of the script here, which only lists tests.
#[test]
fn tests_that_are_not_there_are_a_failure() {
    for (listed, end) in [
        ("0 tests, 0 benchmarks", "\n0 passed, 1 failed\n"),
        ("seeds::a_world: test", "\n1 passed, 0 failed\n"),
    ] {
        let (printed, _) = stages(&format!(
            "cargo() {{ [[ \"$*\" != *--list ]] || echo '{listed}'; }}\n\
             stage seeds tests_of --lib seeds"
        ));
        assert!(printed.ends_with(end), "{printed}");
    }
}
