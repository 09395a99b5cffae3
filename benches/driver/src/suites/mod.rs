//! What is measured. Each suite compares servers of one kind in its scenarios.

mod native;
mod wasi;

use interop::Outcome;

use crate::options::{GROUPS, Options};

/// Runs the suites and scenarios that the options name.
pub(crate) fn run(options: &Options) -> Outcome {
    let wasi = [&wasi::WASIP1, &wasi::WASIP2, &wasi::HOST];
    let mut scenarios = vec![native::SUITE.to_owned()];
    scenarios.extend(GROUPS.map(str::to_owned));
    for name in native::SCENARIOS {
        scenarios.extend([name.to_owned(), format!("{}-{name}", native::SUITE)]);
    }
    scenarios.extend(wasi.iter().flat_map(|suite| suite.names()));
    let mut servers = native::SERVERS.map(str::to_owned).to_vec();
    let names = wasi.iter().flat_map(|suite| suite.server_names());
    servers.extend(names.map(str::to_owned));
    options.check_names(&scenarios, &servers)?;
    native::run(options)?;
    wasi.iter().try_for_each(|suite| suite.run(options))
}
