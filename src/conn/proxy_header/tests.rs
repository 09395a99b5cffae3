use super::*;
use crate::conn::{CheckedConnection, Received, Step};
use crate::limits::Limits;
use crate::time::Instant;
use std::time::Duration;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const OWN: &str = "198.51.100.7:80";

/// A header of version 2, with these bytes after its fixed part.
fn v2_header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len())
        .expect("a short header")
        .to_be_bytes();
    [v2::PROTOCOL_PREFIX, &[command, family], &length, rest].concat()
}

/// 203.0.113.9:4711 to 192.0.2.1:80.
const V4: [u8; 12] = [203, 0, 113, 9, 192, 0, 2, 1, 0x12, 0x67, 0, 80];

/// The header with its checksum in its last four bytes.
fn with_checksum(mut header: Vec<u8>) -> Vec<u8> {
    let at = header.len() - 4;
    let sum = crc32c(&header, at).to_be_bytes();
    header[at..].copy_from_slice(&sum);
    header
}

fn v4_with(tlvs: &[u8]) -> Vec<u8> {
    v2_header(0x21, 0x11, &[&V4, tlvs].concat())
}

struct Bench(CheckedConnection);

impl Bench {
    fn new(limits: Limits) -> Self {
        Self(CheckedConnection::behind_proxy(
            limits,
            Instant::default(),
            OWN.parse().ok(),
        ))
    }

    /// The peer of the request that the input brings.
    fn peer(&mut self, mut input: &[u8]) -> Option<Option<String>> {
        let request = self.0.call(|it, cx| it.handle_input(cx, &mut input))?;
        Some(request.peer_addr().map(|peer| peer.to_string()))
    }

    fn closed(&mut self) -> Option<CloseReason> {
        match self.0.call(Connection::poll_step) {
            Step::Wait => None,
            Step::ShutdownWrite => self.0.connection.state().close_reason(),
            Step::Close(reason) => Some(reason),
        }
    }
}

fn peer(header: &[u8]) -> Option<Option<String>> {
    Bench::new(Limits::default()).peer(&[header, GET].concat())
}

fn found(peer: &str) -> Option<Option<String>> {
    Some(Some(peer.to_owned()))
}

fn is_refused(header: &[u8]) -> bool {
    let mut bench = Bench::new(Limits::default());
    let peer = bench.peer(&[header, GET].concat());
    let output = bench.0.connection.pending_output();
    peer.is_none() && output == 0 && bench.closed() == Some(CloseReason::BadProxyHeader)
}

#[test]
fn the_client_of_the_header_is_the_peer() {
    let v1 = b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n";
    assert_eq!(peer(v1), found("203.0.113.9:4711"));
    let v1 = b"PROXY TCP6 2001:db8::9 ::1 4711 80\r\n";
    assert_eq!(peer(v1), found("[2001:db8::9]:4711"));
    assert_eq!(peer(&v4_with(&[])), found("203.0.113.9:4711"));
    // Over UDP, as with HTTP/3 at the proxy.
    assert_eq!(peer(&v2_header(0x21, 0x12, &V4)), found("203.0.113.9:4711"));
    let mut v6 = [0; 36];
    (v6[0], v6[15], v6[33]) = (0xfd, 9, 80);
    assert_eq!(peer(&v2_header(0x21, 0x21, &v6)), found("[fd00::9]:80"));
}

#[test]
fn the_proxy_itself_keeps_the_address_of_the_connection() {
    assert_eq!(peer(&v2_header(0x20, 0, &[])), found(OWN));
    // What follows is ignored, whatever it says.
    assert_eq!(peer(&v2_header(0x20, 0x11, &V4)), found(OWN));
    assert_eq!(peer(&v2_header(0x20, 0xff, &[1, 2, 3])), found(OWN));
}

