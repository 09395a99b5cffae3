//! The servers that are compared, and how each is started.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use interop::curl::Scratch;
use interop::{Outcome, Program as Built, Runtime, root};

use super::wrk::Kind;
use super::{NGINX, SERVERS, workers};
use crate::cores;
use crate::options::Options;
use crate::server::ServerProcess;

/// A server that is compared.
pub(super) struct Program {
    pub(super) name: String,
    how: How,
}

enum How {
    /// A program of `benches/native`, or one of the command line.
    Own(PathBuf),
    /// nginx, with a folder for its configuration.
    Nginx(PathBuf, Scratch),
}

impl Program {
    pub(super) fn start(&self) -> Outcome<ServerProcess> {
        let start =
            || ServerProcess::start(&self.name, Runtime::Native, |address| self.command(address));
        match workers::SERVERS.contains(&self.name.as_str()) {
            true => cores::on_both_cores(start),
            false => cores::on_the_servers_core(start),
        }
    }

    /// Whether it is one of these servers, or a program of the command line.
    pub(super) fn is_of(&self, servers: &[&str]) -> bool {
        let name = self.name.as_str();
        servers.contains(&name) || !SERVERS.contains(&name)
    }

    /// Why it can't be measured under this load, if it can't.
    pub(super) fn why_left_out(&self, kind: Kind, idle: usize) -> Option<&'static str> {
        match (self.name.as_str(), kind) {
            (NGINX, Kind::Echo) => Some("can't send a body back"),
            ("may_minihttp" | "tiny_http", Kind::Close) => {
                Some("doesn't say `Connection: close` in its responses, without which wrk goes on")
            }
            ("tiny_http", _) if idle > 0 => {
                Some("has a thread for each connection, and doesn't serve some of many")
            }
            _ => None,
        }
    }

    /// Its version, if that isn't in the lock.
    pub(super) fn version(&self) -> Outcome<Option<(String, String)>> {
        let How::Nginx(path, _) = &self.how else {
            return Ok(None);
        };
        let output = Command::new(path).arg("-v").output();
        let output = output.map_err(|e| format!("{}: {e}", path.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let version = said.trim().trim_start_matches("nginx version: ");
        Ok(Some((NGINX.into(), version.into())))
    }

    fn command(&self, address: SocketAddr) -> Outcome<Command> {
        match &self.how {
            How::Own(path) => Runtime::Native.command(path, &address.to_string(), &[]),
            How::Nginx(path, folder) => {
                let configuration = folder.write("nginx.conf", nginx(address, folder.path()))?;
                let mut command = Command::new(path);
                command.args(["-e", "stderr", "-c", &configuration]);
                command.arg("-p").arg(folder.path());
                Ok(command)
            }
        }
    }
}

/// Builds the servers that the options name and that take part in a scenario. Adds the programs of `--with`.
pub(super) fn programs(
    options: &Options,
    takes_part: impl Fn(&str) -> bool,
) -> Outcome<Vec<Program>> {
    let mut programs = Vec::new();
    let wanted = |name: &&str| options.compares(name) && takes_part(name);
    for name in SERVERS.into_iter().filter(wanted) {
        let how = match name {
            NGINX => {
                let installed = Command::new(root().join("ci/apt")).arg(NGINX).status();
                if !installed.is_ok_and(|status| status.success()) {
                    eprintln!("bench: goes on without nginx");
                    continue;
                }
                let path = Path::new("/usr/sbin/nginx");
                let path = if path.exists() {
                    path
                } else {
                    Path::new(NGINX)
                };
                How::Nginx(path.into(), Scratch::new()?)
            }
            own => {
                let folder = root().join("benches/native");
                let what = ["--locked", "--bin", own];
                How::Own(Built::build(Runtime::Native, &folder, &what, true)?.path)
            }
        };
        programs.push(Program {
            name: name.into(),
            how,
        });
    }
    let native = |path: &Path| path.extension().is_none_or(|kind| kind != "wasm");
    for (name, path) in options.with.iter().filter(|(_, path)| native(path)) {
        programs.push(Program {
            name: name.clone(),
            how: How::Own(fs::canonicalize(path).map_err(|e| format!("{}: {e}", path.display()))?),
        });
    }
    Ok(programs)
}

/// nginx's configuration: one process, no logs, connections that stay, and the response of the others.
fn nginx(address: SocketAddr, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr crit;
worker_rlimit_nofile 20000;
events {{
    worker_connections 16384;
}}
http {{
    access_log off;
    default_type "";
    server_tokens off;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    client_max_body_size 2m;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {address} backlog=1024;
        location / {{
            return 200 "Hello, world!";
        }}
    }}
}}
"#
    )
}
