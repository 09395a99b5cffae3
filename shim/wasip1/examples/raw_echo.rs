//! An echo server with nothing but the poller, for a real runtime:
//!
//! ```text
//! cargo build -p wasip1-poll --release --target wasm32-wasip1 --example raw_echo
//! wasmi run --tcplisten 127.0.0.1:3000 target/wasm32-wasip1/release/examples/raw_echo.wasm
//! ```

#[cfg(all(target_os = "wasi", target_env = "p1"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::io::IoSlice;
    use wasip1_poll::{Errno, Hints, Interest, Poller, Preview1, Registration, Traced, discover};

    let wasi = Traced(Preview1);
    let found = discover(&wasi, None, &Hints::from_env())?;
    let mut poller = Poller::new(wasi);
    let listener = poller.register_listener(found.listeners[0].fd, 0)?;
    let mut streams: Vec<Option<Registration>> = Vec::new();
    let mut ready = Vec::new();
    let mut buf = [0; 16 * 1024];
    loop {
        ready.clear();
        poller.wait(&mut ready, None)?;
        for event in &ready {
            if event.listener {
                while let Ok(fd) = poller.accept(&listener) {
                    let free = streams.iter().position(Option::is_none);
                    let at = free.unwrap_or_else(|| {
                        streams.push(None);
                        streams.len() - 1
                    });
                    streams[at] = Some(poller.register(fd, at as u64, Interest::READ));
                }
                continue;
            }
            let at = event.token as usize;
            let Some(stream) = &streams[at] else { continue };
            let done = match poller.read(stream, &mut buf) {
                Ok(0) => true,
                // Bytes for which the socket has no room are lost; a real server would keep them.
                Ok(count) => poller
                    .write(stream, &[IoSlice::new(&buf[..count])])
                    .is_err(),
                Err(errno) => errno != Errno::AGAIN,
            };
            if done {
                streams[at]
                    .take()
                    .into_iter()
                    .for_each(|stream| poller.close(stream));
            }
        }
    }
}

#[cfg(not(all(target_os = "wasi", target_env = "p1")))]
fn main() {}
