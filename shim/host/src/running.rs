//! A running host: its threads, and how they end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use wasmtime::{Cache, CacheConfig, Config, Engine, InstancePre};

use crate::epochs;
use crate::error::Error;
use crate::host::{Host, list};
use crate::instance::{self, Instance};
use crate::listeners::{self, Address, Bound};
use crate::metrics::Metrics;
use crate::module;
use crate::phase::{Phase, SharedPhase};
use crate::settings::Settings;
use crate::slot::Slot;
use crate::supervisor;

/// A host that was started. Its instances go on when this is dropped, but its metrics end: keep it, or
/// [`wait`](Self::wait).
#[derive(Debug)]
pub struct Running {
    pub(crate) shared: Arc<Shared>,
    ends: Receiver<u8>,
    addresses: Vec<SocketAddr>,
    metrics: Option<Metrics>,
}

/// What all threads of a host share.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) pre: InstancePre<Instance>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) phase: Arc<SharedPhase>,
    /// One for each instance.
    pub(crate) slots: Vec<Arc<Slot>>,
}

/// How long instances may take to stop. A thread that takes longer, because a system call doesn't return, is left
/// behind.
const STOPPING_TAKES: Duration = Duration::from_secs(2);

impl Running {
    /// Starts a host. Calls `before_listening` when everything is ready except the listeners: from then on there may be
    /// clients.
    pub(crate) fn start<T>(
        host: Host,
        before_listening: impl FnOnce() -> Result<T, Error>,
    ) -> Result<(Self, T), Error> {
        // wasmtime-wasi creates its tokio runtime when it first needs it, and panics if the process has no file
        // descriptors left then.
        wasmtime_wasi::runtime::in_tokio(async {});
        let engine = engine(&host)?;
        let mut settings = host.settings;
        let pre = module::prepare(&engine, host.module, &mut settings)?;
        instance::check_directories(&settings)?;
        let instances = settings.instances;
        let prepared = before_listening()?;
        let bound = listen(&host.listen, host.inherit, host.reuse_port, instances)?;
        settings.listeners = bound[0].len();
        let addresses = addresses(&bound[0]);
        let slots = bound.into_iter().map(|it| Arc::new(Slot::new(it)));
        let shared = Arc::new(Shared {
            engine,
            pre,
            settings: Arc::new(settings),
            phase: Arc::default(),
            slots: slots.collect(),
        });
        let metrics = host.metrics.as_deref();
        let metrics = metrics.map(|address| Metrics::serve(address, &shared));
        let metrics = metrics.transpose()?;
        epochs::tick(&shared)?;
        let (end, ends) = channel();
        for number in 0..instances {
            supervisor::spawn(&shared, number, end.clone())?;
        }
        let running = Self {
            shared,
            ends,
            addresses,
            metrics,
        };
        Ok((running, prepared))
    }

    /// The addresses of the listeners, with their ports.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The address of the metrics.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(Metrics::address)
    }

    /// Lets requests that have arrived finish, and ends everything else: see the README. After the time that was set
    /// by [`Host::grace`], the rest is ended.
    pub fn drain(&self) {
        Shared::drain(&self.shared);
    }

    /// Ends all instances at once.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Waits until all instances have ended, and returns the highest of their exit codes.
    #[must_use]
    pub fn wait(self) -> u8 {
        let mut code = 0;
        let mut left = self.shared.slots.len();
        while left > 0 {
            // Wakes up to check the phase, because a thread may never end.
            match self.ends.recv_timeout(STOPPING_TAKES) {
                Ok(one) => {
                    code = code.max(one);
                    left -= 1;
                }
                Err(RecvTimeoutError::Timeout) if self.shared.phase.get() != Phase::Stopping => {}
                Err(_) => break,
            }
        }
        code
    }
}

impl Shared {
    pub(crate) fn drain(this: &Arc<Self>) {
        if this.settings.listeners == 0 {
            // Nothing would report the drain to the guest.
            this.stop();
            return;
        }
        for slot in &this.slots {
            for listener in slot.take_listeners() {
                listener.take_no_more();
            }
        }
        this.advance(Phase::Draining);
        let late = this.clone();
        std::thread::spawn(move || {
            std::thread::sleep(late.settings.grace);
            let open = late
                .slots
                .iter()
                .map(|slot| slot.counters.connections.get());
            let open: u64 = open.sum();
            if open > 0 && late.phase.get() == Phase::Draining {
                log::warn!("the grace time is over; connections that are cut off: {open}");
            }
            late.stop();
        });
    }

    pub(crate) fn stop(&self) {
        self.advance(Phase::Stopping);
        // Instances that compute notice it at the next epoch.
        self.engine.increment_epoch();
    }

    fn advance(&self, phase: Phase) {
        self.phase.advance(phase);
        for slot in &self.slots {
            slot.wake();
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("settings", &self.settings)
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}

fn engine(host: &Host) -> Result<Engine, Error> {
    let mut config = Config::new();
    config.epoch_interruption(true);
    if host.cache {
        match Cache::new(CacheConfig::new()) {
            Ok(cache) => {
                config.cache(Some(cache));
            }
            // For instance, the user has no home directory.
            Err(error) => log::debug!("the compiled module isn't kept: {error:#}"),
        }
    }
    Engine::new(&config).map_err(|error| Error::with("can't set up wasmtime", error))
}

/// The listeners of each instance.
fn listen(
    addresses: &[Address],
    inherit: bool,
    reuse_port: bool,
    instances: usize,
) -> Result<Vec<Vec<Bound>>, Error> {
    let mut per_instance: Vec<Vec<Bound>> = (0..instances).map(|_| Vec::new()).collect();
    if inherit {
        let inherited = listeners::inherited()?;
        if inherited.is_empty() {
            log::warn!("no listeners were passed to this process: LISTEN_FDS has none for it");
        }
        for bound in inherited {
            for listeners in &mut per_instance {
                let clone = bound.try_clone();
                listeners.push(clone.map_err(|error| Error::from_io("inherited sockets", error))?);
            }
        }
    }
    for address in addresses {
        let number = per_instance[0].len();
        let bound = address.bind(number, instances, reuse_port)?;
        for (listeners, one) in per_instance.iter_mut().zip(bound) {
            listeners.push(one);
        }
    }
    // Other ports are known to whatever started the host.
    if addresses.iter().any(|it| it.address.ends_with(":0")) {
        log::info!("listening on {}", list(&self::addresses(&per_instance[0])));
    }
    Ok(per_instance)
}

fn addresses(listeners: &[Bound]) -> Vec<SocketAddr> {
    let address = |it: &Bound| it.socket.local_addr().ok();
    listeners.iter().filter_map(address).collect()
}