#[test]
fn an_unknown_client_has_no_address() {
    assert_eq!(peer(b"PROXY UNKNOWN\r\n"), Some(None));
    assert_eq!(peer(b"PROXY UNKNOWN ::1 ::2 1 2\r\n"), Some(None));
    assert_eq!(peer(b"PROXY UNKNOWN a b c d e f +1 \r\n"), Some(None));
    assert!(is_refused(b"PROXY UNKNOWNS\r\n"));
    assert_eq!(peer(&v2_header(0x21, 0, &[])), Some(None));
    assert_eq!(peer(&v2_header(0x21, 0, &[0xff; 7])), Some(None));
    assert_eq!(peer(&v2_header(0x21, 0x31, &[b'/'; 216])), Some(None));
}

/// Each family with each transport: an address is believed only if both are specified.
#[test]
fn the_address_of_an_unspecified_family_or_transport_does_not_count() {
    let mut v6 = [0; 36];
    (v6[0], v6[15], v6[33]) = (0xfd, 9, 80);
    let families: [(u8, &[u8], _); 4] = [
        (0x00, &V4, Some(None)),
        (0x10, &V4, found("203.0.113.9:4711")),
        (0x20, &v6, found("[fd00::9]:80")),
        (0x30, &[b'/'; 216], Some(None)),
    ];
    for (family, addresses, client) in families {
        let with = |transport| peer(&v2_header(0x21, family | transport, addresses));
        assert_eq!(with(0), Some(None), "{family:#x}");
        assert_eq!(with(1), client, "{family:#x}");
        assert_eq!(with(2), client, "{family:#x}");
        for unknown in 3..=15 {
            let header = v2_header(0x21, family | unknown, addresses);
            assert!(is_refused(&header), "{family:#x}, {unknown}");
        }
    }
    for unknown in 4..=15 {
        assert!(is_refused(&v2_header(0x21, unknown << 4 | 1, &v6)));
    }
}

#[test]
fn fields_are_skipped_and_the_checksum_is_checked() {
    assert_eq!(
        peer(&v4_with(&[1, 0, 2, b'h', b'1'])),
        found("203.0.113.9:4711")
    );
    assert_eq!(
        peer(&v4_with(&[0xee, 0, 0, 4, 0, 1, 0])),
        found("203.0.113.9:4711")
    );
    let header = with_checksum(v4_with(&[4, 0, 1, 0, 3, 0, 4, 0, 0, 0, 0]));
    assert_eq!(peer(&header), found("203.0.113.9:4711"));
    // Without the byte that says that the last field is a checksum.
    let sum = header.len() - 7;
    for at in (16..sum).chain(sum + 1..header.len()) {
        let mut broken = header.clone();
        broken[at] ^= 0x10;
        assert!(is_refused(&broken), "byte {at}");
    }
    for broken in [
        &[3, 0, 0][..],
        &[3, 0, 3, 0, 0, 0],
        &[3, 0, 5, 0, 0, 0, 0, 0],
    ] {
        assert!(is_refused(&v4_with(broken)));
    }
}

/// The check value of this CRC, of the digits from 1 to 9.
#[test]
fn the_checksum_is_crc32c() {
    assert_eq!(crc32c(b"123456789", usize::MAX - 4), 0xe306_9283);
}

#[test]
fn the_deadline_is_that_of_the_header_until_it_is_complete() {
    let limits = Limits::default();
    let (header, idle) = (limits.proxy_header_timeout, limits.idle_timeout);
    assert!(header < idle);
    let mut bench = Bench::new(limits);
    let deadline = |bench: &Bench| bench.0.connection.poll_timeout();
    let until = Some(Instant::default() + header);
    assert_eq!(deadline(&bench), until);
    assert!(bench.0.connection.can_be_evicted());
    // Bytes don't move it.
    bench.0.now = Instant::default() + Duration::from_secs(1);
    assert_eq!(bench.peer(b"PROXY "), None);
    assert_eq!(deadline(&bench), until);
    assert_eq!(bench.peer(b"UNKNOWN\r\n"), None);
    assert_eq!(deadline(&bench), Some(bench.0.now + idle));
    assert_eq!(bench.peer(GET), Some(None));
}

