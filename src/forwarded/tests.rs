//! Known mistakes in reading these fields, with a test for each.

use super::*;
use ForwardedBy::{Forwarded, XForwardedFor};

fn proxies() -> TrustedProxies {
    TrustedProxies::new(["127.0.0.1", "10.0.0.0/8", "2001:db8:1::/48"]).expect("networks")
}

/// The client that these lines name, if they come from a trusted proxy.
fn client(by: ForwardedBy, lines: &[&str]) -> Option<String> {
    from("127.0.0.1:4711", by, lines)
}

fn from(peer: &str, by: ForwardedBy, lines: &[&str]) -> Option<String> {
    let mut fields = HeaderMap::new();
    for line in lines {
        fields.append(by.name(), line.parse().expect("a field value"));
    }
    let peer = peer.parse().ok();
    let client = proxies().client(peer, &fields, by);
    client.map(|address| address.to_string())
}

fn found(address: &str) -> Option<String> {
    Some(address.to_owned())
}

#[test]
fn what_the_client_has_sent_itself_does_not_count() {
    let spoofed = ["1.1.1.1, 10.0.0.1, 203.0.113.9"];
    assert_eq!(client(XForwardedFor, &spoofed), found("203.0.113.9"));
    let spoofed = ["for=1.1.1.1, for=127.0.0.1, for=203.0.113.9"];
    assert_eq!(client(Forwarded, &spoofed), found("203.0.113.9"));
}

#[test]
fn a_client_that_is_no_proxy_is_not_believed() {
    for peer in ["203.0.113.9:4711", "[2001:db8:2::1]:4711"] {
        let address: SocketAddr = peer.parse().expect("an address");
        let own = found(&address.ip().to_string());
        assert_eq!(from(peer, XForwardedFor, &["1.1.1.1"]), own);
        assert_eq!(from(peer, Forwarded, &["for=1.1.1.1"]), own);
    }
}

#[test]
fn without_a_field_the_proxy_is_the_client() {
    assert_eq!(client(XForwardedFor, &[]), found("127.0.0.1"));
    assert_eq!(client(Forwarded, &[""]), found("127.0.0.1"));
}

#[test]
fn proxies_are_skipped_from_the_right_only() {
    let lines = ["203.0.113.9, 198.51.100.1, 10.1.2.3, 10.0.0.1"];
    assert_eq!(client(XForwardedFor, &lines), found("198.51.100.1"));
}

#[test]
fn if_all_are_trusted_the_leftmost_is_the_client() {
    let lines = ["10.9.9.9, 10.0.0.1"];
    assert_eq!(client(XForwardedFor, &lines), found("10.9.9.9"));
    let lines = ["for=10.9.9.9;proto=https, for=\"[2001:db8:1::7]\""];
    assert_eq!(client(Forwarded, &lines), found("10.9.9.9"));
}

#[test]
fn several_lines_are_one_list() {
    // A server that looks only at the first line takes that of the client.
    let lines = ["1.1.1.1", "203.0.113.9, 10.0.0.2", "10.0.0.1"];
    assert_eq!(client(XForwardedFor, &lines), found("203.0.113.9"));
    let lines = ["for=1.1.1.1", "for=203.0.113.9", "for=10.0.0.1"];
    assert_eq!(client(Forwarded, &lines), found("203.0.113.9"));
}

#[test]
fn the_other_field_does_not_count() {
    // A proxy that writes the one passes the other on.
    let mut fields = HeaderMap::new();
    fields.append("forwarded", "for=1.1.1.1".parse().expect("a value"));
    fields.append("x-forwarded-for", "203.0.113.9".parse().expect("a value"));
    fields.append("x-real-ip", "1.1.1.1".parse().expect("a value"));
    let peer = "127.0.0.1:1".parse().ok();
    let client = proxies().client(peer, &fields, XForwardedFor);
    assert_eq!(client, "203.0.113.9".parse().ok());
    let client = proxies().client(peer, &fields, Forwarded);
    assert_eq!(client, "1.1.1.1".parse().ok());
}

