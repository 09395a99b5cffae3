//! Files of sockets: their mode, which ones are removed, and which ones never.

use super::*;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::Barrier;

/// A folder of its own for each test. Its name is short, because so must the path of a socket be.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("mh-{}-{name}", std::process::id()));
        fs::create_dir(&folder).expect("a new folder");
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.join("s")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("the folder");
        let names = entries.map(|it| it.expect("an entry").file_name());
        names.map(|it| it.to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the folder of this test");
    }
}

/// Leaves the file of a socket, as a server does that is killed.
fn leave(path: &Path) {
    drop(UnixListener::bind(path).expect("a free path"));
    assert!(path.exists());
}

fn error(path: &Path) -> String {
    let error = bind(path).expect_err("it can't be bound");
    assert_eq!(error.kind(), ErrorKind::Address);
    format!("{error:?}")
}

#[test]
fn a_socket_has_its_mode_and_is_removed_at_the_end() {
    let folder = Folder::new("mode");
    let socket = bind(&folder.path()).expect("a free path");
    let mode = |path: &Path| fs::metadata(path).expect("the file").mode() & 0o777;
    assert_eq!(mode(&folder.path()), 0o600);
    let Socket::Unix {
        file: Some(file), ..
    } = &socket
    else {
        panic!("{socket:?}")
    };
    file.set_mode(0o662).expect("the owner may");
    assert_eq!(mode(&folder.path()), 0o662);
    UnixStream::connect(folder.path()).expect("it listens");
    drop(socket);
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn a_socket_that_is_left_over_is_replaced() {
    let folder = Folder::new("stale");
    leave(&folder.path());
    let _socket = bind(&folder.path()).expect("the old one is removed");
    UnixStream::connect(folder.path()).expect("it listens");
    assert_eq!(folder.names(), ["s"]);
}

#[test]
fn a_socket_in_use_is_never_removed() {
    let folder = Folder::new("used");
    let first = bind(&folder.path()).expect("a free path");
    assert!(error(&folder.path()).contains("another server listens"));
    UnixStream::connect(folder.path()).expect("the first still listens");
    drop(first);
    bind(&folder.path()).expect("a free path again");
}

/// A server that is busy accepts nothing, and its backlog is full.
#[test]
fn a_socket_whose_backlog_is_full_is_in_use() {
    let folder = Folder::new("full");
    let path = folder.path();
    let listener = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    let address = SockAddr::unix(&path).expect("a short path");
    listener.bind(&address).expect("a free path");
    listener.listen(0).expect("it listens");
    let mut clients = Vec::new();
    loop {
        let client = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        client.set_nonblocking(true).expect("an option");
        let result = client.connect(&address);
        clients.push(client);
        if result.is_err() {
            break;
        }
    }
    assert!(error(&path).contains("another server listens"));
    assert!(path.exists());
}

/// A server may be suspended between `bind` and `listen`, for as long as it likes.
#[cfg(target_os = "linux")]
#[test]
fn a_socket_that_does_not_listen_yet_is_in_use() {
    let folder = Folder::new("early");
    let path = folder.path();
    let early = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    early
        .bind(&SockAddr::unix(&path).expect("a short path"))
        .expect("a free path");
    assert!(error(&path).contains("another process has bound"));
    early.listen(1).expect("its file is still there");
    UnixStream::connect(&path).expect("it listens");
    drop(early);
    bind(&path).expect("what is left is replaced");
}

/// An accepted socket has the path of its listener, too.
#[test]
fn connections_do_not_keep_the_path_of_a_server_that_was_killed() {
    let folder = Folder::new("open");
    let path = folder.path();
    let listener = UnixListener::bind(&path).expect("a free path");
    let client = UnixStream::connect(&path).expect("it listens");
    let (accepted, _) = listener.accept().expect("a client");
    drop(listener);
    bind(&path).expect("what is left is replaced");
    drop((client, accepted));
}

#[test]
fn a_file_that_is_not_a_socket_is_never_removed() {
    let folder = Folder::new("file");
    fs::write(folder.path(), "precious").expect("a file");
    assert!(error(&folder.path()).contains("not a socket"));
    assert_eq!(fs::read(folder.path()).expect("the file"), b"precious");
    fs::remove_file(folder.path()).expect("the file");
    // Nor is a link, whatever it leads to.
    leave(&folder.0.join("old"));
    std::os::unix::fs::symlink("old", folder.path()).expect("a link");
    assert!(error(&folder.path()).contains("not a socket"));
    assert!(folder.path().exists());
    fs::remove_file(folder.path()).expect("the link");
    fs::create_dir(folder.path()).expect("a folder");
    assert!(error(&folder.path()).contains("not a socket"));
}

#[test]
fn a_socket_of_another_kind_is_never_removed() {
    let folder = Folder::new("kind");
    let _datagrams = UnixDatagram::bind(folder.path()).expect("a free path");
    error(&folder.path());
    assert!(folder.path().exists());
}

#[test]
fn a_path_that_cant_be_bound_is_an_error_with_the_path() {
    let folder = Folder::new("path");
    let missing = folder.0.join("none").join("s");
    assert!(error(&missing).contains(&missing.display().to_string()));
    let long = folder.0.join("x".repeat(200));
    assert!(error(&long).contains("xxx"));
    error(Path::new(""));
}

/// A server that ends doesn't remove the file of the server that has bound the path since.
#[test]
fn a_socket_that_replaced_this_one_stays() {
    let folder = Folder::new("next");
    let first = bind(&folder.path()).expect("a free path");
    fs::remove_file(folder.path()).expect("the file of the first");
    let _second = bind(&folder.path()).expect("a free path");
    drop(first);
    UnixStream::connect(folder.path()).expect("the second still listens");
    assert_eq!(folder.names(), ["s"]);
}

/// A process that has a copy goes on when the server that bound the socket ends.
#[test]
fn a_socket_of_which_there_is_a_copy_stays() {
    let folder = Folder::new("copy");
    let socket = bind(&folder.path()).expect("a free path");
    let Socket::Unix { listener, .. } = &socket else {
        panic!("{socket:?}")
    };
    let copy = listener.try_clone().expect("a copy");
    drop(socket);
    UnixStream::connect(folder.path()).expect("the copy listens");
    drop(copy);
    bind(&folder.path()).expect("what is left is removed");
}

/// Another server replaced the file after this one had examined it.
#[test]
fn a_file_that_was_moved_aside_by_mistake_is_moved_back() {
    let folder = Folder::new("back");
    leave(&folder.path());
    let identity = Identity::of(&fs::symlink_metadata(folder.path()).expect("the file"));
    fs::remove_file(folder.path()).expect("the file");
    let _live = UnixListener::bind(folder.path()).expect("a free path");
    let other = Identity::of(&fs::symlink_metadata(folder.path()).expect("the file"));
    assert_ne!(identity, other);
    assert!(!take_away(&folder.path(), identity).expect("it can be moved"));
    UnixStream::connect(folder.path()).expect("it listens, as before");
    assert_eq!(folder.names(), ["s"]);
}

/// Many servers start at once over a file that was left. One of them gets the path, and keeps it.
#[test]
fn one_of_many_that_start_at_once_gets_the_path() {
    let folder = Folder::new("race");
    for _ in 0..5 {
        leave(&folder.path());
        let count = 8;
        let barrier = Barrier::new(count);
        let sockets: Vec<_> = thread::scope(|scope| {
            let start = || {
                barrier.wait();
                bind(&folder.path()).ok()
            };
            let threads: Vec<_> = (0..count).map(|_| scope.spawn(start)).collect();
            let ended = threads.into_iter().map(|it| it.join().expect("no panic"));
            ended.flatten().collect()
        });
        assert_eq!(sockets.len(), 1);
        let Socket::Unix { listener, .. } = &sockets[0] else {
            panic!("{sockets:?}")
        };
        UnixStream::connect(folder.path()).expect("a server listens");
        listener.set_nonblocking(true).expect("an option");
        assert!(listener.accept().is_ok(), "it is the one that was bound");
        drop(sockets);
        assert_eq!(folder.names(), [""; 0]);
    }
}
