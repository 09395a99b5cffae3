//! Services of tower instead of handlers.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::io::Write;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread::{self, ThreadId};
use std::time::Duration;

use mini_http::http::Request;
use mini_http::{Incoming, Response, sleep};
use tower_service::Service;

use super::server::{Running, ends_with, get, read_until, wait_until};

/// Responds with the number of the clone. It isn't `Send`, nor is its future.
struct Numbered {
    number: u32,
    clones: Rc<Cell<u32>>,
}

impl Clone for Numbered {
    fn clone(&self) -> Self {
        self.clones.set(self.clones.get() + 1);
        Self {
            number: self.clones.get(),
            clones: Rc::clone(&self.clones),
        }
    }
}

impl Service<Request<Incoming>> for Numbered {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<String>, Infallible>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let number = self.number;
        let clones = Rc::clone(&self.clones);
        Box::pin(async move {
            if request.uri().path() == "/sleep" {
                sleep(Duration::from_millis(50)).await;
            }
            Ok(Response::new(format!("{number} of {};", clones.get())))
        })
    }
}

#[test]
fn a_service_is_cloned_for_each_request() {
    let server = Running::start(|server| {
        server.serve_tower(Numbered {
            number: 0,
            clones: Rc::default(),
        })
    });
    let mut slow = server.send(&get("/sleep"));
    server.await_requests(1);
    let mut stream = server.send(&get("/"));
    stream.write_all(&get("/").repeat(2)).expect("it persists");
    let all = read_until(&mut stream, |text| text.matches(';').count() == 3);
    for response in ["2 of 2;", "3 of 3;", "4 of 4;"] {
        assert!(all.contains(response), "{all}");
    }
    let late = read_until(&mut slow, |text| text.ends_with(';'));
    assert!(late.ends_with("1 of 4;"), "{late}");
    server.stop();
}

#[test]
fn each_worker_makes_its_service() {
    let made: Arc<Mutex<Vec<ThreadId>>> = Arc::default();
    let here = Arc::clone(&made);
    let server = Running::with(
        |server| {
            server.workers(2);
        },
        move |server| {
            server.serve_tower_each(|| {
                here.lock().expect("no panic").push(thread::current().id());
                Numbered {
                    number: 0,
                    clones: Rc::default(),
                }
            })
        },
    );
    wait_until("both are made", || {
        made.lock().expect("no panic").len() == 2
    });
    // The last number of each worker: each counts its own clones.
    let mut last = [0; 2];
    for _ in 0..40 {
        let mut stream = server.send(&get("/"));
        let response = read_until(&mut stream, ends_with(";"));
        let worker = (last.iter_mut()).find(|last| {
            let number = **last + 1;
            response.ends_with(&format!("\r\n\r\n{number} of {number};"))
        });
        *worker.expect(&response) += 1;
    }
    // Elsewhere, the worker that is quickest may accept all.
    if cfg!(target_os = "linux") {
        assert!(last.iter().all(|&number| number > 0), "{last:?}");
    }
    server.stop();
    let made = made.lock().expect("no panic");
    assert_eq!(made.len(), 2);
    assert_ne!(made[0], made[1]);
}
