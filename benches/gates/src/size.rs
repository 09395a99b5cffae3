//! Measures the size of two examples' modules, as the size of a user's smallest server.

use std::fs;

use interop::{Outcome, Program, Runtime, ensure, root};

use crate::recorded::{Figures, Tolerance};

/// The examples: name, description, and the most bytes that each should have.
const MODULES: [(&str, &str, u64); 2] = [
    ("minimal", "without a logger", 200_000),
    ("hello", "with env_logger", 260_000),
];

/// The size is the same each time, except for the paths of sources in the module.
const TOLERANCE: Tolerance = Tolerance {
    same_compiler: 0.01,
    another_compiler: 0.05,
};

/// Runs the check, with the rest of the command line.
pub(crate) fn run(mut arguments: impl Iterator<Item = String>) -> Outcome {
    let record = arguments.next().map(|argument| argument == "--record");
    ensure!(record != Some(false), "only --record is understood");
    // Only the target is needed, not the runtime.
    let runtime = Runtime::Wasmtime36;
    runtime.prepare_target()?;
    let mut all = Vec::new();
    for (example, about, most) in MODULES {
        let what = ["--profile", "wasm-release", "--example", example];
        let path = Program::build(runtime, &root(), &what, false)?.path;
        let size = fs::metadata(&path)
            .map_err(|e| format!("{}: {e}", path.display()))?
            .len();
        let mark = if size <= most { "ok" } else { "MISSED" };
        println!("goal: {example}.wasm, {about}, at most {most} bytes: {size} {mark}");
        all.push((format!("{example}.wasm, {about}"), size));
    }
    let figures = Figures { name: "size", all };
    if record == Some(true) {
        return figures.record();
    }
    figures.check(TOLERANCE)
}
