//! Where a guest finds its listeners, and what its environment says of them.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{sleep, spawn};
use std::time::Duration;

const HOST: &str = env!("CARGO_BIN_EXE_wasip1-host");

/// A guest that runs, with what it has printed.
struct Guest {
    child: Child,
    environment: Vec<String>,
    descriptors: String,
}

impl Guest {
    /// Starts a command that runs the guest, and reads what it prints first.
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let mut parts: Vec<String> = line.trim_end().split('\0').map(str::to_owned).collect();
        let descriptors = parts.pop().unwrap();
        Self {
            child,
            environment: parts,
            descriptors,
        }
    }

    /// The value of a variable. No guest may have two of one name.
    fn variable(&self, name: &str) -> Option<&str> {
        let of_name = |it: &'_ String| it.split_once('=').is_some_and(|(left, _)| left == name);
        let found: Vec<_> = self.environment.iter().filter(|it| of_name(it)).collect();
        assert!(found.len() < 2, "{found:?}");
        found.first()?.split_once('=').map(|(_, value)| value)
    }

    /// Checks how many listeners it has, their names, and the file descriptor of the first.
    fn describes(&self, count: &str, names: &str, first: &str) {
        assert_eq!(self.variable("LISTEN_FDS"), Some(count));
        assert_eq!(self.variable("LISTEN_FDNAMES"), Some(names));
        assert_eq!(self.variable("LISTEN_FDS_FIRST_FD"), Some(first));
    }

    /// It has served on all its listeners.
    fn ends(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Guest {
    /// When a test fails, it leaves no process behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The guest as a file of its own for each test, which run at once.
fn module(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("listeners-{test}.wasm"));
    let module = wat::parse_str(include_str!("listeners.wat")).unwrap();
    std::fs::write(&path, module).unwrap();
    path
}

/// Two free addresses.
fn free(addresses: [&str; 2]) -> [SocketAddr; 2] {
    let listeners = addresses.map(|it| TcpListener::bind(it).unwrap());
    listeners.map(|it| it.local_addr().unwrap())
}

/// What a connection gets: the number of its listener.
fn served(address: SocketAddr) -> String {
    served_on(TcpStream::connect(address).unwrap())
}

fn served_on(mut client: TcpStream) -> String {
    let patience = Some(Duration::from_secs(10));
    client.set_read_timeout(patience).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

/// A host with a directory and two named listeners.
fn with_directory(test: &str, options: &[&str]) -> (Guest, [SocketAddr; 2]) {
    let addresses = free(["127.0.0.1:0"; 2]);
    let guest = Guest::start(
        Command::new(HOST)
            .args(["--no-cache", "--dir", env!("CARGO_TARGET_TMPDIR")])
            .arg(format!("--listen=web={}", addresses[0]))
            .arg(format!("--listen={}", addresses[1]))
            .args(options)
            .arg(module(test)),
    );
    (guest, addresses)
}

#[test]
fn listeners_stand_behind_directories() {
    let (guest, [web, other]) = with_directory("behind", &[]);
    assert_eq!(guest.descriptors, "366---");
    guest.describes("2", "web:unknown", "4");
    assert_eq!(served(web), "4");
    assert_eq!(served(other), "5");
    guest.ends();
}

#[test]
fn listeners_stand_first_if_asked_to() {
    let (guest, [web, other]) = with_directory("first", &["--sockets-first"]);
    assert_eq!(guest.descriptors, "663---");
    guest.describes("2", "web:unknown", "3");
    assert_eq!(served(web), "3");
    assert_eq!(served(other), "4");
    guest.ends();
}

#[test]
fn without_a_listener_the_environment_says_nothing() {
    let guest = Guest::start(
        Command::new(HOST)
            .arg("--no-cache")
            .arg(module("none"))
            // The guest doesn't see the host's own variables.
            .envs([("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "x")]),
    );
    assert_eq!(guest.descriptors, "------");
    assert_eq!(guest.environment, [""; 0]);
    guest.ends();
}

#[test]
fn it_listens_on_ipv6_beside_ipv4() {
    let addresses = free(["[::1]:0", "127.0.0.1:0"]);
    let guest = Guest::start(
        Command::new(HOST)
            .arg("--no-cache")
            .args(addresses.map(|it| format!("--listen={it}")))
            .arg(module("ipv6")),
    );
    assert!(addresses[0].is_ipv6());
    assert_eq!(guest.descriptors, "66----");
    assert_eq!(served(addresses[0]), "3");
    assert_eq!(served(addresses[1]), "4");
    guest.ends();
}

/// Runs the host with two inherited listeners, as systemd does it. The shell's script gets them as 0 and 2, and
/// has to move them to 3 and 4, to set `LISTEN_PID`, and to become the host.
fn inheriting(listeners: &[TcpListener; 2], script: &str, module: &Path) -> Guest {
    let [web, admin] = listeners
        .each_ref()
        .map(|it| Stdio::from(OwnedFd::from(it.try_clone().unwrap())));
    Guest::start(
        Command::new("sh")
            .args(["-c", script, HOST])
            .arg(module)
            .envs([("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "web:admin")])
            .stdin(web)
            .stderr(admin),
    )
}

/// The address of each.
fn addresses(listeners: &[TcpListener; 2]) -> [SocketAddr; 2] {
    listeners.each_ref().map(|it| it.local_addr().unwrap())
}

#[test]
fn it_inherits_listeners_and_their_names() {
    let listeners = ["127.0.0.1:0", "[::1]:0"].map(|it| TcpListener::bind(it).unwrap());
    let [own, _] = free(["127.0.0.1:0"; 2]);
    let script = format!(
        "exec 3<&0 4<&2 </dev/null 2>/dev/null; export LISTEN_PID=$$
         exec \"$0\" --no-cache --listenfd --listen own={own} \"$1\""
    );
    let guest = inheriting(&listeners, &script, &module("inherited"));
    assert_eq!(guest.descriptors, "666---");
    guest.describes("3", "web:admin:own", "3");
    let [web, admin] = addresses(&listeners);
    assert_eq!(served(web), "3");
    assert_eq!(served(admin), "4");
    assert_eq!(served(own), "5");
    guest.ends();
    // They stay open in the process that has passed them.
    let _client = TcpStream::connect(web).unwrap();
    listeners[0].accept().unwrap();
}

#[test]
fn it_inherits_no_listeners_of_another_process() {
    let listeners = ["127.0.0.1:0"; 2].map(|it| TcpListener::bind(it).unwrap());
    let script = "exec 3<&0 4<&2 </dev/null 2>/dev/null; export LISTEN_PID=1
                  exec \"$0\" --no-cache --listenfd \"$1\"";
    let guest = inheriting(&listeners, script, &module("foreign"));
    assert_eq!(guest.descriptors, "------");
    assert_eq!(guest.environment, [""; 0]);
    guest.ends();
}

#[test]
fn what_it_cant_inherit_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let local = std::os::unix::net::UnixListener::bind_addr(&abstract_name()).unwrap();
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    for (passed, why) in [
        (OwnedFd::from(connection), "doesn't listen"),
        (OwnedFd::from(local), "fd 3 is not a valid tcp socket"),
        (OwnedFd::from(datagrams), "fd 3 is not a valid tcp socket"),
        (OwnedFd::from(file), "fd 3 is not a socket"),
    ] {
        let output = Command::new("sh")
            .args([
                "-c",
                "exec 3<&0 </dev/null \"$0\" --no-cache --listenfd \"$1\"",
                HOST,
            ])
            .arg(module("refused"))
            .env("LISTEN_FDS", "1")
            .stdin(Stdio::from(passed))
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(
            printed.starts_with("wasip1-host: inherited socket 0"),
            "{printed}"
        );
        assert!(printed.contains(why), "{printed}");
        assert_eq!(output.status.code(), Some(1));
    }
}

/// An address for a listener of this machine that leaves no file behind.
fn abstract_name() -> std::os::unix::net::SocketAddr {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("wasip1-host-{}", std::process::id());
    std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap()
}

#[test]
fn systemd_starts_it_at_the_first_connection() {
    const SYSTEMD: &str = "systemd-socket-activate";
    if Command::new(SYSTEMD).arg("--version").output().is_err() {
        println!("there is no {SYSTEMD}: left out");
        return;
    }
    let [address, _] = free(["127.0.0.1:0"; 2]);
    // It starts the host only then, so the guest has printed nothing before.
    let client = spawn(move || {
        loop {
            if let Ok(client) = TcpStream::connect(address) {
                return served_on(client);
            }
            sleep(Duration::from_millis(10));
        }
    });
    let guest = Guest::start(
        Command::new(SYSTEMD)
            .arg(format!("--listen={address}"))
            .args(["--fdname=web", HOST, "--no-cache", "--listenfd"])
            .arg(module("systemd")),
    );
    assert_eq!(guest.descriptors, "6-----");
    guest.describes("1", "web", "3");
    assert_eq!(client.join().unwrap(), "3");
    guest.ends();
}
