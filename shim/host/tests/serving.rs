//! Whole hosts, with a guest that serves and misbehaves on request.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use wasip1_host::{Host, Running};

fn host() -> Host {
    let module = wat::parse_str(include_str!("guest.wat")).unwrap();
    Host::from_bytes("guest", module)
        .listen("127.0.0.1:0")
        .cache(false)
}

/// What the guest sends back. Nothing if it has ended.
fn ask(address: SocketAddr, request: &str) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    // A reset counts as nothing.
    let _ = client.read_to_string(&mut response);
    response
}

fn address(running: &Running) -> SocketAddr {
    running.addresses()[0]
}

/// Asks until there is a response, for at most twenty seconds.
fn ask_again(address: SocketAddr) -> String {
    let start = Instant::now();
    loop {
        let response = ask(address, "hello");
        if !response.is_empty() || start.elapsed() > Duration::from_secs(20) {
            return response;
        }
    }
}

fn metric(running: &Running, line: &str) -> u64 {
    let address = running.metrics_address().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    client.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    let value = text.lines().find_map(|it| it.strip_prefix(line));
    value
        .unwrap_or_else(|| panic!("no {line} in {text}"))
        .trim()
        .parse()
        .unwrap()
}

/// Waits until a metric has this value.
fn until(running: &Running, line: &str, value: u64) {
    let start = Instant::now();
    while metric(running, line) != value {
        assert!(start.elapsed() < Duration::from_secs(20), "{line}");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn it_serves_and_exits() {
    let running = host().start().unwrap();
    assert_eq!(ask(address(&running), "hello"), "hello");
    assert_eq!(ask(address(&running), "X"), "");
    assert_eq!(running.wait(), 7);
}

#[test]
fn an_instance_that_traps_is_started_again() {
    let running = host().metrics("127.0.0.1:0").start().unwrap();
    // More often than the host restarts a guest that traps before it accepts a connection. The pauses before the
    // restarts grow to more than a second.
    for _ in 0..10 {
        assert_eq!(ask(address(&running), "T"), "");
        // The listener is the same, so no connection is refused.
        assert_eq!(ask(address(&running), "hello"), "hello");
    }
    assert_eq!(metric(&running, "wasip1_traps_total{instance=\"0\"}"), 10);
    assert_eq!(
        metric(&running, "wasip1_accepted_total{instance=\"0\"}"),
        20
    );
    assert_eq!(
        metric(&running, "wasip1_read_bytes_total{instance=\"0\"}"),
        10 * 6
    );
    running.stop();
    assert_eq!(running.wait(), 0);
}

#[test]
fn without_restarts_an_instance_that_traps_ends_the_host() {
    let running = host().restart(false).start().unwrap();
    assert_eq!(ask(address(&running), "T"), "");
    assert_eq!(running.wait(), 134);
}

#[test]
fn an_instance_that_has_ended_has_no_connections_and_no_memory() {
    let host = host().restart(false).instances(2);
    let running = host.metrics("127.0.0.1:0").start().unwrap();
    assert_eq!(ask(address(&running), "T"), "");
    let of =
        |number: usize, name: &str| metric(&running, &format!("{name}{{instance=\"{number}\"}}"));
    let start = Instant::now();
    // The kernel has chosen the instance.
    let ended = loop {
        let traps = |number: &usize| of(*number, "wasip1_traps_total") == 1;
        if let Some(number) = [0, 1].iter().find(|it| traps(it)) {
            break *number;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "no trap");
    };
    assert_eq!(of(ended, "wasip1_accepted_total"), 1);
    assert_eq!(of(ended, "wasip1_connections"), 0);
    assert_eq!(of(ended, "wasip1_memory_bytes"), 0);
    running.stop();
    assert_eq!(running.wait(), 134);
}

#[test]
fn the_other_instances_go_on() {
    let running = host().instances(3).start().unwrap();
    let address = address(&running);
    for _ in 0..20 {
        assert_eq!(ask(address, "T"), "");
        assert_eq!(ask_again(address), "hello");
    }
    running.stop();
    assert_eq!(running.wait(), 0);
}

#[test]
fn a_guest_that_spins_is_ended() {
    let spin = Duration::from_millis(200);
    let running = host().max_spin(Some(spin)).start().unwrap();
    let start = Instant::now();
    assert_eq!(ask(address(&running), "S"), "");
    let took = start.elapsed();
    assert!(took >= spin && took < Duration::from_secs(10), "{took:?}");
    assert_eq!(ask_again(address(&running)), "hello");
    // The time that a guest waits doesn't count.
    sleep(3 * spin);
    assert_eq!(ask(address(&running), "hello"), "hello");
    running.stop();
    assert_eq!(running.wait(), 0);
}

#[test]
fn a_guest_gets_no_more_memory_than_it_may() {
    let running = host()
        .memory(32 << 20)
        .metrics("127.0.0.1:0")
        .start()
        .unwrap();
    assert_eq!(ask(address(&running), "G"), "");
    assert_eq!(ask_again(address(&running)), "hello");
    assert_eq!(metric(&running, "wasip1_traps_total{instance=\"0\"}"), 1);
    assert_eq!(
        metric(&running, "wasip1_memory_bytes{instance=\"0\"}"),
        0x1_0000
    );
    running.stop();
    assert_eq!(running.wait(), 0);
}

/// When the size of a table overflows, wasmtime says that growing it has failed, though it hasn't asked before.
#[test]
fn a_table_that_cant_grow_gives_no_memory_back() {
    // Takes memory by the MiB, with a table that overflows before each, and exits with how often it got some.
    let module = wat::parse_str(
        r#"(module
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1)
          (table $table i64 1 funcref)
          (func (export "_start") (local $got i32)
            (loop $more
              (drop (table.grow $table (ref.null func) (i64.const -1)))
              (if (i32.ne (memory.grow (i32.const 16)) (i32.const -1))
                (then
                  (local.set $got (i32.add (local.get $got) (i32.const 1)))
                  (br_if $more (i32.lt_u (local.get $got) (i32.const 64))))))
            (call $exit (local.get $got))))"#,
    );
    let host = Host::from_bytes("guest", module.unwrap()).cache(false);
    assert_eq!(host.memory(8 << 20).start().unwrap().wait(), 7);
}

