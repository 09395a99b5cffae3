//! Handlers for the checks. Their responses depend only on the number of the request, so they are the same however
//! the input is cut.

use mini_http::Response;

/// The date of every response whose handler doesn't set one.
pub(crate) const SECONDS: u64 = 784_111_777;
const OWN_DATE: &str = "Tue, 15 Nov 1994 08:12:31 GMT";

/// A response as the handler has made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(&'static str, &'static str)>,
    pub(crate) body: Vec<u8>,
    /// The handler panics instead.
    pub(crate) panics: bool,
}

impl Given {
    /// The response to request number `number` of the handler `kind`. Kind 0 always returns the same simple response.
    pub(crate) fn new(kind: u8, number: usize) -> Self {
        let pick = usize::from(kind).wrapping_mul(number + 1).wrapping_mul(37) >> 2;
        let mut given = Self {
            status: 200,
            fields: Vec::new(),
            body: b"hello!".to_vec(),
            panics: false,
        };
        if kind == 0 {
            return given;
        }
        match pick % 16 {
            0 => {}
            1 => given.status = 204,
            2 => given.status = 304,
            3 => given.status = 205,
            4 => given.status = 404,
            5 => given.fields.push(("connection", "close")),
            6 => given.fields.push(("content-length", "99")),
            7 => given.fields.push(("transfer-encoding", "chunked")),
            8 => given.fields.push(("connection", ", Keep-Alive,upgrade ,")),
            9 => given.fields.push(("date", OWN_DATE)),
            // Too long to be copied after the head.
            10 => given.body = vec![b'x'; 40_000],
            11 => given.body = vec![b'y'; 16 << 10],
            12 => given.body.clear(),
            13 => {
                given.fields.push(("x", "a"));
                given.fields.push(("x", "b"));
                given.fields.push(("trailer", "x"));
            }
            14 => given.status = 101,
            _ => given.panics = number > 1,
        }
        given
    }

    pub(crate) fn response(&self) -> Response<Vec<u8>> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in &self.fields {
            response = response.header(*name, *value);
        }
        response.body(self.body.clone()).expect("a valid response")
    }

    /// Whether the server responds with 500 and closes.
    pub(crate) fn fails(&self) -> bool {
        self.panics || self.status < 200
    }

    /// Whether the connection ends after it.
    pub(crate) fn closes(&self) -> bool {
        self.fails() || self.fields.contains(&("connection", "close"))
    }
}
