//! A guest for tests, which makes the calls that a test wants.

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::{Config, Engine, Instance as Module, InstancePre, Memory, Store, Val};

use crate::calls;
use crate::instance::Instance;
use crate::listeners::Bound;
use crate::phase::SharedPhase;
use crate::settings::Settings;
use crate::slot::Slot;

/// All calls with their parameters: `i` for 32 bits, `l` for 64.
pub(super) const CALLS: &[(&str, &str)] = &[
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "ili"),
    ("fd_advise", "illi"),
    ("fd_allocate", "ill"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "ill"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "il"),
    ("fd_filestat_set_times", "illi"),
    ("fd_pread", "iiili"),
    ("fd_prestat_get", "ii"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_pwrite", "iiili"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiili"),
    ("fd_renumber", "ii"),
    ("fd_seek", "ilii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiilli"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiillii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_raise", "i"),
    ("sched_yield", ""),
    ("random_get", "ii"),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

/// A guest with a store of its own.
pub(super) struct Puppet {
    pub(super) store: Store<Instance>,
    pub(super) phase: Arc<SharedPhase>,
    pub(super) waker: Arc<mio::Waker>,
    pub(super) address: Option<SocketAddr>,
    module: Module,
    memory: Memory,
}

/// Addresses in the puppet's memory.
const LIST: u32 = 0x1000;
const EVENTS: u32 = 0x8000;
const OUT: u32 = 0x100;
const IOVS: u32 = 0x200;
const DATA: u32 = 0x1_0000;
const PAGES: u32 = 64;

/// Flags of a file descriptor.
pub(super) const NONBLOCK: u32 = 4;

/// A subscription.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sub {
    Read(u32),
    Write(u32),
    /// Nanoseconds from now.
    After(u64),
    /// A clock and its absolute time.
    At(u32, u64),
}

/// An event: the index of its subscription, the error, and for a read event how many bytes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ev {
    pub(super) index: u64,
    pub(super) error: u16,
    pub(super) nbytes: u64,
    pub(super) hangup: bool,
}

/// An event without an error.
pub(super) fn ok(index: u64, nbytes: u64) -> Ev {
    Ev {
        index,
        error: 0,
        nbytes,
        hangup: false,
    }
}

impl Puppet {
    /// A puppet with a listener, whose number is 3, after the standard streams.
    pub(super) fn listening() -> Self {
        Self::with(Settings::default(), PAGES)
    }