/// A client whose guest has closed its listener, and goes on to serve it.
fn closed_listener(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"C").unwrap();
    client.read_exact(&mut [0]).unwrap();
    client
}

#[test]
fn a_guest_that_closes_its_listener_gets_no_new_connections() {
    let running = host().start().unwrap();
    let address = address(&running);
    let mut client = closed_listener(address);
    let refused = TcpStream::connect(address).expect_err("nothing listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    client.write_all(b"hello").unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "hello");
    assert_eq!(running.wait(), 0);
}

#[test]
fn a_guest_without_its_listener_isnt_restarted() {
    let running = host().start().unwrap();
    let mut client = closed_listener(address(&running));
    client.write_all(b"T").unwrap();
    assert_eq!(running.wait(), 134);
}

#[test]
fn a_guest_without_its_listener_is_drained() {
    let running = host().start().unwrap();
    let mut client = closed_listener(address(&running));
    // Longer than it takes the guest to wait for the next byte.
    sleep(Duration::from_millis(50));
    running.drain();
    let mut rest = Vec::new();
    // The connection is idle, so the guest sees its end, and ends.
    assert_eq!(client.read_to_end(&mut rest).unwrap(), 0);
    assert_eq!(running.wait(), 0);
}

#[test]
fn new_connections_go_to_the_instances_that_are_left() {
    for ends in ["X", "C"] {
        let running = host().instances(2).start().unwrap();
        let address = address(&running);
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(ends.as_bytes()).unwrap();
        // After X the stream ends; after C the byte is sent back.
        let _ = client.read(&mut [0]);
        // The instance's thread takes a moment to end.
        sleep(Duration::from_millis(300));
        for number in 0..40 {
            let mut client = TcpStream::connect(address).unwrap();
            let patience = Some(Duration::from_secs(20));
            client.set_read_timeout(patience).unwrap();
            client.write_all(b"hello").unwrap();
            let mut response = String::new();
            let outcome = client.read_to_string(&mut response);
            assert_eq!(response, "hello", "{ends}, {number}: {outcome:?}");
        }
        drop(client);
        running.stop();
        let _ = running.wait();
    }
}

#[test]
fn a_drain_ends_idle_connections_and_closes_the_listener() {
    let running = host().metrics("127.0.0.1:0").start().unwrap();
    let address = address(&running);
    let mut client = TcpStream::connect(address).unwrap();
    until(&running, "wasip1_accepted_total{instance=\"0\"}", 1);
    // Longer than it takes the guest to wait for its first byte.
    sleep(Duration::from_millis(100));
    running.drain();
    // The connection is idle, so its stream ends, and the guest sees the end of its listener.
    let mut response = String::new();
    client.read_to_string(&mut response).unwrap();
    assert_eq!(response, "");
    assert_eq!(running.wait(), 0);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn after_the_grace_a_drain_ends_the_instances_left() {
    let grace = Duration::from_millis(300);
    let host = host().metrics("127.0.0.1:0");
    let running = host.grace(grace).start().unwrap();
    let mut client = TcpStream::connect(address(&running)).unwrap();
    client.write_all(b"S").unwrap();
    until(&running, "wasip1_read_bytes_total{instance=\"0\"}", 1);
    let start = Instant::now();
    running.drain();
    assert_eq!(running.wait(), 0);
    let took = start.elapsed();
    assert!(took >= grace && took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_module_that_never_starts_is_given_up() {
    let module = wat::parse_str(
        r#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#,
    );
    let host = Host::from_bytes("guest", module.unwrap()).cache(false);
    // Without a listener it isn't started again at all.
    assert_eq!(host.start().unwrap().wait(), 134);
    let module = wat::parse_str(
        r#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#,
    );
    let host = Host::from_bytes("guest", module.unwrap()).listen("127.0.0.1:0");
    let start = Instant::now();
    assert_eq!(host.cache(false).start().unwrap().wait(), 134);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn start_fails_with_the_reason() {
    let said = |host: Host| host.cache(false).start().expect_err("an error").to_string();
    let taken = host().start().unwrap();
    let address = address(&taken).to_string();
    let wat = |text: &str| Host::from_bytes("guest", wat::parse_str(text).unwrap());
    for (host, why) in [
        (Host::new("/no/such.wasm"), "can't read /no/such.wasm"),
        (
            Host::from_bytes("x", b"text".to_vec()),
            "the module is not a WebAssembly module: build the program for wasm32-wasip1",
        ),
        (
            Host::from_bytes("x", b"\0asm\x0d\0\x01\0".to_vec()),
            "the module is a component of WASI 0.2",
        ),
        (
            Host::from_bytes("x", b"\0asm\x01\0\0\0\x01".to_vec()),
            "can't compile the module: ",
        ),
        (
            host().dir("/no/such", "/"),
            "can't open the directory /no/such: ",
        ),
        (
            host().dir("/dev/null", "/"),
            "can't open the directory /dev/null: ",
        ),
        (host().listen("a:b=127.0.0.1:0"), "\"a:b\" is not a name"),
        (host().listen("=127.0.0.1:0"), "\"\" is not a name"),
        (
            wat(r#"(module (func (export "_start") (param i32)))"#),
            "isn't a function without parameters",
        ),
        (host().listen(&address), "can't listen on"),
        (host().listen(&address).instances(2), "can't listen on"),
        (host().listen("nowhere"), "nowhere is not an address like"),
        (wat("(module)"), "exports no function _start"),
        (
            wat(r#"(module (import "env" "x" (func)))"#),
            "what preview 1 doesn't have",
        ),
    ] {
        let error = said(host);
        assert!(error.contains(why), "{error}");
    }
    taken.stop();
    assert_eq!(taken.wait(), 0);
}
