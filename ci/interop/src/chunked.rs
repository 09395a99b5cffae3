//! Responses in chunks, read one chunk at a time.

use crate::client::{Client, Response};
use crate::{Outcome, ensure};

impl Client {
    /// Reads the next chunk; `None` is the last one, after which come the trailers.
    ///
    /// # Errors
    /// When none comes, or it isn't one.
    pub fn chunk(&mut self) -> Outcome<Option<Vec<u8>>> {
        let line = self.line()?;
        let size =
            usize::from_str_radix(&line, 16).map_err(|e| format!("a chunk '{line}': {e}"))?;
        if size == 0 {
            return Ok(None);
        }
        let data = self.take(size)?;
        let end = self.take(2)?;
        ensure!(end == b"\r\n", "a chunk ends with {end:?}");
        Ok(Some(data))
    }

    /// Reads the trailers, after the last chunk.
    ///
    /// # Errors
    /// When they don't come.
    pub fn trailers(&mut self) -> Outcome<Vec<String>> {
        let mut trailers = Vec::new();
        loop {
            match self.line()? {
                line if line.is_empty() => return Ok(trailers),
                line => trailers.push(line),
            }
        }
    }

    /// Reads a response in chunks, and its trailers.
    ///
    /// # Errors
    /// When it doesn't come, or isn't in chunks.
    pub fn chunked_response(&mut self) -> Outcome<(Response, Vec<String>)> {
        let mut response = self.response_head()?;
        check_chunked(&response)?;
        while let Some(data) = self.chunk()? {
            response.body.extend(data);
        }
        Ok((response, self.trailers()?))
    }

    /// Reads a line, and drops its end.
    fn line(&mut self) -> Outcome<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(self.take(1)?);
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).map_err(|e| e.to_string())
    }
}

/// Fails unless this is the head of a response in chunks.
///
/// # Errors
/// With the head.
pub fn check_chunked(response: &Response) -> Outcome {
    let codings: Vec<_> = response.values("transfer-encoding").collect();
    ensure!(codings == ["chunked"], "not in chunks: {}", response.head);
    Ok(())
}
