//! The thread of an instance: runs it, and restarts it when it traps.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use wasmtime::Store;
use wasmtime_wasi::I32Exit;

use crate::epochs;
use crate::error::Error;
use crate::instance::{Instance, Stopped};
use crate::phase::Phase;
use crate::running::Shared;

/// The exit code for a trap: what a shell shows for a process that aborted.
const TRAPPED: u8 = 134;
/// The first pause before a restart. It doubles with each restart that soon follows another.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(1280);
/// An instance that has run for this long has started well, and its next trap is treated as a first one.
const STARTED_WELL: Duration = Duration::from_secs(1);
/// After this many starts in a row without an accepted connection, the module can't start, and the operator should
/// know. With half of it, a short fault of something that the guest needs would end the service.
const USELESS_STARTS: u32 = 8;

/// Starts the thread of instance `number`, which sends its exit code at its end.
pub(crate) fn spawn(shared: &Arc<Shared>, number: usize, end: Sender<u8>) -> Result<(), Error> {
    let shared = shared.clone();
    let thread = std::thread::Builder::new().name(format!("instance {number}"));
    let spawned = thread.spawn(move || {
        // A panic is a fault of this host or of the embedder's logger. The instance can't be counted on after it.
        let supervised = AssertUnwindSafe(|| supervise(&shared, number));
        let code = catch_unwind(supervised).unwrap_or(TRAPPED);
        shared.slots[number].counters.instance_ended();
        // New connections are for the other instances now, or are refused if there are none.
        drop(shared.slots[number].take_listeners());
        // If that fails, nothing waits for the code any more.
        let _ = end.send(code);
    });
    spawned.map_err(|error| Error::from_io("can't start a thread", error))?;
    Ok(())
}

fn supervise(shared: &Shared, number: usize) -> u8 {
    let slot = &shared.slots[number];
    let mut pause = FIRST_PAUSE;
    let mut useless = 0;
    loop {
        let began = Instant::now();
        let accepted = slot.counters.accepted.get();
        let mut store = None;
        let outcome = prepare(shared, number).and_then(|it| run(shared, store.insert(it)));
        // A client that sees the end of its connection may stop the host. The trap came before that, so the phase is
        // read before the connections are closed.
        let phase = shared.phase.get();
        drop(store);
        slot.counters.instance_ended();
        slot.set_waker(None);
        let Err(error) = outcome else { return 0 };
        if let Some(I32Exit(code)) = error.downcast_ref() {
            // The system passes on only the low eight bits.
            return (code & 0xff) as u8;
        }
        if error.is::<Stopped>() {
            return 0;
        }
        slot.counters.traps.add(1);
        // A guest that has closed its listeners has ended its service by itself.
        let restarts = shared.settings.restart && slot.has_listeners();
        if !restarts || phase != Phase::Serving {
            log::error!("instance {number} has trapped: {error:?}");
            return TRAPPED;
        }
        if began.elapsed() >= STARTED_WELL {
            (pause, useless) = (FIRST_PAUSE, 0);
        } else if slot.counters.accepted.get() == accepted {
            useless += 1;
        } else {
            useless = 0;
        }
        if useless == USELESS_STARTS {
            log::error!(
                "instance {number} has trapped {useless} times in a row without accepting a connection, \
                 and isn't restarted: {error:?}"
            );
            return TRAPPED;
        }
        log::error!("instance {number} has trapped, and restarts in {pause:?}: {error:?}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A store for an instance that is to start.
fn prepare(shared: &Shared, number: usize) -> wasmtime::Result<Store<Instance>> {
    let slot = &shared.slots[number];
    let (instance, waker) = Instance::new(
        number,
        shared.settings.clone(),
        slot.clone(),
        shared.phase.clone(),
    )?;
    slot.set_waker(Some(waker));
    if shared.phase.get() != Phase::Serving {
        // The phase may have changed before the waker was set.
        return Err(Stopped.into());
    }
    let mut store = Store::new(&shared.engine, instance);
    store.limiter(|instance| &mut instance.limits);
    epochs::watch(&mut store);
    Ok(store)
}

/// Runs an instance from its start to its end.
fn run(shared: &Shared, store: &mut Store<Instance>) -> wasmtime::Result<()> {
    let instance = shared.pre.instantiate(&mut *store)?;
    let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
    start.call(store, ())
}

#[cfg(test)]
mod tests {
    use crate::host::Host;
    use crate::supervisor::TRAPPED;

    /// Panics when the supervisor of an instance logs. The other tests have none.
    struct Panics;

    impl log::Log for Panics {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            metadata.target() == "wasip1_host::supervisor"
        }

        fn log(&self, record: &log::Record<'_>) {
            assert!(
                !self.enabled(record.metadata()),
                "this panic is part of a test"
            );
        }

        fn flush(&self) {}
    }

    #[test]
    fn a_panic_ends_an_instance_as_a_trap_does() {
        log::set_logger(&Panics).expect("no other logger");
        log::set_max_level(log::LevelFilter::Error);
        let module = wat::parse_str(r#"(module (func (export "_start") unreachable))"#);
        let host = Host::from_bytes("guest", module.expect("a module"));
        let running = host.cache(false).instances(2).start();
        assert_eq!(running.expect("a host").wait(), TRAPPED);
    }
}
