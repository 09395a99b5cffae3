//! The files of a form, taken apart by `multer`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_lite::StreamExt;
use http_body_util::BodyDataStream;
use mini_http::{Bytes, Incoming};
use multer::{Field, Multipart};

use super::Error;

/// `multer` keeps all of the body that has arrived until it can return a field or a piece of one. So a client that
/// never ends the head of a field would fill the memory. Usual heads have some hundred bytes; at less than the
/// 64 KiB that may arrive at once, forms with many small fields would be refused.
const MOST_KEPT: usize = 256 << 10;

pub(crate) struct Form {
    multipart: Multipart<'static>,
    /// Bytes that `multer` has got since it last returned something.
    kept: Arc<AtomicUsize>,
}

impl Form {
    pub(crate) fn new(body: Incoming, boundary: String) -> Self {
        let kept = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&kept);
        let pieces = BodyDataStream::new(body).map(move |piece| {
            let piece = piece?;
            match count.fetch_add(piece.len(), Ordering::Relaxed) {
                kept if kept > MOST_KEPT => Err(Error::from("the head of a field is too long")),
                _ => Ok(piece),
            }
        });
        Self {
            multipart: Multipart::new(pieces, boundary),
            kept,
        }
    }

    /// The next file, with its name. Other fields are skipped; so is a file input in which nothing is chosen.
    pub(crate) async fn next_file(&mut self) -> Result<Option<(String, Field<'static>)>, Error> {
        while let Some(mut field) = self.multipart.next_field().await? {
            self.kept.store(0, Ordering::Relaxed);
            match field.file_name() {
                Some(name) if !name.is_empty() => return Ok(Some((name.into(), field))),
                Some(_) | None => while self.piece(&mut field).await?.is_some() {},
            }
        }
        Ok(None)
    }

    /// The next piece of a file.
    pub(crate) async fn piece(&mut self, file: &mut Field<'_>) -> Result<Option<Bytes>, Error> {
        let piece = file.chunk().await?;
        self.kept.store(0, Ordering::Relaxed);
        Ok(piece)
    }
}
