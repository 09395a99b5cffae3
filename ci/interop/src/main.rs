//! The program behind `ci/run`: see [`interop::command_line`].

use std::process::ExitCode;

fn main() -> ExitCode {
    interop::command_line::main(std::env::args().skip(1).collect())
}
