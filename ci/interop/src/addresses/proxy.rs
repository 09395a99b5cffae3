//! HAProxy and nginx, as child processes.

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::curl::{Scratch, curl};
use crate::{Outcome, Runtime, ensure, root};

/// HAProxy in front of a server, configured to send one version of the PROXY header.
pub(super) struct HaProxy {
    addresses: [SocketAddr; 2],
    _process: Process,
}

impl HaProxy {
    /// Starts it in front of a server. `target` is the server's address, and `option` the one for the PROXY header, as
    /// HAProxy writes them. Returns when the server has passed a health check, for which the proxy opens a connection.
    pub(super) fn start(scratch: &Scratch, target: &str, option: &str) -> Outcome<Self> {
        let port = Runtime::free_port()?;
        let addresses = [
            SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
        ];
        let [v4, v6] = addresses;
        let config = format!(
            "defaults\n mode http\n timeout connect 10s\n timeout client 20s\n timeout server 20s\n\
             listen all\n bind {v4}\n bind {v6}\n option httpchk GET /\n \
             server one {target} {option} check check-send-proxy inter 500ms rise 1\n"
        );
        let config = scratch.write("haproxy.cfg", config)?;
        let mut command = installed("haproxy")?;
        command.args(["-db", "-f", &config]);
        let mut process = Process::start(command, scratch, "haproxy")?;
        process.wait(v4)?;
        Ok(Self {
            addresses,
            _process: process,
        })
    }

    /// Where it listens, over IPv4 and IPv6.
    pub(super) fn addresses(&self) -> [SocketAddr; 2] {
        self.addresses
    }
}

/// nginx in front of a server at a Unix domain socket, to which it keeps connections.
pub(crate) struct Nginx {
    address: SocketAddr,
    process: Process,
}

impl Nginx {
    /// Starts it. Returns when the server responds behind it.
    pub(super) fn start(scratch: &Scratch, socket: &str) -> Outcome<Self> {
        let mut nginx = Self::in_front_of(scratch, socket)?;
        nginx.wait()?;
        Ok(nginx)
    }

    /// Starts it in front of a server that will start later.
    pub(crate) fn in_front_of(scratch: &Scratch, socket: &str) -> Outcome<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, Runtime::free_port()?));
        let folder = scratch.path().display();
        let config = format!(
            "daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 1;\n\
             events {{}}\n\
             http {{\n access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};\n \
             fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};\n \
             upstream app {{ server unix:{socket}; keepalive 4; }}\n \
             server {{\n  listen {address};\n  location / {{\n   proxy_pass http://app;\n   \
             proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;\n   \
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n  }}\n }}\n}}\n"
        );
        let config = scratch.write("nginx.conf", config)?;
        let mut command = installed("nginx")?;
        command.args(["-c", &config]);
        let process = Process::start(command, scratch, "nginx")?;
        Ok(Self { address, process })
    }

    /// Waits until the server responds behind it.
    pub(crate) fn wait(&mut self) -> Outcome {
        self.process.wait(self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The command of a program of Debian, which is installed if necessary.
fn installed(program: &str) -> Outcome<Command> {
    let installed = Command::new(root().join("ci/apt")).arg(program).status();
    let installed = installed.map_err(|e| format!("ci/apt: {e}"))?;
    ensure!(installed.success(), "{program} can't be installed");
    let mut command = Command::new(program);
    // Debian has its servers there, which isn't in every user's PATH.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin"));
    Ok(command)
}

/// A process that is ended when this is dropped.
struct Process {
    child: Child,
    name: &'static str,
    /// The file with its output.
    log: String,
}

impl Process {
    /// Starts it.
    fn start(mut command: Command, scratch: &Scratch, name: &'static str) -> Outcome<Self> {
        let log = scratch.file(&format!("{name}.log"));
        let file = File::create(&log).map_err(|e| format!("{log}: {e}"))?;
        let error_file = file.try_clone().map_err(|e| format!("{log}: {e}"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(error_file)
            .spawn()
            .map_err(|e| format!("{name}: {e}"))?;
        Ok(Self { child, name, log })
    }

    /// Waits until it responds at this address with 200.
    fn wait(&mut self, address: SocketAddr) -> Outcome {
        /// How long it may take.
        const START: Duration = Duration::from_secs(60);
        let (name, log) = (self.name, &self.log);
        let printed = || std::fs::read_to_string(log).unwrap_or_default();
        let started = Instant::now();
        let url = format!("http://{address}/");
        loop {
            let ended = self.child.try_wait().map_err(|e| format!("{name}: {e}"))?;
            ensure!(ended.is_none(), "{name} has ended:\n{}", printed());
            if TcpStream::connect(address).is_ok() && curl(&["-f", &url]).is_ok() {
                return Ok(());
            }
            ensure!(
                started.elapsed() < START,
                "{name} doesn't serve in time:\n{}",
                printed()
            );
            sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // By SIGTERM, so that nginx ends its worker, too.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}
