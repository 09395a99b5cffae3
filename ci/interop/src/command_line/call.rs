//! [`Call`]: parses the part of a command line after the name of the check: runtimes and options.

use std::path::PathBuf;
use std::str::FromStr;

use super::check::{Check, Opt, Takes};
use crate::{Outcome, Runtime, ensure};

/// A check, and the runtimes and options to run it with.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) check: &'static Check,
    /// The runtimes that are named, or if none is, the check's own.
    pub(super) runtimes: Vec<Runtime>,
    /// The options on the command line, with their values.
    named: Vec<(&'static str, String)>,
}

impl Call {
    /// Parses what follows the name of the check: runtimes and options, in any order.
    pub(super) fn of(check: &'static Check, words: &[&str]) -> Outcome<Self> {
        let mut call = Self {
            check,
            runtimes: Vec::new(),
            named: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            if word.starts_with('-') {
                let option = option(check, word)?;
                let value = match option.takes {
                    Takes::Nothing => String::new(),
                    Takes::Value(..) => value(word, words.next())?.to_owned(),
                    Takes::Path(..) => absolute(value(word, words.next())?)?,
                };
                call.named.retain(|(name, _)| *name != option.name);
                call.named.push((option.name, value));
            } else {
                call.add(word.parse()?)?;
            }
        }
        if call.runtimes.is_empty() {
            call.runtimes = check.defaults().collect();
        }
        Ok(call)
    }

    fn add(&mut self, runtime: Runtime) -> Outcome {
        let name = self.check.name;
        let possible: Vec<_> = self.check.possible().map(Runtime::name).collect();
        ensure!(
            !possible.is_empty(),
            "{name} takes no runtime, such as '{runtime}'"
        );
        ensure!(
            possible.contains(&runtime.name()),
            "{name} can't run on {runtime}, but on {}",
            possible.join(", ")
        );
        if !self.runtimes.contains(&runtime) {
            self.runtimes.push(runtime);
        }
        Ok(())
    }

    /// The runtimes, after installing what is missing.
    pub(super) fn ready(&self) -> Outcome<Vec<Runtime>> {
        for runtime in &self.runtimes {
            runtime.prepare()?;
        }
        Ok(self.runtimes.clone())
    }

    /// The names of the runtimes.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.runtimes.iter().map(|runtime| runtime.name())
    }

    /// Whether a flag is named.
    pub(super) fn has(&self, name: &str) -> bool {
        self.named.iter().any(|(named, _)| *named == name)
    }

    /// The value of an option: the one on the command line, or the default.
    pub(super) fn value<T: FromStr>(&self, name: &str) -> Outcome<T> {
        let text = self.text(option(self.check, name)?);
        text.parse()
            .map_err(|_| format!("{name} can't be '{text}'"))
    }

    /// The values of all options, in the order of the table.
    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        self.check.options.iter().map(|option| self.text(option))
    }

    /// The options on the command line, in the form of a command line.
    pub(super) fn named_options(&self) -> impl Iterator<Item = &str> {
        self.named.iter().flat_map(|(name, value)| {
            let value = Some(value.as_str()).filter(|value| !value.is_empty());
            [Some(*name), value].into_iter().flatten()
        })
    }

    fn text(&self, option: &Opt) -> &str {
        let named = self.named.iter().find(|(name, _)| *name == option.name);
        match (named, &option.takes) {
            (Some((_, value)), _) => value,
            (None, Takes::Value(_, default) | Takes::Path(_, default)) => default,
            (None, Takes::Nothing) => "",
        }
    }
}

fn option(check: &'static Check, name: &str) -> Outcome<&'static Opt> {
    let found = check.options.iter().find(|option| option.name == name);
    found.ok_or_else(|| {
        let names: Vec<_> = check.options.iter().map(|option| option.name).collect();
        let known = match names[..] {
            [] => "it has none".to_owned(),
            _ => format!("it has {}", names.join(", ")),
        };
        format!("{} has no option '{name}': {known}", check.name)
    })
}

fn value<'a>(name: &str, word: Option<&&'a str>) -> Outcome<&'a str> {
    word.copied().ok_or_else(|| format!("{name} needs a value"))
}

/// Makes a path absolute. It is relative to the folder in which `ci/run` was called. `ci/run` changes to the checkout,
/// and passes that folder in a variable.
fn absolute(path: &str) -> Outcome<String> {
    let here = match std::env::var_os("CI_RUN_FROM") {
        Some(folder) => PathBuf::from(folder),
        None => std::env::current_dir().map_err(|e| e.to_string())?,
    };
    let path = here.join(path);
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| format!("{} isn't Unicode text", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::*;

    fn call(check: &str, words: &[&str]) -> Outcome<Call> {
        Call::of(find(check)?, words)
    }

    #[test]
    fn runtimes_and_options_come_in_any_order() {
        let call = call("resets", &["wasmi", "--seed", "7", "native"]).expect("a call");
        assert_eq!(call.runtimes, [Runtime::Wasmi, Runtime::Native]);
        assert_eq!(call.value("--seed"), Ok(7));
        assert_eq!(call.value("--count"), Ok(10_000));
    }

    #[test]
    fn without_a_name_the_runtimes_are_those_of_the_check() {
        let call = call("size", &[]).expect("a call");
        assert_eq!(call.runtimes, [Runtime::Wasmtime36]);
    }

    #[test]
    fn an_unknown_word_is_an_error_that_lists_the_known_ones() {
        for (check, words, known) in [
            ("abuse", &["wasmer"][..], "wazero-like"),
            ("abuse", &["--olny", "slow"], "--only"),
            ("probe", &["native"], "wasmtime36"),
            ("seeds", &["native"], "takes no runtime"),
            ("files", &["--only"], "it has none"),
            ("abuse", &["--only"], "needs a value"),
        ] {
            let why = call(check, words).expect_err("wrong");
            assert!(why.contains(known), "{why}");
        }
    }

    #[test]
    fn an_invalid_value_is_an_error() {
        let call = call("idle", &["--seconds", "ten"]).expect("a call");
        let why = call.value::<u64>("--seconds").expect_err("no number");
        assert_eq!(why, "--seconds can't be 'ten'");
    }

    #[test]
    fn a_script_gets_the_values_of_all_options() {
        let call = call("fuzz", &["--targets", "head"]).expect("a call");
        assert_eq!(call.values().collect::<Vec<_>>(), ["20", "head"]);
    }

    #[test]
    fn a_gate_gets_the_options_of_the_command_line() {
        let words = ["--program", "/t/server", "--record"];
        let call = call("instructions", &words).expect("a call");
        assert_eq!(call.named_options().collect::<Vec<_>>(), words);
    }
}
