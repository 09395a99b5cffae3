//! The types of the table of checks: [`Check`], its options, and how it is run.

use super::call::Call;
use crate::{Outcome, Report, Runtime};

/// A check.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) name: &'static str,
    /// What it checks, in a few words.
    pub(super) about: &'static str,
    /// More text, for `ci/run help CHECK`.
    pub(super) details: &'static str,
    pub(super) options: &'static [Opt],
    /// Whether it can run in a runtime.
    pub(super) can_run: fn(Runtime) -> bool,
    /// Whether it runs in a runtime if none is named.
    pub(super) runs_by_default: fn(Runtime) -> bool,
    pub(super) run: Run,
}

/// How a check is run.
#[derive(Debug)]
pub(super) enum Run {
    /// By a function of this program, which returns a table.
    Report(fn(&Call) -> Outcome<Report>),
    /// By a function of this program, which prints something else.
    Prints(fn(&Call) -> Outcome),
    /// By a script of the checkout. Its arguments are the values of all options, in the order of the
    /// table, and then the names of the runtimes.
    Script(&'static str),
    /// By the program `gates` of `benches`. Its arguments are the options on the command line.
    Gate,
}

/// An option of a check.
#[derive(Debug)]
pub(super) struct Opt {
    /// Its name, including the dashes.
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) takes: Takes,
}

/// What follows an option on the command line.
#[derive(Debug)]
pub(super) enum Takes {
    Nothing,
    /// A value: its name in the help, and its default.
    Value(&'static str, &'static str),
    /// The same for a path, relative to the folder in which `ci/run` was called.
    Path(&'static str, &'static str),
}

impl Check {
    /// The runtimes in which it runs if none is named.
    pub(super) fn defaults(&self) -> impl Iterator<Item = Runtime> {
        Runtime::all().filter(|&runtime| (self.runs_by_default)(runtime))
    }

    /// All runtimes in which it can run.
    pub(super) fn possible(&self) -> impl Iterator<Item = Runtime> {
        Runtime::all().filter(|&runtime| (self.can_run)(runtime))
    }
}

pub(super) const fn flag(name: &'static str, about: &'static str) -> Opt {
    Opt {
        name,
        about,
        takes: Takes::Nothing,
    }
}

pub(super) const fn option(
    name: &'static str,
    what: &'static str,
    default: &'static str,
    about: &'static str,
) -> Opt {
    Opt {
        name,
        about,
        takes: Takes::Value(what, default),
    }
}

pub(super) const fn path(
    name: &'static str,
    what: &'static str,
    default: &'static str,
    about: &'static str,
) -> Opt {
    Opt {
        name,
        about,
        takes: Takes::Path(what, default),
    }
}
