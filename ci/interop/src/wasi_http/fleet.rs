//! Many connections, and two hosts behind HAProxy.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use super::hosts::Component;
use crate::client::PATIENCE;
use crate::curl::Scratch;
use crate::fleet::{installed, system_program};
use crate::load::{Kind, Load};
use crate::report::leave_out;
use crate::{Client, Outcome, Report, Runtime, Server, ensure};

const REQUESTS: usize = 1000;
const CONNECTIONS: usize = 64;

pub(super) fn check(report: &mut Report, host: Runtime) {
    if host == Runtime::Jco {
        leave_out(
            "1,000 requests and two hosts in jco: it starts a thread with Node for each request, \
             which takes minutes",
        );
        return;
    }
    let component = Component::example("echo-http");
    let many = component.clone().and_then(|it| many(&it.start(host, &[])?));
    report.add("1,000 requests at 64 connections", host, many);
    let fleet = component.and_then(|it| behind_haproxy(&it, host));
    report.add("two hosts behind HAProxy, one is killed", host, fleet);
}

/// None is lost, and each response is that of its request.
fn many(server: &Server) -> Outcome<String> {
    let next = AtomicUsize::new(0);
    let visit = || -> Outcome<usize> {
        let mut client = Client::connect(server.address)?;
        let mut count = 0;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= REQUESTS {
                return Ok(count);
            }
            let body = format!("request {number}");
            let length = body.len();
            client.send(format!(
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
            ))?;
            client.response()?.check(body.as_bytes())?;
            count += 1;
        }
    };
    let counts: Vec<_> = scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(visit)).collect();
        let join = |client: std::thread::ScopedJoinHandle<'_, Outcome<usize>>| client.join();
        clients.into_iter().map(join).collect()
    });
    let mut all = 0;
    for count in counts {
        all += count.map_err(|_| "a client panicked")??;
    }
    ensure!(all == REQUESTS, "{all} of {REQUESTS} were served");
    Ok("ok".into())
}

/// One of two hosts is killed and started again under load. Only requests that are at it may fail.
fn behind_haproxy(component: &Component, host: Runtime) -> Outcome<String> {
    installed(&["haproxy"])?;
    let one = component.start(host, &[])?;
    let other = component.start(host, &[])?;
    let folder = Scratch::new()?;
    let proxy = Server::with_command(Runtime::Native, |address| {
        let text = CONFIGURATION
            .replace("ADDRESS", &address.to_string())
            .replace("ONE", &one.address.to_string())
            .replace("OTHER", &other.address.to_string());
        let path = folder.write("haproxy.cfg", text)?;
        let mut command = Command::new(system_program("haproxy"));
        command.args(["-db", "-f", &path]);
        Ok(command)
    })?;
    wait_for(&proxy, &["one", "other"])?;
    let kind = Kind {
        clients: 8,
        method: "GET",
        keeps: true,
    };
    let load = Load::start(proxy.address, &[kind], Duration::from_millis(2));
    sleep(Duration::from_secs(1));
    let (address, killed) = (one.address, Instant::now());
    drop(one);
    sleep(Duration::from_secs(2));
    let again = Server::spawn(host, address, component.command(host, address, &[])?)?;
    wait_for(&proxy, &["one", "other"])?;
    let sent = load.end()?;
    drop((again, other));
    let lost: Vec<_> = sent.iter().filter(|sent| sent.outcome.is_err()).collect();
    let early = lost
        .iter()
        .find(|sent| sent.ended < killed || sent.begun > killed + Duration::from_secs(1));
    ensure!(
        early.is_none(),
        "{:?} failed",
        early.map(|sent| &sent.outcome)
    );
    ensure!(lost.len() <= kind.clients, "{} requests failed", lost.len());
    ensure!(sent.len() > 200, "only {} requests", sent.len());
    Ok(format!("{} lost", lost.len()))
}

/// Waits until each of the two serves.
fn wait_for(proxy: &Server, names: &[&str]) -> Outcome {
    let begun = Instant::now();
    let mut missing = names.to_vec();
    while !missing.is_empty() {
        ensure!(begun.elapsed() < PATIENCE, "{missing:?} serve nothing");
        let mut client = Client::connect(proxy.address)?;
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let response = client.response()?;
        missing.retain(|name| !response.values("x-served-by").any(|value| value == *name));
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

const CONFIGURATION: &str = "
global
    maxconn 400
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    timeout check 5s
    retries 3
    retry-on conn-failure
    option redispatch 1
frontend web
    bind ADDRESS
    http-response set-header X-Served-By %s
    default_backend hosts
backend hosts
    balance roundrobin
    option httpchk
    http-check send meth GET uri / ver HTTP/1.1 hdr Host x
    default-server check inter 200ms fall 2 rise 1
    server one ONE
    server other OTHER
";
