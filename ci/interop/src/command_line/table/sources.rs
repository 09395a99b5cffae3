//! Checks of sources and packages: random worlds, fuzzing, what is uploaded, the public API, other systems, licences.

use super::none;
use crate::command_line::check::{Check, Run, option};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "seeds",
        about: "random worlds on the fake runtime: the poller, and the whole event loop",
        details: "In each of the fake's personalities. A failure names the command that replays it.",
        options: &[option(
            "--seeds",
            "N",
            "2000",
            "worlds of each kind; of the large ones a quarter",
        )],
        can_run: none,
        runs_by_default: none,
        run: Run::Script("ci/checks/seeds"),
    },
    Check {
        name: "fuzz",
        about: "the fuzz targets, each for some seconds",
        details: "It starts with seeds from the conformance cases, earlier findings, and the corpus of earlier runs.\n\
                  It needs a C++ compiler for libFuzzer, but no nightly toolchain: only sanitizers need that, and\n\
                  there is no unsafe code for them to check. A finding is written to fuzz/artifacts. When it is\n\
                  fixed, move it to fuzz/regressions, which `cargo test` replays.",
        options: &[
            option("--seconds", "N", "20", "for each target"),
            option(
                "--targets",
                "NAMES",
                "connection,head,chunked,streaming,proxy",
                "separated by commas",
            ),
        ],
        can_run: none,
        runs_by_default: none,
        run: Run::Script("ci/checks/fuzz"),
    },
    Check {
        name: "packages",
        about: "what `cargo publish` would upload",
        details: "Each package is made, unpacked, and built from that alone.",
        options: &[],
        can_run: none,
        runs_by_default: none,
        run: Run::Script("ci/checks/packages"),
    },
    Check {
        name: "other-systems",
        about: "the library, its tests and its examples compile for Windows, macOS, FreeBSD, and Linux on ARM",
        details: "With clippy. Nothing is run there.",
        options: &[],
        can_run: none,
        runs_by_default: none,
        run: Run::Script("ci/checks/other-systems"),
    },
    Check {
        name: "wine",
        about: "the example `echo`, built for Windows, serves curl under wine",
        details: "By Debian's wine64 and gcc-mingw-w64-x86-64; the workflow runs it.",
        options: &[],
        can_run: none,
        runs_by_default: none,
        run: Run::Script("ci/checks/wine"),
    },
    Check {
        name: "shim-patch",
        about: "a program with the patch of shim/README.md, from a clone of the checkout, compiles",
        details: "As committed: what isn't committed isn't in the clone.",
        options: &[],
        can_run: none,
        runs_by_default: none,
        run: Run::Script("ci/checks/shim-patch"),
    },
    Check {
        name: "public-types",
        about: "the items of other crates in the public API are those of ci/public-types.txt",
        details: "Read from rustdoc's JSON, without the feature `unstable`. RELEASING.md says what a difference\n\
                  means; `ci/checks/public-types --record` writes the list anew.",
        options: &[],
        can_run: none,
        runs_by_default: none,
        run: Run::Script("ci/checks/public-types"),
    },
    Check {
        name: "semver",
        about: "what breaks programs since the last release, by cargo-semver-checks",
        details: "Before the first release: since the commit before.",
        options: &[],
        can_run: none,
        runs_by_default: none,
        run: Run::Script("ci/checks/semver"),
    },
    Check {
        name: "docs-rs",
        about: "the documentation as docs.rs builds it, for each of its targets",
        details: "Without warnings, and with marks at what needs a feature.",
        options: &[],
        can_run: none,
        runs_by_default: none,
        run: Run::Script("ci/checks/docs-rs"),
    },
    Check {
        name: "features",
        about: "the library compiles with each of its features alone, with each pair, without any, and with all",
        details: "Natively and for both versions of WASI, by cargo-hack. The workflow runs it.",
        options: &[],
        can_run: none,
        runs_by_default: none,
        run: Run::Script("ci/checks/features"),
    },
    Check {
        name: "licences",
        about: "licences and sources of all dependencies, by cargo-deny",
        details: "What is allowed is in deny.toml. `ci/checks/licences --advisories` looks for known faults of the\n\
                  dependencies instead. Their list is fetched from GitHub, so the workflow runs it.",
        options: &[],
        can_run: none,
        runs_by_default: none,
        run: Run::Script("ci/checks/licences"),
    },
];
