//! [`Nginx`]: instances are drained by another configuration and a reload. By failed requests it finds the instances
//! that don't serve.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::instances::Instances;
use super::proxy::Proxy;
use super::{configuration, system_program};
use crate::curl::Scratch;
use crate::{Outcome, Runtime, Server, ensure};

/// How long a reload may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// nginx.
#[derive(Debug)]
pub(super) struct Nginx {
    server: Server,
    folder: Scratch,
    instances: Vec<SocketAddr>,
}

impl Nginx {
    pub(super) fn start(instances: &Instances) -> Outcome<Box<dyn Proxy>> {
        let folder = Scratch::new()?;
        let instances = instances.addresses().to_vec();
        let server = Server::with_command(Runtime::Native, |address| {
            configure(&folder, address, &instances, None)?;
            let path = folder.write("nginx.conf", frame(&folder))?;
            let mut command = Command::new(system_program("nginx"));
            command
                .args(["-e", "stderr", "-c", &path, "-p"])
                .arg(folder.path());
            Ok(command)
        })?;
        Ok(Box::new(Self {
            server,
            folder,
            instances,
        }))
    }

    /// Reloads the configuration, with one instance less or with all.
    fn reload(&self, without: Option<usize>) -> Outcome {
        configure(&self.folder, self.server.address, &self.instances, without)?;
        let old = self.workers()?;
        self.server.signal("-HUP")?;
        let since = Instant::now();
        // Until there are new workers, and the old ones have seen it, too: these accept no more connections, but
        // complete the responses that they have begun.
        while self.workers()?.iter().all(|worker| old.contains(worker))
            || !old.iter().all(|worker| is_ending(worker))
        {
            ensure!(since.elapsed() < PATIENCE, "nginx doesn't reload");
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn workers(&self) -> Outcome<Vec<String>> {
        let pid = self.server.pid();
        let path = format!("/proc/{pid}/task/{pid}/children");
        let children = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
        Ok(children.split_whitespace().map(str::to_owned).collect())
    }
}

/// Whether a worker has ended, or says in its title that it is going to.
fn is_ending(worker: &str) -> bool {
    let title = fs::read(format!("/proc/{worker}/cmdline")).unwrap_or_default();
    title.is_empty() || String::from_utf8_lossy(&title).contains("shutting down")
}

impl Proxy for Nginx {
    fn address(&self) -> SocketAddr {
        self.server.address
    }

    fn drain(&mut self, instance: usize) -> Outcome {
        self.reload(Some(instance))
    }

    fn readmit(&mut self, _instance: usize) -> Outcome {
        self.reload(None)
    }

    fn check(&mut self) -> Outcome {
        self.server.check_alive()
    }
}

/// nginx kills no workers when it is killed itself.
impl Drop for Nginx {
    fn drop(&mut self) {
        let since = Instant::now();
        // An error means that it has ended.
        let _ = self.server.signal("-TERM");
        while self.server.ended().is_none() && since.elapsed() < PATIENCE {
            sleep(Duration::from_millis(10));
        }
    }
}

/// Writes the configuration of `examples/deploy`, with one of the instances down.
fn configure(
    folder: &Scratch,
    address: SocketAddr,
    instances: &[SocketAddr],
    down: Option<usize>,
) -> Outcome {
    let mut changes = vec![("127.0.0.1:8080".to_owned(), address.to_string())];
    for (number, instance) in instances.iter().enumerate() {
        let old = format!("127.0.0.1:{} max_fails=1 fail_timeout=2s", 3001 + number);
        let new = match down == Some(number) {
            true => format!("{instance} max_fails=1 fail_timeout=2s down"),
            false => format!("{instance} max_fails=1 fail_timeout=2s"),
        };
        changes.push((old, new));
    }
    let changes: Vec<_> = changes
        .iter()
        .map(|(old, new)| (old.as_str(), new.clone()))
        .collect();
    folder.write("instances.conf", configuration("nginx.conf", &changes)?)?;
    Ok(())
}

/// The configuration around that of `examples/deploy`, like Debian's `nginx.conf`.
fn frame(folder: &Scratch) -> String {
    let at = folder.path().display();
    format!(
        "daemon off;
pid {at}/nginx.pid;
error_log stderr error;
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {at}/body;
    proxy_temp_path {at}/proxy;
    fastcgi_temp_path {at}/fastcgi;
    uwsgi_temp_path {at}/uwsgi;
    scgi_temp_path {at}/scgi;
    include {at}/instances.conf;
}}
"
    )
}
