//! What a check consists of.

use super::call::Call;
use crate::{Outcome, Report, Runtime};

/// A check, as the command line and the help know it.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) name: &'static str,
    /// What is checked, in a few words.
    pub(super) about: &'static str,
    /// More, for `ci/run help CHECK`.
    pub(super) details: &'static str,
    pub(super) options: &'static [Opt],
    /// Whether it can run on a runtime.
    pub(super) can: fn(Runtime) -> bool,
    /// Whether it does when no runtime is named.
    pub(super) does: fn(Runtime) -> bool,
    pub(super) run: Run,
}

/// How a check is run.
#[derive(Debug)]
pub(super) enum Run {
    /// By this program, which reports a table.
    Report(fn(&Call) -> Outcome<Report>),
    /// By this program, which prints something else.
    Prints(fn(&Call) -> Outcome),
    /// By a script of the checkout. Its arguments are the values of all options, in the order of the
    /// table, and then the names of the runtimes.
    Script(&'static str),
    /// By the program `gates` of `benches`. Its arguments are the options that were named.
    Gate,
}

/// An option of a check.
#[derive(Debug)]
pub(super) struct Opt {
    /// With its dashes.
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) takes: Takes,
}

/// What follows the name of an option.
#[derive(Debug)]
pub(super) enum Takes {
    Nothing,
    /// A value: what it is called in the help, and what it is by default.
    Value(&'static str, &'static str),
    /// The same for a path, seen from the folder of the person.
    Path(&'static str, &'static str),
}

impl Check {
    /// The runtimes that it runs on when none is named.
    pub(super) fn defaults(&self) -> impl Iterator<Item = Runtime> {
        Runtime::all().filter(|&runtime| (self.does)(runtime))
    }

    /// All that it can run on.
    pub(super) fn possible(&self) -> impl Iterator<Item = Runtime> {
        Runtime::all().filter(|&runtime| (self.can)(runtime))
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
