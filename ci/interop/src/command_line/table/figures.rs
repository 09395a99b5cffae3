//! Checks of figures: times, instructions, allocations, sizes.

use std::time::Duration;

use super::{native, preview1_in_wasmtime};
use crate::command_line::call::Call;
use crate::command_line::check::{Check, Opt, Run, flag, option, path};
use crate::{Outcome, Report, first_response};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "first-response",
        about: "time from the start of a compiled module to the first response",
        details: "The module is compiled before, or by an earlier start if the runtime keeps compiled modules. The\n\
                  median counts. Profile wasm-release.",
        options: &[
            option("--starts", "N", "10", "how many times to start it"),
            option("--most-ms", "N", "50", "fails if it takes longer"),
        ],
        can_run: |it| it.precompiles() || it.caches(),
        runs_by_default: |it| it.is_usual() && (it.precompiles() || it.caches()),
        run: Run::Report(first_response),
    },
    Check {
        name: "instructions",
        about: "instructions for a request, counted by valgrind (Linux)",
        details: "Of the native server, in user space. Fails if there are over 3 % more than recorded with the same\n\
                  compiler.",
        options: &[
            RECORD,
            path(
                "--program",
                "FILE",
                "",
                "another server, which listens at MINI_HTTP_ADDR; its figures aren't compared",
            ),
            path(
                "--keep",
                "FOLDER",
                "",
                "keeps valgrind's files there, for callgrind_annotate",
            ),
        ],
        can_run: native,
        runs_by_default: native,
        run: Run::Gate,
    },
    Check {
        name: "allocations",
        about: "allocations for a request in steady state",
        details: "Of the native server. Fails if there are more than recorded.",
        options: &[RECORD],
        can_run: native,
        runs_by_default: native,
        run: Run::Gate,
    },
    Check {
        name: "size",
        about: "the sizes of two modules of preview 1, in the profile wasm-release",
        details: "Fails if they are over 1 % larger than recorded (with the same compiler).",
        options: &[RECORD],
        can_run: preview1_in_wasmtime,
        runs_by_default: preview1_in_wasmtime,
        run: Run::Gate,
    },
    Check {
        name: "bench-build",
        about: "lints, tests and builds of the benchmarks (Linux)",
        details: "Builds all that bench-check runs.",
        options: &[],
        can_run: |it| it.is_usual() && !it.is_blind(),
        runs_by_default: |it| it.is_usual() && !it.is_blind(),
        run: Run::Script("ci/checks/bench-build"),
    },
    Check {
        name: "bench-check",
        about: "runs the benchmarks, without measuring (Linux)",
        details: "",
        options: &[],
        can_run: |it| it.is_usual() && !it.is_blind(),
        runs_by_default: |it| it.is_usual() && !it.is_blind(),
        run: Run::Script("ci/checks/bench-check"),
    },
];

const RECORD: Opt = flag("--record", "writes the figures to benches/results");

fn first_response(call: &Call) -> Outcome<Report> {
    let settings = first_response::Settings {
        starts: call.value("--starts")?,
        most: Duration::from_millis(call.value("--most-ms")?),
    };
    Ok(first_response::run(&call.ready()?, settings))
}
