//! The requests, in cases that run one after the other.

/// One or more requests on a connection.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// What is sent, in one write for each part.
    pub(super) request: fn() -> Vec<Vec<u8>>,
    /// For each response, whether the method is HEAD.
    pub(super) is_head: &'static [bool],
    /// Whether the second part is sent only when the server has sent `100 Continue`.
    pub(super) expects: bool,
    /// Whether the response has the client's address, which preview 1 can't find out.
    pub(super) has_address: bool,
    /// Whether the handler panics, which ends a program on WASI.
    pub(super) panics: bool,
}

const fn case(name: &'static str, request: fn() -> Vec<Vec<u8>>) -> Case {
    Case {
        name,
        request,
        is_head: &[false],
        expects: false,
        has_address: false,
        panics: false,
    }
}

const fn head(name: &'static str, request: fn() -> Vec<Vec<u8>>) -> Case {
    Case {
        is_head: &[true],
        ..case(name, request)
    }
}

/// The app of the example keeps notes: the cases depend on those before them.
pub(super) const CASES: &[Case] = &[
    // JSON.
    case("JSON", || json(r#"{"text": "buy milk & bread"}"#)),
    case("JSON, charset", || {
        typed("application/json; charset=utf-8", r#"{"text": "é"}"#)
    }),
    case("JSON, a subtype", || {
        typed("application/vnd.note+json", r#"{"text": ""}"#)
    }),
    case("JSON in chunks", || {
        chunked("/notes", &["{\"te", "xt\": \"c", "hunks\"}"])
    }),
    Case {
        expects: true,
        ..case("JSON after 100 Continue", expect)
    },
    case("JSON, malformed", || json(r#"{"text": "#)),
    case("JSON, empty", || json("")),
    case("JSON of another shape", || json(r#"{"txt": 7}"#)),
    case("JSON of another type", || json(r#"{"text": 7}"#)),
    case("JSON, no UTF-8", || {
        body("/notes", JSON, b"{\"text\": \"\xff\"}")
    }),
    case("a wrong content type", || {
        typed("text/plain", r#"{"text": "a"}"#)
    }),
    case("no content type", || {
        body("/notes", "", b"{\"text\": \"a\"}")
    }),
    case("JSON over the limit", || {
        json(&format!(r#"{{"text": "{}"}}"#, "a".repeat(20_000)))
    }),
    case("chunks over the limit", || {
        chunked("/notes", &["{\"text\": \"", &"a".repeat(20_000), "\"}"])
    }),
    // Paths, queries, methods.
    case("a list", || get("/notes")),
    case("a query", || get("/notes?contains=milk+%26&limit=7")),
    case("an empty query", || get("/notes?")),
    case("a bad query", || get("/notes?limit=x")),
    case("a query, no UTF-8", || get("/notes?contains=%ff")),
    case("a number in the path", || get("/notes/1")),
    case("not found, as JSON", || get("/notes/99")),
    case("no number in the path", || get("/notes/one")),
    case("too large a number", || get("/notes/99999999999999999999")),
    case("no such path", || get("/no/such/path")),
    case("a trailing slash", || get("/notes/")),
    case("two slashes", || get("//notes")),
    case("another method", || request("PUT", "/notes", "")),
    case("an unknown method", || request("BREW", "/page", "")),
    case("DELETE", || request("DELETE", "/notes/1", "")),
    case("DELETE again", || request("DELETE", "/notes/1", "")),
    Case {
        has_address: true,
        ..case("the client's address", || get("/me"))
    },
    // HEAD.
    head("HEAD", || request("HEAD", "/notes/2", "")),
    head("HEAD, not found", || request("HEAD", "/notes/99", "")),
    head("HEAD of a stream", || request("HEAD", "/stream", "")),
    head("HEAD of a large body", || request("HEAD", "/large", "")),
    // CORS.
    case("CORS", || {
        request("GET", "/notes/2", "Origin: http://a.example\r\n")
    }),
    case("CORS preflight", || preflight("POST")),
    case("CORS preflight, another method", || preflight("PATCH")),
    case("OPTIONS without an origin", || {
        request("OPTIONS", "/notes", "")
    }),
    case("OPTIONS *", || request("OPTIONS", "*", "")),
    // Forms.
    case("a form", || {
        body("/form", FORM, b"name=J%C3%BCrgen+M&age=7")
    }),
    case("a form in the query", || get("/form?name=a&age=7")),
    case("a form without a field", || body("/form", FORM, b"age=7")),
    case("a form with a bad number", || {
        body("/form", FORM, b"name=a&age=256")
    }),
    case("a form of another type", || body("/form", JSON, b"{}")),
    case("a typed query", || get("/typed?age=255&name=x%20y")),
    case("a bad typed query", || get("/typed?age=-1&name=x")),
    case("a raw query", || get("/raw?a=%zz&&b='")),
    case("no raw query", || get("/raw")),
    // Percent-encoding.
    case("%20, %C3%A9 in a segment", || get("/segment/a%20%C3%A9+b")),
    case("%2F in a segment", || get("/segment/a%2Fb")),
    case("%ff in a segment", || get("/segment/%ff")),
    case("% alone in a segment", || get("/segment/100%")),
    case("an empty segment", || get("/segment/")),
    case("the rest of a path", || get("/rest/a/b//c%2Fd/..")),
    case("a target as it was sent", || get("/uri?a=b%20c&%41")),
    case("an absolute target", || get("http://other.example/uri?x")),
    // Bodies of requests.
    case("a body at the limit", || {
        body("/collect", "", &[b'x'; 64 << 10])
    }),
    case("a body over the limit", || {
        body("/collect", "", &[b'x'; (64 << 10) + 1])
    }),
    case("chunks at the limit", || {
        chunked("/collect", &[&[b'x'; 32 << 10]; 2])
    }),
    case("a body that streams back", || {
        body("/echo", "", &[b'x'; 200_000])
    }),
    case("chunks that stream back", || {
        chunked("/echo", &[&[b'y'; 5_000]; 20])
    }),
    case("an empty body", || body("/echo", "", b"")),
    case("a body that isn't read", || {
        body("/ignore", "", &[b'z'; 5_000])
    }),
    case("text, no UTF-8", || body("/text", "text/plain", b"\xff")),
    case("fields", || {
        request("GET", "/fields", "X-B: 1\r\nX-A:  2 \r\nX-b: caf\u{e9}\r\n")
    }),
    // Responses.
    case("repeated fields, Latin-1", || get("/cookies")),
    case("HTML", || get("/page")),
    case("bytes", || get("/bytes")),
    case("204", || get("/nothing")),
    case("304", || get("/unchanged")),
    case("a redirect", || get("/elsewhere")),
    case("418", || get("/teapot")),
    case("a stream", || get("/stream")),
    case("an empty stream", || get("/empty-stream")),
    case("a large body", || get("/large")),
    case("a handler's error", || get("/failing")),
    Case {
        panics: true,
        ..case("a panic", || get("/panic"))
    },
    // Connections.
    Case {
        is_head: &[false, true, false],
        ..case("pipelined", pipeline)
    },
    case("Connection: close", || {
        request("GET", "/page", "Connection: close\r\n")
    }),
];

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

fn get(target: &str) -> Vec<Vec<u8>> {
    request("GET", target, "")
}

/// A request without a body, with these field lines.
fn request(method: &str, target: &str, fields: &str) -> Vec<Vec<u8>> {
    vec![format!("{method} {target} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n").into_bytes()]
}

/// A new note.
fn json(text: &str) -> Vec<Vec<u8>> {
    typed(JSON, text)
}

fn typed(content_type: &str, text: &str) -> Vec<Vec<u8>> {
    body("/notes", content_type, text.as_bytes())
}

/// A request with a body of this type, or of none.
fn body(target: &str, content_type: &str, body: &[u8]) -> Vec<Vec<u8>> {
    let length = body.len();
    let mut fields = format!("Content-Length: {length}\r\n");
    if !content_type.is_empty() {
        fields.push_str(&format!("Content-Type: {content_type}\r\n"));
    }
    let mut parts = request("POST", target, &fields);
    parts[0].extend_from_slice(body);
    parts
}

/// A request whose body comes in these chunks, each in a write of its own.
fn chunked(target: &str, chunks: &[impl AsRef<[u8]>]) -> Vec<Vec<u8>> {
    let fields = format!("Content-Type: {JSON}\r\nTransfer-Encoding: chunked\r\n");
    let mut parts = request("POST", target, &fields);
    for chunk in chunks {
        let chunk = chunk.as_ref();
        let size = format!("{:x}\r\n", chunk.len());
        parts.push([size.as_bytes(), chunk, b"\r\n"].concat());
    }
    parts.push(b"0\r\n\r\n".to_vec());
    parts
}

fn expect() -> Vec<Vec<u8>> {
    let text = br#"{"text": "continued"}"#;
    let length = text.len();
    let fields =
        format!("Content-Type: {JSON}\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n");
    [request("POST", "/notes", &fields), vec![text.to_vec()]].concat()
}

fn preflight(method: &str) -> Vec<Vec<u8>> {
    let fields = format!(
        "Origin: http://a.example\r\nAccess-Control-Request-Method: {method}\r\n\
         Access-Control-Request-Headers: content-type\r\n"
    );
    request("OPTIONS", "/notes", &fields)
}

/// Three requests in one write.
fn pipeline() -> Vec<Vec<u8>> {
    let all = [get("/page"), request("HEAD", "/page", ""), get("/teapot")];
    vec![all.concat().concat()]
}
