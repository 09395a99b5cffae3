//! Runs curl as a child process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Outcome;
use crate::client::PATIENCE;

/// The output of curl.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its standard output.
    pub out: Vec<u8>,
    /// Its standard error. With `-v`, this is the log of the transfer.
    pub err: String,
}

impl Output {
    /// Its standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }
}

/// Runs curl with these arguments, for at most [`PATIENCE`].
///
/// # Errors
/// curl can't be run, or fails. The message has its output.
pub fn curl<S: AsRef<str>>(arguments: &[S]) -> Outcome<Output> {
    let mut command = Command::new("curl");
    // Ignore the configuration of the user, and proxies.
    command.args(["-q", "-sS", "--noproxy", "*", "--max-time"]);
    command.arg(PATIENCE.as_secs().to_string());
    command
        .args(arguments.iter().map(AsRef::as_ref))
        .stdin(Stdio::null());
    let output = command.output().map_err(|e| format!("curl: {e}"))?;
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        // There may be a message for each of fifty transfers.
        let mut last: Vec<_> = err.lines().rev().take(20).collect();
        last.reverse();
        return Err(format!(
            "curl failed ({}):\n{}",
            output.status,
            last.join("\n")
        ));
    }
    Ok(Output {
        out: output.stdout,
        err,
    })
}

/// A folder for curl's files, removed when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new folder.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new() -> Outcome<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("interop-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self(path))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// Writes a file into it. Returns the path.
    ///
    /// # Errors
    /// Those of the system.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> Outcome<String> {
        let path = self.file(name);
        std::fs::write(&path, bytes).map_err(|e| format!("{path}: {e}"))?;
        Ok(path)
    }

    /// Reads a file of it.
    ///
    /// # Errors
    /// Those of the system.
    pub fn read(&self, name: &str) -> Outcome<Vec<u8>> {
        let path = self.file(name);
        std::fs::read(&path).map_err(|e| format!("{path}: {e}"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // If this fails, the folder stays in the system's temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
