//! Makes the text of `ci/run help` from the table of checks.

use std::fmt::Write as _;

use super::check::{Check, Opt, Takes};
use super::{names, table};
use crate::Runtime;

/// All checks and all runtimes.
pub(super) fn all() -> String {
    let mut text = String::from(
        "ci/run CHECK [RUNTIME...] [OPTION...]\n\n\
         Checks, with the runtimes in which they run unless some are named:\n\n",
    );
    for check in table::checks() {
        let on = join(check.defaults());
        let on = match on.is_empty() {
            true => String::new(),
            false => format!(" [{on}]"),
        };
        let _ = writeln!(text, "  {:<16}{}{on}", check.name, check.about);
    }
    text.push_str("\nRuntimes:\n\n");
    for runtime in Runtime::all() {
        let target = runtime.target().unwrap_or("this machine");
        let _ = writeln!(
            text,
            "  {:<18}{target:<13}  {}",
            runtime.name(),
            runtime.about()
        );
    }
    let _ = write!(
        text,
        "\nci/run help CHECK: the options of a check, and all runtimes in which it can run.\n\
         {}: only the names of runtimes.\n\
         ci/bench runs the benchmarks; the head of the script lists its options.\n",
        names::USAGE
    );
    text
}

/// One check.
pub(super) fn of(check: &Check) -> String {
    let mut text = format!("ci/run {}", check.name);
    if check.possible().next().is_some() {
        text.push_str(" [RUNTIME...]");
    }
    for option in check.options {
        let _ = write!(text, " [{}]", usage(option));
    }
    let _ = writeln!(text, "\n\n{}.", sentence(check.about));
    if !check.details.is_empty() {
        let _ = writeln!(text, "\n{}", check.details);
    }
    if !check.options.is_empty() {
        text.push_str("\nOptions:\n\n");
    }
    let width = check.options.iter().map(|it| usage(it).len()).max();
    for option in check.options {
        let default = match option.takes {
            Takes::Value(_, default) | Takes::Path(_, default) if !default.is_empty() => {
                format!(" ({default})")
            }
            _ => String::new(),
        };
        let width = width.unwrap_or_default();
        let _ = writeln!(
            text,
            "  {:width$}  {}{default}",
            usage(option),
            option.about
        );
    }
    if check.possible().next().is_some() {
        let _ = writeln!(text, "\nRuntimes: {}", join(check.possible()));
        let _ = writeln!(text, "Unless some are named: {}", join(check.defaults()));
    }
    text
}

/// An option, with its value.
fn usage(option: &Opt) -> String {
    match option.takes {
        Takes::Nothing => option.name.into(),
        Takes::Value(what, _) | Takes::Path(what, _) => format!("{} {what}", option.name),
    }
}

fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).collect()
}

fn join(runtimes: impl Iterator<Item = Runtime>) -> String {
    let names: Vec<_> = runtimes.map(Runtime::name).collect();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::*;

    #[test]
    fn the_help_names_every_check_and_every_runtime() {
        let text = all();
        for check in table::checks() {
            assert!(text.contains(&format!("\n  {} ", check.name)), "{text}");
        }
        for runtime in Runtime::all() {
            assert!(text.contains(&format!("\n  {} ", runtime.name())), "{text}");
        }
    }

    #[test]
    fn the_help_of_a_check_names_its_options_and_runtimes() {
        let check = find("files").expect("a check");
        assert!(
            of(check).contains("Runtimes: native wasmi"),
            "{}",
            of(check)
        );
        for check in table::checks() {
            for option in check.options {
                assert!(of(check).contains(option.name), "{}", of(check));
            }
        }
    }
}
