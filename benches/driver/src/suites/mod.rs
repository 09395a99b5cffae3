//! What is measured. Each suite compares servers of one kind in its scenarios.

mod wasi;

use interop::Outcome;

use crate::options::Options;

/// Runs what the options want of all suites.
pub(crate) fn run(options: &Options) -> Outcome {
    let suites = [&wasi::WASIP1, &wasi::WASIP2];
    let scenarios: Vec<&str> = suites.iter().flat_map(|suite| suite.names()).collect();
    let servers: Vec<&str> = suites
        .iter()
        .flat_map(|suite| suite.server_names())
        .collect();
    options.check_names(&scenarios, &servers)?;
    suites.iter().try_for_each(|suite| suite.run(options))
}
