//! The command line `ci/run CHECK [RUNTIME...] [OPTION...]`, which runs all checks.
//!
//! - `table`: the checks, with their options and the runtimes in which they run.
//! - `check`: the types of the table.
//! - `call`: parses a command line.
//! - `help`: prints the help, which is made from the table.
//! - `names`: `ci/run runtimes`, which prints the names of runtimes for scripts.

mod call;
mod check;
mod help;
mod names;
mod table;

use std::process::{Command, ExitCode};

use self::call::Call;
use self::check::{Check, Run};
use crate::{Outcome, ensure, root};

/// Runs a command line.
#[must_use]
pub fn main(arguments: Vec<String>) -> ExitCode {
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("ci/run: {why}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether everything has passed.
fn run(arguments: &[String]) -> Outcome<bool> {
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] | ["help" | "--help" | "-h"] => print!("{}", help::all()),
        ["help", check] => print!("{}", help::of(find(check)?)),
        ["help", ..] => return Err("help is about one check at a time".into()),
        ["runtimes", ..] => println!("{}", names::run(&words[1..])?),
        [check, ..] if words.iter().any(|word| ["--help", "-h"].contains(word)) => {
            print!("{}", help::of(find(check)?));
        }
        [check, ..] => return execute(&Call::of(find(check)?, &words[1..])?),
    }
    Ok(true)
}

fn find(name: &str) -> Outcome<&'static Check> {
    let found = table::checks().find(|check| check.name == name);
    found.ok_or_else(|| {
        let names: Vec<_> = table::checks().map(|check| check.name).collect();
        format!(
            "there is no check '{name}'; the checks are {}",
            names.join(", ")
        )
    })
}

/// Whether there is a check of this name.
pub(crate) fn has_check(name: &str) -> bool {
    find(name).is_ok()
}

fn execute(call: &Call) -> Outcome<bool> {
    match call.check.run {
        Run::Report(run) => run(call).map(|report| report.finish()),
        Run::Prints(run) => run(call).map(|()| true),
        Run::Script(path) => {
            let mut command = Command::new(root().join(path));
            command.args(call.values()).args(call.names());
            command.current_dir(root());
            passes(command)
        }
        Run::Gate => {
            let mut command = Command::new("cargo");
            command.args(["run", "--quiet", "--release", "--locked"]);
            command.args(["--package", "gates", "--bin", "gates", "--"]);
            command.arg(call.check.name).args(call.named_options());
            // It is a workspace of its own, with its own configuration.
            command.current_dir(root().join("benches"));
            passes(command)
        }
    }
}

/// Runs a command, and shows its output. Returns whether it has succeeded.
fn passes(mut command: Command) -> Outcome<bool> {
    let status = command.status().map_err(|e| format!("{command:?}: {e}"))?;
    ensure!(status.code().is_some(), "{command:?} ended: {status}");
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn an_unknown_check_is_an_error_that_lists_the_known_ones() {
        let arguments = ["conformnace".to_owned()];
        let why = run(&arguments).expect_err("no such check");
        for check in table::checks() {
            assert!(why.contains(check.name), "{why}");
        }
    }
    /// Checks that the commands in all documents and in the workflows of `.github` exist.
    #[test]
    fn documents_name_commands_that_exist() {
        let mut texts = Vec::new();
        read_texts(&root(), &mut texts);
        assert!(texts.len() > 10, "there are more documents than {texts:?}");
        for (path, text) in texts {
            for (at, _) in text.match_indices("ci/") {
                check_command(&text[..at], &text[at..])
                    .unwrap_or_else(|why| panic!("{}: {why}", path.display()));
            }
        }
    }

    /// Checks a word that begins with `ci/`: there must be such a file, and after `ci/run` such a check.
    fn check_command(before: &str, text: &str) -> Outcome {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        let hidden = before.ends_with('.');
        if before.ends_with(is_part) && !hidden {
            return Ok(());
        }
        let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
        let word = text[..end].trim_end_matches('.');
        let word = if hidden {
            format!(".{word}")
        } else {
            word.into()
        };
        ensure!(root().join(&word).exists(), "there is no {word}");
        let check = text[end..].strip_prefix(' ').unwrap_or_default();
        let check = check
            .split(|c: char| !is_part(c))
            .next()
            .unwrap_or_default();
        let is_command =
            word == "ci/run" && !check.is_empty() && check.contains(char::is_lowercase);
        if is_command && !["help", "runtimes"].contains(&check) {
            find(check.trim_end_matches('.'))?;
        }
        Ok(())
    }

    fn read_texts(folder: &Path, texts: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default();
            let is_text = ["md", "yml"]
                .map(OsStr::new)
                .contains(&path.extension().unwrap_or_default());
            if path.is_dir()
                && !["target", ".git", "corpus", "node_modules"]
                    .map(OsStr::new)
                    .contains(&name)
            {
                read_texts(&path, texts);
            } else if is_text {
                let text = fs::read_to_string(&path).expect("a text");
                texts.push((path, text));
            }
        }
    }
}
