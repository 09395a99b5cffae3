//! [`Settings`]: the settings of a server that its event loops use.

use std::fmt;
use std::sync::Arc;

use crate::conn::{ReadProxyHeader, Shared, WriteRefusal};
use crate::handle::Handle;
use crate::limits::Limits;
use crate::observe::Sink;
use crate::shares::Pools;

/// The settings of a server.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    pub(crate) catch_panics: bool,
    /// Whether requests of asynchronous handlers have extensions about their connections.
    pub(crate) connection_extensions: bool,
    /// Whether asynchronous handlers make no tunnels, so that CONNECT is refused.
    pub(crate) refuses_connect: bool,
    /// The receiver of events of responses.
    pub(crate) sink: Option<Arc<dyn Sink>>,
    /// Makes the responses to refused requests.
    pub(crate) on_refusal: Option<Arc<dyn WriteRefusal>>,
    pub(crate) worker: Worker,
    /// Reads the header of the PROXY protocol, if each connection begins with one.
    pub(crate) read_proxy_header: Option<ReadProxyHeader>,
}

impl Settings {
    /// What the connections of a loop share.
    pub(super) fn shared(&self, handle: &Handle) -> Shared {
        let mut shared = Shared::new();
        shared.read_proxy_header = self.read_proxy_header;
        shared.refuses_connect = self.refuses_connect;
        shared.on_refusal.clone_from(&self.on_refusal);
        shared.watch =
            (self.sink.as_ref()).map(|sink| Arc::clone(sink).watch(handle, self.catch_panics));
        shared
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            catch_panics: true,
            connection_extensions: false,
            refuses_connect: false,
            sink: None,
            on_refusal: None,
            worker: Worker::default(),
            read_proxy_header: None,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("limits", &self.limits)
            .field("catch_panics", &self.catch_panics)
            .finish_non_exhaustive()
    }
}

/// Which of the server's workers a loop is. Each worker has a loop.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    /// From 0 on.
    pub(crate) number: u64,
    /// How many workers the server has.
    pub(crate) of: u64,
    /// What they share, if there are several.
    pub(crate) pools: Option<Pools>,
}

impl Default for Worker {
    /// The only one.
    fn default() -> Self {
        Self {
            number: 0,
            of: 1,
            pools: None,
        }
    }
}
