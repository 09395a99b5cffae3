//! What is measured. Each suite compares servers of one kind in its scenarios.

mod native;
mod wasip1;

use interop::Outcome;

use crate::options::Options;

/// Runs what the options want of all suites.
pub(crate) fn run(options: &Options) -> Outcome {
    let scenarios = [
        &[native::SUITE, wasip1::SUITE][..],
        &native::SCENARIOS,
        &wasip1::SCENARIOS,
    ];
    let servers = [&native::SERVERS[..], &wasip1::SERVERS];
    options.check_names(&scenarios.concat(), &servers.concat())?;
    native::run(options)?;
    wasip1::run(options)
}
