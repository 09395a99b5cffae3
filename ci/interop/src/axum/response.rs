//! [`Response`]: a response, as far as it is compared.

use std::fmt;

use crate::client::Response as Received;
use crate::{Client, Outcome, ensure};

/// A response as it is compared. Not compared are
/// - the order of fields with different names, which has no meaning (RFC 9110 §5.3);
/// - the value of `Date`, which is the time;
/// - into which chunks a body is divided, which has no meaning (RFC 9112 §7.1).
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    /// The status line, and the fields sorted by name.
    head: Vec<String>,
    body: Vec<u8>,
    trailers: Vec<String>,
}

impl Response {
    /// Reads the next one. `is_head` is whether the request's method is HEAD.
    pub(super) fn read(client: &mut Client, is_head: bool) -> Outcome<Self> {
        let response = client.response_head()?;
        let mut trailers = Vec::new();
        let body = if is_head || matches!(response.status, 204 | 304) {
            Vec::new()
        } else if response.values("transfer-encoding").eq(["chunked"]) {
            let mut body = Vec::new();
            while let Some(data) = client.chunk()? {
                body.extend(data);
            }
            trailers = client.trailers()?;
            body
        } else if let Some(length) = response.values("content-length").next() {
            let length = length.parse().map_err(|e| format!("{length}: {e}"))?;
            client.take(length)?
        } else {
            client.rest()?
        };
        Ok(Self {
            status: response.status,
            head: head(&response)?,
            body,
            trailers,
        })
    }

    /// The same without the client's address.
    pub(super) fn without_address(mut self) -> Self {
        let body = String::from_utf8_lossy(&self.body);
        let body = body.replace("\"127.0.0.1\"", "null").into_bytes();
        let of = |length: usize| format!("content-length: {length}");
        let (before, now) = (of(self.body.len()), of(body.len()));
        for line in self.head.iter_mut().filter(|line| **line == before) {
            line.clone_from(&now);
        }
        Self { body, ..self }
    }
}

fn head(response: &Received) -> Outcome<Vec<String>> {
    let mut lines = response.head.lines();
    let status = lines.next().unwrap_or_default().to_owned();
    let mut fields = lines.map(field).collect::<Outcome<Vec<_>>>()?;
    // The sort is stable: fields of one name keep their order.
    fields.sort_by(|(name, _), (other, _)| name.cmp(other));
    let fields = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}"));
    Ok(std::iter::once(status).chain(fields).collect())
}

fn field(line: &str) -> Outcome<(String, String)> {
    let (name, value) = line
        .split_once(':')
        .ok_or_else(|| format!("a field {line:?}"))?;
    let (name, mut value) = (name.to_ascii_lowercase(), value.trim().to_owned());
    if name == "date" {
        ensure!(
            value.len() == 29 && value.ends_with(" GMT"),
            "a date {value}"
        );
        value = "now".into();
    }
    Ok((name, value))
}

/// A long body is shown in part.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (body, rest) = self.body.split_at(self.body.len().min(200));
        f.debug_struct("Response")
            .field("head", &self.head)
            .field("body", &String::from_utf8_lossy(body))
            .field("and more bytes", &rest.len())
            .field("trailers", &self.trailers)
            .finish()
    }
}
