//! [`Reader`]: a body made from a [`Read`].

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// A body that is read from a [`Read`], such as a file, in pieces of at most 64 KiB.
///
/// Each piece is read when the client has taken enough of the pieces before. So a body of any length takes
/// little memory, and a slow client gets all of it. The read blocks the server's thread.
///
/// ```no_run
/// use std::fs::File;
/// use mini_http::{Response, body::Reader};
///
/// fn download() -> std::io::Result<Response<Reader<File>>> {
///     let file = File::open("large.bin")?;
///     let length = file.metadata()?.len();
///     Ok(Response::new(Reader::sized(file, length)))
/// }
/// ```
///
/// # Errors
/// An error of the reader, except for [`Interrupted`](ErrorKind::Interrupted), is the error of the body. It
/// ends the connection so that the client can see that the body isn't complete.
pub struct Reader<R> {
    /// `None` when it has ended or failed.
    reader: Option<R>,
    /// Bytes that are still to be read, if the length is known.
    missing: Option<u64>,
    /// Memory for the next piece, if the piece before was copied out of it.
    buffer: Vec<u8>,
}

/// The most bytes of a piece: the default of `max_pending_output`, which is how much output the server queues for a
/// connection. Half of it would take twice as many reads; twice as much would only stay in the queue for longer.
const PIECE: usize = 64 << 10;

impl<R: Read> Reader<R> {
    /// All that `reader` returns until its end. The length is unknown, so the response is chunked, unless
    /// the handler sets `Content-Length`.
    pub fn new(reader: R) -> Self {
        Self {
            reader: Some(reader),
            missing: None,
            buffer: Vec::new(),
        }
    }

    /// The next `length` bytes of `reader`, with that `Content-Length`. What follows them is not read.
    ///
    /// # Errors
    /// If the reader ends early, the body fails with [`UnexpectedEof`](ErrorKind::UnexpectedEof).
    pub fn sized(reader: R, length: u64) -> Self {
        Self {
            missing: Some(length),
            ..Self::new(reader)
        }
    }

    /// The next piece; `None` at the end.
    fn read_piece(&mut self) -> io::Result<Option<Bytes>> {
        let Some(reader) = &mut self.reader else {
            return Ok(None);
        };
        let most = match self.missing {
            Some(0) => return Ok(None),
            Some(missing) => usize::try_from(missing).map_or(PIECE, |missing| missing.min(PIECE)),
            None => PIECE,
        };
        self.buffer.resize(most, 0);
        let length = read(reader, &mut self.buffer)?.min(most);
        if length == 0 {
            return match self.missing {
                Some(missing) => Err(too_short(missing)),
                None => Ok(None),
            };
        }
        if let Some(missing) = &mut self.missing {
            *missing = missing.saturating_sub(length as u64);
        }
        Ok(Some(self.take_piece(length)))
    }

    /// The first `length` bytes of the buffer. A piece that fills less than half of it is copied. Otherwise a reader
    /// that returns a few bytes at a time would hold 64 KiB for each of these pieces. Another one takes the buffer
    /// itself: if the two shared memory, that would count as the handler's, and not in `max_held`.
    fn take_piece(&mut self, length: usize) -> Bytes {
        if length < self.buffer.capacity() / 2 {
            return Bytes::copy_from_slice(&self.buffer[..length]);
        }
        self.buffer.truncate(length);
        Bytes::from(std::mem::take(&mut self.buffer))
    }
}

fn read(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn too_short(missing: u64) -> io::Error {
    io::Error::new(
        ErrorKind::UnexpectedEof,
        format!("the reader ended {missing} bytes before the announced length"),
    )
}

/// No field is pinned.
impl<R> Unpin for Reader<R> {}

impl<R: Read> http_body::Body for Reader<R> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = self.read_piece();
        if !matches!(piece, Ok(Some(_))) {
            // Nothing more is read, and a file is closed early.
            self.reader = None;
            self.missing = Some(0);
            self.buffer = Vec::new();
        }
        Poll::Ready(piece.transpose().map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.reader.is_none() || self.missing == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.missing
            .map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

impl<R> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("missing", &self.missing)
            .field("is_ended", &self.reader.is_none())
            .finish_non_exhaustive()
    }
}
