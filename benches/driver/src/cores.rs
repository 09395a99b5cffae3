//! Pins the servers to one core and their clients to another, unless a scenario has them share one.

use interop::Outcome;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

/// Pins this process, and so the clients, to the clients' core. Raises the limit of open files to the hard limit, for
/// this process and its children.
pub(crate) fn prepare() -> Outcome {
    pin(Role::Clients)?;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|e| format!("getrlimit: {e}"))?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).map_err(|e| format!("setrlimit: {e}"))
}

/// Starts a process on the servers' core: children inherit the core of their parent.
pub(crate) fn on_the_servers_core<T>(start: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    on(Role::Servers, start)
}

/// Starts a process on both cores.
pub(crate) fn on_both_cores<T>(start: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    on(Role::Both, start)
}

fn on<T>(role: Role, start: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    pin(role)?;
    let started = start();
    pin(Role::Clients)?;
    started
}

/// Which cores the servers and the clients have, for the report.
pub(crate) fn describe() -> Outcome<String> {
    Ok(match cores()?[..] {
        [.., servers, clients] => format!(
            "servers on core {servers}, clients on core {clients} unless it is said that they share one"
        ),
        _ => "servers and clients on the same core".into(),
    })
}

#[derive(Clone, Copy)]
enum Role {
    Servers,
    Clients,
    Both,
}

fn pin(role: Role) -> Outcome {
    let [.., servers, clients] = cores()?[..] else {
        return Ok(());
    };
    let mut set = CpuSet::new();
    let wanted: &[usize] = match role {
        Role::Servers => &[servers],
        Role::Clients => &[clients],
        Role::Both => &[servers, clients],
    };
    for &core in wanted {
        set.set(core).map_err(|e| format!("core {core}: {e}"))?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).map_err(|e| format!("sched_setaffinity: {e}"))
}

/// The cores that this process had at its start. The last two of them are used.
fn cores() -> Outcome<Vec<usize>> {
    use std::sync::OnceLock;
    static CORES: OnceLock<Vec<usize>> = OnceLock::new();
    if let Some(cores) = CORES.get() {
        return Ok(cores.clone());
    }
    let set = sched_getaffinity(Pid::from_raw(0)).map_err(|e| format!("sched_getaffinity: {e}"))?;
    let all = (0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false));
    Ok(CORES.get_or_init(|| all.collect()).clone())
}
