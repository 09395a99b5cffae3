//! What is measured. Each suite compares servers of one kind in its scenarios.

mod wasip1;

use interop::Outcome;

use crate::options::Options;

/// Runs what the options want of all suites.
pub(crate) fn run(options: &Options) -> Outcome {
    let names: Vec<&str> = [wasip1::SUITE]
        .into_iter()
        .chain(wasip1::SCENARIOS)
        .collect();
    options.check_names(&names, &wasip1::SERVERS)?;
    wasip1::run(options)
}