#[test]
fn ports_are_left_out() {
    for (entry, address) in [
        ("203.0.113.9:8080", "203.0.113.9"),
        ("[2001:db8::1]:8080", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        // This is an address as a whole, not one with a port.
        ("2001:db8::1:8080", "2001:db8::1:8080"),
    ] {
        assert_eq!(client(XForwardedFor, &[entry]), found(address), "{entry}");
    }
    for (entry, address) in [
        ("for=203.0.113.9", "203.0.113.9"),
        ("for=\"203.0.113.9:8080\"", "203.0.113.9"),
        ("for=\"203.0.113.9:_port\"", "203.0.113.9"),
        ("for=\"[2001:db8::1]:8080\"", "2001:db8::1"),
        ("For=\"[2001:db8::1]\"", "2001:db8::1"),
        ("FOR=\"\\[2001:db8::\\1]\"", "2001:db8::1"),
        ("by=10.0.0.1;for=203.0.113.9;host=\"a,b;c\"", "203.0.113.9"),
    ] {
        assert_eq!(client(Forwarded, &[entry]), found(address), "{entry}");
    }
}

#[test]
fn a_hidden_client_is_unknown_and_ends_the_search() {
    for hidden in ["unknown", "Unknown", "_hidden", "_SEVKISEK", "localhost"] {
        let lines = [&*format!("1.1.1.1, {hidden}, 10.0.0.1")];
        assert_eq!(client(XForwardedFor, &lines), None, "{hidden}");
        let lines = [&*format!("for=1.1.1.1, for={hidden}, for=10.0.0.1")];
        assert_eq!(client(Forwarded, &lines), None, "{hidden}");
        let lines = [&*format!("for=1.1.1.1, for=\"{hidden}:80\"")];
        assert_eq!(client(Forwarded, &lines), None, "{hidden}");
    }
}

#[test]
fn a_malformed_entry_is_unknown_and_ends_the_search() {
    for entry in [
        "203.0.113.256",
        "203.0.113.9:",
        "203.0.113.9:80:80",
        "203.0.113.9:65536",
        "203.0.113.9:+80",
        "203.0.113.9 10.0.0.1",
        "203.0.113.09",
        "[203.0.113.9]",
        "[2001:db8::1",
        "[2001:db8::1]80",
        "fe80::1%eth0",
        "\"203.0.113.9\"",
        "for=203.0.113.9",
        "0x7f000001",
    ] {
        let lines = [&*format!("1.1.1.1, {entry}, 10.0.0.1")];
        assert_eq!(client(XForwardedFor, &lines), None, "{entry}");
    }
    for element in [
        "203.0.113.9",
        "for",
        "for=",
        "for = 203.0.113.9",
        "for=203.0.113.9;for=10.0.0.2",
        "proto=https",
        "for=\"203.0.113.9",
        "for=203.0.113.9\"",
        "for=\"203.0.113.9\"x",
        "for=\"203.0.113.9\\\"",
        "for=\"203\"\".0.113.9\"",
    ] {
        let lines = [&*format!("for=1.1.1.1, {element}, for=10.0.0.1")];
        assert_eq!(client(Forwarded, &lines), None, "{element}");
    }
}

/// A client that sends a quotation mark must not hide what proxies add to its line.
#[test]
fn an_open_quotation_does_not_hide_entries() {
    for of_client in [
        "for=\"1.1.1.1",
        "for=\"",
        "\"",
        "\\\"",
        "\"\\",
        "for=1.1.1.1\"",
        "for=\"1.1.1.1\\\"",
        "a=\"\"\"",
        "for=1.1.1.1;a=\"x, for=1.1.1.1;b",
        "\", for=1.1.1.1, \", \"",
    ] {
        for of_proxies in [
            "for=203.0.113.9",
            "for=\"203.0.113.9\"",
            "for=\"203.0.113.9:80\";host=\"a, \\\"b\\\\\"",
            "for=203.0.113.9;host=\"\\\\\\\",\", for=\"10.0.0.1:1\", for=10.0.0.2",
        ] {
            for between in [", ", ",", "\t,"] {
                let line = format!("{of_client}{between}{of_proxies}");
                assert_eq!(client(Forwarded, &[&line]), found("203.0.113.9"), "{line}");
            }
        }
        // A line that the proxy has added by itself counts as well.
        let lines = [of_client, "for=203.0.113.9"];
        assert_eq!(client(Forwarded, &lines), found("203.0.113.9"));
        // Only the malformed entry is left.
        let line = format!("{of_client}, for=10.0.0.1");
        assert_eq!(client(Forwarded, &[&line]), None, "{line}");
    }
    // Quotation marks mean nothing in the other field.
    let lines = ["\"1.1.1.1, 203.0.113.9"];
    assert_eq!(client(XForwardedFor, &lines), found("203.0.113.9"));
}

/// Text that a proxy has put between quotation marks, such as `Host`, is no entry, whatever a client writes into it.
#[test]
fn nothing_within_a_quoted_string_is_an_entry() {
    for text in [
        "for=1.1.1.1",
        ", for=1.1.1.1",
        ", for=1.1.1.1,",
        "\\\", for=1.1.1.1",
        "\\\", for=1.1.1.1, a=\\\"",
        "\\\\, for=1.1.1.1, \\\\",
        "\\\\\\\", for=1.1.1.1;a=\\\"\\\\",
    ] {
        for of_client in ["", "for=1.1.1.1, ", "\", ", "for=\"1.1.1.1, "] {
            let line = format!("{of_client}for=203.0.113.9;host=\"{text}\", for=10.0.0.1");
            assert_eq!(client(Forwarded, &[&line]), found("203.0.113.9"), "{line}");
        }
    }
    // If a proxy doesn't escape a mark, the client is unknown: what may come from a client isn't believed.
    for text in ["\", for=1.1.1.1", "a\\", "\", for=1.1.1.1;a=\\"] {
        let line = format!("for=203.0.113.9;host=\"{text}\"");
        assert_eq!(client(Forwarded, &[&line]), None, "{line}");
    }
    // The same holds for a sender with a trusted address that writes both marks itself.
    let line = ["for=1.1.1.1, for=\"1.1.1.1, for=203.0.113.9\""];
    assert_eq!(client(Forwarded, &line), None);
}

#[test]
fn empty_entries_and_whitespace_are_ignored() {
    let lines = ["", " , 203.0.113.9\t,, ,10.0.0.1 , ", ","];
    assert_eq!(client(XForwardedFor, &lines), found("203.0.113.9"));
    let lines = ["", " , for=203.0.113.9 ; proto=http ;\t,, ,for=10.0.0.1 ,"];
    assert_eq!(client(Forwarded, &lines), found("203.0.113.9"));
    // A comma between them is needed.
    assert_eq!(client(Forwarded, &["for=203.0.113.9 for=10.0.0.1"]), None);
}

#[test]
fn a_mapped_address_is_an_ipv4_address() {
    let peer = "[::ffff:127.0.0.1]:4711";
    let lines = ["1.1.1.1, ::ffff:203.0.113.9, ::ffff:10.0.0.1"];
    assert_eq!(from(peer, XForwardedFor, &lines), found("203.0.113.9"));
    let same = TrustedProxies::new(["::ffff:127.0.0.1"]).expect("an address");
    assert!(same.contains(IpAddr::from([127, 0, 0, 1])));
    let network = TrustedProxies::new(["::ffff:10.0.0.0/104"]).expect("a network");
    assert!(network.contains(IpAddr::from([10, 9, 8, 7])));
    assert!(!network.contains(IpAddr::from([11, 9, 8, 7])));
}

/// The client that a line with any bytes names, if it comes from a trusted proxy.
fn client_of_bytes(by: ForwardedBy, line: &[u8]) -> Option<String> {
    let mut fields = HeaderMap::new();
    let value = http::HeaderValue::from_bytes(line).expect("a value");
    fields.append(by.name(), value);
    let client = proxies().client("127.0.0.1:1".parse().ok(), &fields, by);
    client.map(|address| address.to_string())
}

#[test]
fn an_entry_with_bytes_beyond_ascii_is_unknown() {
    for line in [
        &b"1.1.1.1, 203.0.113.9\xa0"[..],
        b"1.1.1.1, \xff203.0.113.9, 10.0.0.1",
        "1.1.1.1, 203.0.113.\u{0669}".as_bytes(),
        "1.1.1.1, 203.0.113.9\u{a0}".as_bytes(),
    ] {
        assert_eq!(client_of_bytes(XForwardedFor, line), None, "{line:?}");
    }
    for line in [&b"for=1.1.1.1, for=203.0.113.9\xa0"[..], b"for=\xff"] {
        assert_eq!(client_of_bytes(Forwarded, line), None, "{line:?}");
    }
}

/// A client that sends such bytes must not hide what proxies add to its line.
#[test]
fn bytes_beyond_ascii_do_not_hide_entries_to_their_right() {
    for line in [
        &b"\xff, 203.0.113.9"[..],
        b"1.1.1.1\xa0,203.0.113.9, 10.0.0.1",
        "\u{e9}, 203.0.113.9".as_bytes(),
    ] {
        let client = client_of_bytes(XForwardedFor, line);
        assert_eq!(client, found("203.0.113.9"), "{line:?}");
    }
    let client = client_of_bytes(Forwarded, b"for=_\xff, for=203.0.113.9, for=10.0.0.1");
    assert_eq!(client, found("203.0.113.9"));
}

#[test]
fn connections_without_an_address_are_trusted_only_if_configured() {
    let mut fields = HeaderMap::new();
    assert_eq!(proxies().client(None, &fields, XForwardedFor), None);
    fields.append("x-forwarded-for", "203.0.113.9".parse().expect("a value"));
    assert_eq!(proxies().client(None, &fields, XForwardedFor), None);
    let proxies = proxies().and_without_address();
    let client = proxies.client(None, &fields, XForwardedFor);
    assert_eq!(client, "203.0.113.9".parse().ok());
    let fields = HeaderMap::new();
    assert_eq!(proxies.client(None, &fields, XForwardedFor), None);
}

#[test]
fn networks_have_all_their_addresses_and_no_others() {
    let in_network = |network: &str, address: &str| {
        let proxies = TrustedProxies::new([network]).expect(network);
        proxies.contains(address.parse().expect("an address"))
    };
    for (network, address, is_in) in [
        ("10.0.0.0/8", "10.255.255.255", true),
        ("10.0.0.0/8", "11.0.0.0", false),
        ("10.0.0.0/31", "10.0.0.1", true),
        ("10.0.0.0/31", "10.0.0.2", false),
        ("10.0.0.1/32", "10.0.0.1", true),
        ("10.0.0.1", "10.0.0.2", false),
        ("0.0.0.0/0", "255.255.255.255", true),
        ("0.0.0.0/0", "::1", false),
        ("::/0", "ffff::", true),
        ("::/0", "10.0.0.1", false),
        ("fd00::/8", "fdff::1", true),
        ("fd00::/8", "fe00::1", false),
        ("2001:db8::/127", "2001:db8::1", true),
        ("2001:db8::/127", "2001:db8::2", false),
        ("2001:db8::1/128", "2001:db8::1", true),
    ] {
        assert_eq!(in_network(network, address), is_in, "{network}, {address}");
    }
}

#[test]
fn malformed_networks_are_named_in_the_error() {
    for wrong in [
        "",
        "localhost",
        "10.0.0.0/33",
        "::/129",
        "10.0.0.0/",
        "10.0.0.0/+8",
        "10.0.0.0/-1",
        "10.0.0.0/8/8",
        "10.0.0.1/8",
        "::1/0",
        "2001:db8::1/64",
        "[::1]",
        "127.0.0.1:80",
        " 127.0.0.1",
    ] {
        let error = TrustedProxies::new(["::1", wrong]).expect_err(wrong);
        assert_eq!(error.kind(), crate::ErrorKind::Setting);
        assert!(error.to_string().contains(&format!("{wrong:?}")), "{error}");
    }
}
