//! The state of one instance: its file descriptors, the registration of its sockets with the kernel, and the context
//! of wasmtime-wasi.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use wasmtime::Caller;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use crate::counters::Counters;
use crate::errno::Errno;
use crate::error::Error;
use crate::limits::Limits;
use crate::listeners::{self, Bound};
use crate::memory::Memory;
use crate::phase::{Phase, SharedPhase};
use crate::settings::Settings;
use crate::slot::Slot;
use crate::socket::{Kind, Listener, Socket, is_readable};
use crate::table::{Entry, Fd, Table};

/// The state of one instance. Other instances share nothing of it except what is in an `Arc`.
pub(crate) struct Instance {
    pub(crate) number: usize,
    pub(crate) wasi: WasiP1Ctx,
    pub(crate) limits: Limits,
    pub(crate) table: Table,
    pub(crate) settings: Arc<Settings>,
    pub(crate) counters: Arc<Counters>,
    slot: Arc<Slot>,
    /// The guest's memory, once it has made a call.
    pub(crate) memory: Option<wasmtime::Memory>,
    /// The number of the poll in progress.
    pub(crate) polls: u64,
    /// The clocks of that poll. The list is kept to reuse its memory.
    pub(crate) clocks: Vec<crate::poll::Clock>,
    /// The sockets that the last wait has reported.
    pub(crate) ready: Vec<Fd>,
    /// Open connections.
    pub(crate) streams: usize,
    kernel: Poll,
    events: Events,
    is_stdin_watched: bool,
    phase: Arc<SharedPhase>,
    began: Instant,
}

/// The trap that ends an instance that has to stop.
#[derive(Debug)]
pub(crate) struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the host stops")
    }
}

impl std::error::Error for Stopped {}

/// The event of a changed phase. No socket has this number.
const WAKE: Token = Token(usize::MAX);
/// The event of the standard input.
const STDIN: Token = Token(usize::MAX - 1);
/// How many events one wait gets from the kernel. The rest come with the next one, so half or twice as many would do
/// too.
const EVENTS: usize = 1024;
/// The longest single wait, which every system supports. Longer ones are repeated.
const LONGEST: Duration = Duration::from_secs(3600);

