//! Signals: the first drains, the second stops.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::Error;
use crate::phase::Phase;
use crate::running::{Running, Shared};

/// What a shell adds to the number of the signal that has ended a process.
const BY_SIGNAL: u8 = 128;

/// Catches signals from now on. They are handled by [`wait`].
pub(crate) fn catch() -> Result<Signals, Error> {
    let signals = Signals::new([SIGINT, SIGTERM]);
    signals.map_err(|error| Error::from_io("can't handle signals", error))
}

/// Waits for the end of all instances, and handles signals meanwhile.
pub(crate) fn wait(running: Running, mut signals: Signals) -> Result<u8, Error> {
    let handle = signals.handle();
    let shared = running.shared.clone();
    let thread = std::thread::Builder::new().name("signals".to_owned());
    let thread = thread.spawn(move || {
        let mut stopped_by = 0;
        for signal in signals.forever() {
            if shared.phase.get() == Phase::Serving {
                log::info!("draining; the next signal stops at once");
                Shared::drain(&shared);
            } else {
                shared.stop();
            }
            if shared.phase.get() == Phase::Stopping {
                stopped_by = BY_SIGNAL + signal as u8;
            }
        }
        stopped_by
    });
    let thread = thread.map_err(|error| Error::from_io("can't start a thread", error))?;
    let code = running.wait();
    handle.close();
    let stopped_by = thread.join().unwrap_or(0);
    Ok(code.max(stopped_by))
}
