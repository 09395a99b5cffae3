//! The folder with the uploaded files.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// A log line is written each time this number of bytes of a file has arrived.
const LOGGED: u64 = 16 << 20;

pub(crate) struct Store {
    directory: PathBuf,
    /// How many uploads have begun: gives each a temporary name of its own.
    uploads: Cell<u64>,
}

impl Store {
    pub(crate) fn new(directory: PathBuf) -> Self {
        let uploads = Cell::new(0);
        Self { directory, uploads }
    }

    /// A new file; `None` if there is one of this name.
    pub(crate) fn create(&self, name: &str) -> io::Result<Option<Partial>> {
        let path = self.directory.join(name);
        if exists(&path)? {
            return Ok(None);
        }
        loop {
            let number = self.uploads.get();
            self.uploads.set(number + 1);
            let temporary = self.directory.join(format!(".upload-{number}"));
            match File::create_new(&temporary) {
                Ok(file) => {
                    return Ok(Some(Partial {
                        name: name.into(),
                        path,
                        temporary,
                        file,
                        length: 0,
                        is_kept: false,
                    }));
                }
                // That of another server, or of one that was killed.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A file that isn't complete. It has another name until it is, and is removed if it never is.
pub(crate) struct Partial {
    name: String,
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    length: u64,
    is_kept: bool,
}

impl Partial {
    pub(crate) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece)?;
        let before = self.length / LOGGED;
        self.length += piece.len() as u64;
        if self.length / LOGGED > before {
            log::info!("{}: {} MiB", self.name, self.length >> 20);
        }
        Ok(())
    }

    /// The file is complete. Returns whether it is kept: not if another upload of this name was faster, maybe one of
    /// another instance of the server.
    pub(crate) fn keep(mut self) -> io::Result<bool> {
        // A rename would replace what came between a check and the rename. A link replaces nothing.
        match fs::hard_link(&self.temporary, &self.path) {
            Ok(()) => fs::remove_file(&self.temporary)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
            // Not every file system has links, nor every runtime.
            Err(_) if exists(&self.path)? => return Ok(false),
            Err(_) => fs::rename(&self.temporary, &self.path)?,
        }
        self.is_kept = true;
        log::info!("{}: complete, {} bytes", self.name, self.length);
        Ok(true)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        match fs::remove_file(&self.temporary) {
            Ok(()) => log::info!("{}: removed after {} bytes", self.name, self.length),
            Err(error) => log::warn!("{}: {error}", self.temporary.display()),
        }
    }
}

/// Whether there is something of this name, even if it is a link that leads nowhere.
fn exists(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    /// Two instances of the server, as hosts of `wasi:http` make them, save files of the same names.
    #[test]
    fn one_of_two_instances_keeps_its_file() {
        const FILES: usize = 2000;
        let folder = tempfile::tempdir().expect("a folder");
        let barrier = Barrier::new(2);
        let save = || {
            let store = Store::new(folder.path().into());
            let save = |number| {
                let file = store.create(&format!("{number}")).expect("a folder");
                barrier.wait();
                // `None` is for a file that is there: it isn't, until both have begun.
                let is_kept = file.expect("a new name").keep().expect("a folder");
                barrier.wait();
                is_kept
            };
            (0..FILES).map(save).collect::<Vec<_>>()
        };
        let (one, other) = thread::scope(|scope| {
            let other = scope.spawn(save);
            (save(), other.join().expect("no panic"))
        });
        let both = one.iter().zip(&other).filter(|(one, other)| one == other);
        assert_eq!(both.count(), 0, "files were kept twice, or not at all");
        assert_eq!(
            fs::read_dir(folder.path()).expect("a folder").count(),
            FILES
        );
    }
}