#[test]
fn a_late_header_closes_the_connection() {
    for sent in [&b""[..], b"PROXY UNK"] {
        let mut bench = Bench::new(Limits::default());
        assert_eq!(bench.peer(sent), None);
        bench.0.now = bench.0.connection.poll_timeout().expect("a deadline");
        bench.0.call(Connection::handle_timeout);
        assert_eq!(bench.closed(), Some(CloseReason::ProxyHeaderTimeout));
    }
}

#[test]
fn the_end_of_the_stream_within_the_header_is_a_fault() {
    for (sent, reason) in [
        (&b""[..], CloseReason::ClientClosed),
        (b"PROXY UNK", CloseReason::BadProxyHeader),
        (b"PROXY UNKNOWN\r\n", CloseReason::ClientClosed),
    ] {
        let mut bench = Bench::new(Limits::default());
        assert_eq!(bench.peer(sent), None);
        bench.0.call(Connection::handle_end_of_input);
        assert_eq!(bench.closed(), Some(reason));
    }
}

#[test]
fn a_server_that_stops_does_not_wait_for_headers() {
    for sent in [&b""[..], b"PROXY UNK"] {
        let mut bench = Bench::new(Limits::default());
        assert_eq!(bench.peer(sent), None);
        assert!(bench.0.call(Connection::stop));
        assert_eq!(bench.closed(), Some(CloseReason::Stopped));
    }
}

#[test]
fn without_memory_the_rest_of_a_header_is_not_kept() {
    let mut bench = Bench::new(Limits {
        max_held: 1,
        ..Limits::default()
    });
    assert_eq!(bench.peer(b"PROXY UNK"), None);
    let output = bench.0.call(Connection::take_output);
    assert!(output.starts_with(b"HTTP/1.1 503 "));
    assert_eq!(bench.closed(), Some(CloseReason::Overloaded));
}

#[test]
fn a_header_of_version_2_may_be_as_long_as_the_limit() {
    let header = v4_with(&[&[4, 0, 50][..], &[0; 50]].concat());
    for (limit, is_accepted) in [(header.len(), true), (header.len() - 1, false)] {
        let mut bench = Bench::new(Limits {
            max_proxy_header: limit,
            ..Limits::default()
        });
        let peer = bench.peer(&[&header, GET].concat());
        assert_eq!(peer.is_some(), is_accepted);
    }
}

#[test]
fn a_longer_line_is_refused_before_its_end() {
    let line = |length: usize| {
        let begin = b"PROXY UNKNOWN ".to_vec();
        [begin, vec![b'x'; length - 16], b"\r\n".to_vec()].concat()
    };
    assert_eq!(peer(&line(107)), Some(None));
    assert!(is_refused(&line(108)));
    let mut bench = Bench::new(Limits::default());
    assert_eq!(bench.peer(&line(109)[..106]), None);
    assert_eq!(bench.closed(), None);
    assert_eq!(bench.peer(b"x"), None);
    assert_eq!(bench.closed(), Some(CloseReason::BadProxyHeader));
}

/// Where bodies stream, the request has the client's address, too.
#[test]
fn a_streamed_request_comes_after_the_header_as_well() {
    let mut bench = Bench::new(Limits::default());
    let input = [&v4_with(&[])[..], GET].concat();
    let (mut first, mut second) = input.split_at(20);
    let mut receive =
        |input: &mut &[u8]| bench.0.call(|it, cx| it.handle_input_streaming(cx, input));
    assert!(receive(&mut first).is_none());
    assert!(matches!(receive(&mut second), Some(Received::Head(_, _))));
    let peer = bench.0.connection.peer().map(|peer| peer.to_string());
    assert_eq!(peer.as_deref(), Some("203.0.113.9:4711"));
}
