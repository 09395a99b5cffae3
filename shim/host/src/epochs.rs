//! The epochs of wasmtime, by which a guest that makes no calls is interrupted.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Store, UpdateDeadline};

use crate::error::Error;
use crate::instance::{Instance, Stopped};
use crate::phase::Phase;
use crate::running::Shared;

/// The time that a guest may spin has this many parts. It is exceeded by at most one part; more of them would wake a
/// thread more often.
const PARTS: u32 = 8;

/// Starts the thread that increments the epoch. It ends with the host.
pub(crate) fn tick(shared: &Arc<Shared>) -> Result<(), Error> {
    let Some(time) = shared.settings.max_spin else {
        return Ok(());
    };
    let part = (time / PARTS).max(Duration::from_millis(1));
    let shared = Arc::downgrade(shared);
    let thread = std::thread::Builder::new().name("epochs".to_owned());
    let spawned = thread.spawn(move || {
        loop {
            std::thread::sleep(part);
            let Some(shared) = shared.upgrade() else {
                return;
            };
            shared.engine.increment_epoch();
        }
    });
    spawned.map_err(|error| Error::from_io("can't start a thread", error))?;
    Ok(())
}

/// Ends a guest when the host stops, or when it makes no call for too long.
pub(crate) fn watch(store: &mut Store<Instance>) {
    store.set_epoch_deadline(1);
    let max_spin = store.data().settings.max_spin;
    let mut seen = 0;
    let mut parts = 0;
    store.epoch_deadline_callback(move |store| {
        let instance = store.data();
        if instance.phase() == Phase::Stopping {
            return Err(Stopped.into());
        }
        let calls = instance.counters.calls.get();
        parts = if calls == seen { parts + 1 } else { 0 };
        seen = calls;
        match max_spin {
            Some(time) if parts >= PARTS => {
                wasmtime::bail!("it has made no call for {time:?}, the limit of --max-spin");
            }
            _ => Ok(UpdateDeadline::Continue(1)),
        }
    });
}
