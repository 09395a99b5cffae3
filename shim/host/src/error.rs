//! Why a host doesn't start.

use std::{fmt, io};

/// Why a host can't start: for instance, the module is invalid or the address is in use.
#[derive(Debug)]
pub struct Error {
    what: String,
    source: Option<wasmtime::Error>,
}

impl Error {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        let what = what.into();
        Self { what, source: None }
    }

    pub(crate) fn with(what: impl Into<String>, source: wasmtime::Error) -> Self {
        let source = Some(source);
        Self {
            source,
            ..Self::new(what)
        }
    }

    pub(crate) fn from_io(what: impl Into<String>, source: io::Error) -> Self {
        Self::with(what, source.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.source {
            // The causes too, in one line.
            Some(source) => write!(f, ": {source:#}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