    pub(super) fn with(mut settings: Settings, pages: u32) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("a listener");
        let address = listener.local_addr().expect("an address");
        let bound = Bound {
            number: 0,
            socket: listener,
            inherited: false,
            name: None,
        };
        settings.listeners = 1;
        let phase = Arc::new(SharedPhase::default());
        let slot = Arc::new(Slot::new(vec![bound]));
        let (instance, waker) =
            Instance::new(0, Arc::new(settings), slot, phase.clone()).expect("an instance");
        let pre = prepared(pages);
        let mut store = Store::new(pre.module().engine(), instance);
        store.limiter(|instance| &mut instance.limits);
        store.set_epoch_deadline(u64::MAX / 2);
        let module = pre.instantiate(&mut store).expect("a guest");
        let memory = module.get_memory(&mut store, "memory").expect("a memory");
        Self {
            store,
            phase,
            waker: Arc::new(waker),
            address: Some(address),
            module,
            memory,
        }
    }

    /// Makes a call. A trap is an error.
    pub(super) fn raw(&mut self, name: &str, arguments: &[u64]) -> wasmtime::Result<u32> {
        let (_, kinds) = CALLS.iter().find(|it| it.0 == name).expect("a call");
        let values: Vec<Val> = kinds
            .chars()
            .zip(arguments)
            .map(|(kind, value)| match kind {
                'i' => Val::I32(*value as i32),
                _ => Val::I64(value.cast_signed()),
            })
            .collect();
        let call = self.module.get_func(&mut self.store, name).expect("a call");
        let mut results = [Val::I32(0)];
        call.call(&mut self.store, &values, &mut results)?;
        Ok(results[0].i32().unwrap_or(-1).cast_unsigned())
    }

    /// Makes a call that doesn't trap.
    pub(super) fn call(&mut self, name: &str, arguments: &[u64]) -> Result<(), u32> {
        match self.raw(name, arguments).expect("no trap") {
            0 => Ok(()),
            errno => Err(errno),
        }
    }

    pub(super) fn bytes(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut self.store)
    }

    pub(super) fn put(&mut self, at: u32, bytes: &[u8]) {
        let at = at as usize;
        self.bytes()[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn number(&mut self, at: u32) -> u32 {
        let at = at as usize;
        u32::from_le_bytes(self.bytes()[at..at + 4].try_into().expect("4 bytes"))
    }

    pub(super) fn accept(&mut self, fd: u32, flags: u32) -> Result<u32, u32> {
        let arguments = [u64::from(fd), u64::from(flags), u64::from(OUT)];
        self.call("sock_accept", &arguments)?;
        Ok(self.number(OUT))
    }

    /// A client's end of a connection, and the guest's, which doesn't block.
    pub(super) fn connection(&mut self) -> (TcpStream, u32) {
        let client = TcpStream::connect(self.address.expect("a listener")).expect("a connection");
        client.set_nodelay(true).expect("a connection");
        (client, self.accept(3, NONBLOCK).expect("a connection"))
    }

    pub(super) fn set_nonblock(&mut self, fd: u32) {
        let flags = u64::from(NONBLOCK);
        self.call("fd_fdstat_set_flags", &[u64::from(fd), flags])
            .expect("flags can be set");
    }

    pub(super) fn read(&mut self, fd: u32, room: u32) -> Result<Vec<u8>, u32> {
        self.put_buffer(room);
        let arguments = [u64::from(fd), u64::from(IOVS), 1, u64::from(OUT)];
        self.call("fd_read", &arguments)?;
        let (at, got) = (DATA as usize, self.number(OUT) as usize);
        Ok(self.bytes()[at..at + got].to_vec())
    }

    pub(super) fn write(&mut self, fd: u32, bytes: &[u8]) -> Result<usize, u32> {
        self.put_buffer(bytes.len() as u32);
        self.put(DATA, bytes);
        let arguments = [u64::from(fd), u64::from(IOVS), 1, u64::from(OUT)];
        self.call("fd_write", &arguments)?;
        Ok(self.number(OUT) as usize)
    }

    fn put_buffer(&mut self, len: u32) {
        self.put(IOVS, &DATA.to_le_bytes());
        self.put(IOVS + 4, &len.to_le_bytes());
    }

    pub(super) fn close(&mut self, fd: u32) -> Result<(), u32> {
        self.call("fd_close", &[u64::from(fd)])
    }

    /// Polls, and returns the events. Each subscription's userdata is its index.
    pub(super) fn poll(&mut self, subs: &[Sub]) -> Vec<Ev> {
        for (at, sub) in (0_u32..).zip(subs) {
            self.put(LIST + at * 48, &encode(u64::from(at), *sub));
        }
        let count = subs.len() as u64;
        let arguments = [u64::from(LIST), u64::from(EVENTS), count, u64::from(OUT)];
        self.call("poll_oneoff", &arguments).expect("a poll");
        let count = self.number(OUT);
        (0..count).map(|at| self.event(EVENTS + at * 32)).collect()
    }

    /// The events that are ready now.
    pub(super) fn ready(&mut self, subs: &[Sub]) -> Vec<Ev> {
        let mut subs = subs.to_vec();
        subs.push(Sub::After(0));
        let clock = subs.len() as u64 - 1;
        let mut events = self.poll(&subs);
        events.retain(|event| event.index != clock);
        events
    }

    /// Waits for events. The timeout is long, because the machine may be busy.
    pub(super) fn soon(&mut self, subs: &[Sub]) -> Vec<Ev> {
        let mut subs = subs.to_vec();
        subs.push(Sub::After(20_000_000_000));
        self.poll(&subs)
    }

    fn event(&mut self, at: u32) -> Ev {
        let at = at as usize;
        let bytes: [u8; 32] = self.bytes()[at..at + 32].try_into().expect("an event");
        Ev {
            index: u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")),
            error: u16::from_le_bytes([bytes[8], bytes[9]]),
            nbytes: u64::from_le_bytes(bytes[16..24].try_into().expect("8 bytes")),
            hangup: bytes[24] == 1,
        }
    }
}

/// A subscription, as it lies in memory.
pub(super) fn encode(userdata: u64, sub: Sub) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[..8].copy_from_slice(&userdata.to_le_bytes());
    let (kind, subject, time, flags) = match sub {
        Sub::After(nanos) => (0, 1, nanos, 0),
        Sub::At(clock, nanos) => (0, clock, nanos, 1),
        Sub::Read(fd) => (1, fd, 0, 0),
        Sub::Write(fd) => (2, fd, 0, 0),
    };
    bytes[8] = kind;
    bytes[16..20].copy_from_slice(&subject.to_le_bytes());
    bytes[24..32].copy_from_slice(&time.to_le_bytes());
    bytes[40] = flags;
    bytes
}

/// Closes a connection so that the other end sees a reset.
pub(super) fn reset(client: TcpStream) {
    let linger = Some(std::time::Duration::ZERO);
    rustix::net::sockopt::set_socket_linger(&client, linger).expect("a connection");
    drop(client);
}

/// Ends the sending of a client.
pub(super) fn half_close(client: &TcpStream) {
    client.shutdown(Shutdown::Write).expect("a connection");
}

/// The module with this many pages of memory. Each is compiled once, because that takes longer than most tests.
fn prepared(pages: u32) -> InstancePre<Instance> {
    static ALL: Mutex<Vec<(u32, InstancePre<Instance>)>> = Mutex::new(Vec::new());
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, pre)) = all.iter().find(|it| it.0 == pages) {
        return pre.clone();
    }
    let mut config = Config::new();
    config.epoch_interruption(true);
    let engine = Engine::new(&config).expect("an engine");
    let bytes = wat::parse_str(wat(pages)).expect("its text");
    let module = wasmtime::Module::new(&engine, bytes).expect("a module");
    let linker = calls::linker(&engine).expect("a linker");
    let pre = linker.instantiate_pre(&module).expect("a guest");
    all.push((pages, pre.clone()));
    pre
}

/// The module: for each call a function that makes it.
fn wat(pages: u32) -> String {
    let mut imports = String::new();
    let mut functions = String::new();
    for (name, kinds) in CALLS {
        let params: Vec<&str> = kinds
            .chars()
            .map(|kind| if kind == 'i' { "i32" } else { "i64" })
            .collect();
        let signature = format!("(param {}) (result i32)", params.join(" "));
        let gets: String = (0..params.len())
            .map(|at| format!("local.get {at} "))
            .collect();
        imports.push_str(&format!(
            "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} {signature}))\n"
        ));
        functions.push_str(&format!(
            "(func (export \"{name}\") {signature} {gets} call ${name})\n"
        ));
    }
    format!("(module {imports} (memory (export \"memory\") {pages}) {functions})")
}