impl Instance {
    /// An instance with the listeners of its slot, and what wakes it from its waits.
    ///
    /// # Errors
    /// A directory can't be opened, or the process has no descriptors left.
    pub(crate) fn new(
        number: usize,
        settings: Arc<Settings>,
        slot: Arc<Slot>,
        phase: Arc<SharedPhase>,
    ) -> wasmtime::Result<(Self, Waker)> {
        let kernel = Poll::new()?;
        let waker = Waker::new(kernel.registry(), WAKE)?;
        let mut table = Table::new(settings.open_per_instance());
        for stream in 0..3 {
            table.insert(Entry::Stdio(stream));
        }
        let directories = settings.dirs.len() as u32;
        let first_socket = 3 + if settings.sockets_first {
            0
        } else {
            directories
        };
        let listeners = slot.clone_listeners()?;
        let wasi = wasi(&settings, first_socket, &listeners)?;
        let nonblock = settings.nonblock;
        let sockets = listeners
            .into_iter()
            .map(|it| Entry::Socket(Box::new(Socket::listener(it, nonblock))));
        // wasmtime-wasi numbers its directories from 3 on.
        let directories = (3..3 + directories).map(Entry::Inner);
        let entries: Vec<Entry> = match settings.sockets_first {
            true => sockets.chain(directories).collect(),
            false => directories.chain(sockets).collect(),
        };
        for entry in entries {
            table.insert(entry);
        }
        let counters = slot.counters.clone();
        counters.connections.set(0);
        let instance = Self {
            number,
            wasi,
            limits: Limits::new(settings.memory, counters.clone()),
            table,
            settings,
            counters,
            slot,
            memory: None,
            polls: 0,
            clocks: Vec::new(),
            ready: Vec::new(),
            streams: 0,
            kernel,
            events: Events::with_capacity(EVENTS),
            is_stdin_watched: false,
            phase,
            began: Instant::now(),
        };
        Ok((instance, waker))
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// The guest's monotonic clock, in nanoseconds.
    pub(crate) fn monotonic(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Registers `interest` in a socket with the kernel.
    pub(crate) fn watch(&mut self, fd: Fd, interest: Interest) -> Result<(), Errno> {
        let socket = self.table.socket(fd).ok_or(Errno::BADF)?;
        let token = Token(fd as usize);
        socket
            .watch(self.kernel.registry(), token, interest)
            .map_err(|error| Errno::from(&error))
    }

    /// Registers the standard input. A file, which can't be registered, is always ready.
    pub(crate) fn watch_stdin(&mut self) {
        if !self.is_stdin_watched {
            self.is_stdin_watched = true;
            let registry = self.kernel.registry();
            let _ = registry.register(&mut SourceFd(&0), STDIN, Interest::READABLE);
        }
    }

    /// Removes the registration of a socket that gets another number, because the kernel knows the old one.
    pub(crate) fn unwatch(&mut self, fd: Fd) {
        if let Some(socket) = self.table.socket(fd) {
            socket.unwatch(self.kernel.registry());
        }
    }

    /// Closes a listener because the host drains. The guest's next call on it returns an error.
    pub(crate) fn end_listener(&mut self, fd: Fd) {
        self.unwatch(fd);
        if let Some(Kind::Listener(listener)) = self.table.socket(fd).map(|it| &mut it.kind) {
            listener.socket = None;
            self.slot.give_up(listener.number);
        }
    }

    /// Closes an inherited listener if the host drains. The socket stays open in the process that has passed it, and
    /// new connections wait there for the successor.
    pub(crate) fn give_up_inherited(&mut self, fd: Fd) {
        if self.phase() >= Phase::Draining
            && let Some(Kind::Listener(listener)) = self.table.socket(fd).map(|it| &it.kind)
            && listener.inherited
            && listener.socket.is_some()
        {
            self.end_listener(fd);
        }
    }

    /// Closes a listener during a drain, when no connection is waiting to be accepted.
    pub(crate) fn end_listener_when_empty(&mut self, fd: Fd) {
        self.give_up_inherited(fd);
        if let Some(Kind::Listener(listener)) = self.table.socket(fd).map(|it| &it.kind)
            && let Some(socket) = &listener.socket
            && !is_readable(socket)
        {
            self.end_listener(fd);
        }
    }

    /// Adds a new connection, and returns its number.
    pub(crate) fn opened(&mut self, socket: Socket) -> Fd {
        self.streams += 1;
        self.counters.accepted.add(1);
        self.counters.connections.set(self.streams as u64);
        self.table.insert(Entry::Socket(Box::new(socket)))
    }

    /// Closes a socket that was removed from the table.
    pub(crate) fn close(&mut self, mut socket: Socket) {
        match socket.kind {
            Kind::Listener(Listener { number, .. }) => {
                // If others share it, the drop doesn't remove the registration.
                socket.unwatch(self.kernel.registry());
                self.slot.give_up(number);
            }
            Kind::Stream(_) => {
                self.streams -= 1;
                self.counters.connections.set(self.streams as u64);
            }
        }
    }

    /// Waits until the kernel reports something, the host's phase changes, or the time has passed. Then `ready` has the
    /// sockets that were reported.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> Result<(), Errno> {
        self.ready.clear();
        let timeout = Some(timeout.map_or(LONGEST, |timeout| timeout.min(LONGEST)));
        match self.kernel.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(Errno::from(&error));
            }
            _ => {}
        }
        for event in &self.events {
            if matches!(event.token(), WAKE | STDIN) {
                continue;
            }
            let fd = event.token().0 as Fd;
            if let Some(socket) = self.table.socket(fd) {
                socket.remember(event);
                self.ready.push(fd);
            }
        }
        Ok(())
    }

    /// Blocks until the socket may be ready, or until the host's phase changes.
    pub(crate) fn block(&mut self, fd: Fd, interest: Interest) -> Result<(), Errno> {
        self.watch(fd, interest)?;
        let phase = self.phase();
        while self.phase() == phase {
            let socket = self.table.socket(fd).ok_or(Errno::BADF)?;
            let ready = match interest.is_readable() {
                true => socket.readable,
                false => socket.writable,
            };
            if ready || socket.error.is_some() {
                break;
            }
            self.wait(None)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("number", &self.number)
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

/// The memory and the state of the calling guest.
pub(crate) fn split<'a>(
    caller: &'a mut Caller<'_, Instance>,
) -> wasmtime::Result<(Memory<'a>, &'a mut Instance)> {
    let memory = memory(caller)?;
    let (bytes, instance) = memory.data_and_store_mut(caller);
    Ok((Memory(bytes), instance))
}

/// The guest's memory.
pub(crate) fn memory(caller: &mut Caller<'_, Instance>) -> wasmtime::Result<wasmtime::Memory> {
    if let Some(memory) = caller.data().memory {
        return Ok(memory);
    }
    let export = caller.get_export("memory");
    let Some(memory) = export.and_then(wasmtime::Extern::into_memory) else {
        wasmtime::bail!("the module exports no memory");
    };
    caller.data_mut().memory = Some(memory);
    Ok(memory)
}

/// The context of wasmtime-wasi: arguments, environment, files.
fn wasi(
    settings: &Settings,
    first_socket: u32,
    listeners: &[Bound],
) -> wasmtime::Result<WasiP1Ctx> {
    let mut wasi = WasiCtxBuilder::new();
    wasi.args(&settings.arguments)
        .allow_blocking_current_thread(true);
    if !listeners.is_empty() {
        // As systemd sets them. The crate listenfd reads the last one, for a first number other than 3.
        wasi.env("LISTEN_FDS", listeners.len().to_string())
            .env("LISTEN_FDNAMES", listeners::names(listeners))
            .env("LISTEN_FDS_FIRST_FD", first_socket.to_string());
    }
    wasi.envs(&settings.env);
    open_directories(&mut wasi, settings)?;
    Ok(wasi.build_p1())
}

/// Checks before the first start that the directories can be opened. Otherwise each start would fail.
pub(crate) fn check_directories(settings: &Settings) -> Result<(), Error> {
    let opened = open_directories(&mut WasiCtxBuilder::new(), settings);
    opened.map_err(|error| Error::with("the guest's directories", error))
}

fn open_directories(wasi: &mut WasiCtxBuilder, settings: &Settings) -> wasmtime::Result<()> {
    for (host, guest) in &settings.dirs {
        wasi.preopened_dir(host, guest, FsPerms::ReadWrite)
            .map_err(|error| error.context(format!("can't open the directory {host}")))?;
    }
    Ok(())
}
