//! The tasks of a server that doesn't run yet. They needn't be `Send`, while the server is: so each
//! thread keeps its own, by the number of the server.

use std::cell::RefCell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ThreadId};

use super::context::LoopContext;
use super::inbox::Inbox;
use super::lock;
use super::tasks::Task;
use crate::error::{Error, ErrorKind, Result};

/// Identifies a server in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServerId(u64);

impl ServerId {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Which thread keeps tasks of which server: one entry for each such pair.
static PLACES: Mutex<Vec<(ServerId, ThreadId)>> = Mutex::new(Vec::new());

thread_local! {
    static TASKS: RefCell<Vec<(ServerId, Task)>> = const { RefCell::new(Vec::new()) };
}

/// Keeps a task on this thread until [`take`] or [`forget`].
pub(crate) fn add(server: ServerId, task: Task) {
    drop(take_forgotten());
    let place = (server, thread::current().id());
    let mut places = lock(&PLACES);
    if !places.contains(&place) {
        places.push(place);
    }
    drop(places);
    TASKS.with_borrow_mut(|tasks| tasks.push((server, task)));
}

/// Takes the tasks of a server, in their order.
///
/// # Errors
/// [`ErrorKind::Setting`] if another thread keeps some. Then they stay where they are.
pub(crate) fn take(server: ServerId) -> Result<Vec<Task>> {
    let here = thread::current().id();
    let mut places = lock(&PLACES);
    if places.iter().any(|&(of, at)| of == server && at != here) {
        return Err(Error::new(
            ErrorKind::Setting,
            "tasks were given to Server::spawn on another thread: call Server::spawn and \
             Server::serve_async on the same thread, because tasks can't move to another one",
        ));
    }
    places.retain(|&(of, _)| of != server);
    drop(places);
    Ok(remove(|of| of == server))
}

/// Calls `make`, and returns its result together with the tasks that it has spawned.
pub(crate) fn collect<T>(make: impl FnOnce() -> T) -> (T, Vec<Task>) {
    let context = LoopContext::new(Inbox::new(None));
    let made = context.enter(make);
    (made, context.take_spawned())
}

/// Drops the tasks of a server that is dropped: those on this thread now, those on another thread when
/// that ends or [`add`]s a task.
pub(crate) fn forget(server: ServerId) {
    lock(&PLACES).retain(|&(of, _)| of != server);
    drop(remove(|of| of == server));
}

/// Takes the tasks of servers that were dropped on another thread.
fn take_forgotten() -> Vec<Task> {
    let here = thread::current().id();
    let places = lock(&PLACES).clone();
    remove(|of| !places.contains(&(of, here)))
}

/// Takes this thread's tasks of the wanted servers out. They are dropped when nothing is borrowed any more: a task's
/// drop may call functions of this module.
fn remove(is_wanted: impl Fn(ServerId) -> bool) -> Vec<Task> {
    let removed = TASKS.try_with(|tasks| {
        let mut tasks = tasks.borrow_mut();
        tasks
            .extract_if(.., |(of, _)| is_wanted(*of))
            .map(|(_, task)| task)
            .collect()
    });
    // A thread that ends has dropped them.
    removed.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    /// Counts what was dropped.
    struct Counted(Rc<Cell<usize>>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }

    fn task(dropped: &Rc<Cell<usize>>) -> Task {
        let counted = Counted(Rc::clone(dropped));
        Box::pin(async move { drop(counted) })
    }

    #[test]
    fn each_server_has_its_own_tasks() {
        let (first, second) = (ServerId::new(), ServerId::new());
        let dropped = Rc::new(Cell::new(0));
        add(first, task(&dropped));
        add(second, task(&dropped));
        add(first, task(&dropped));
        assert_eq!(take(first).expect("they are here").len(), 2);
        assert_eq!(dropped.get(), 2);
        assert_eq!(take(first).expect("none is elsewhere").len(), 0);
        forget(second);
        assert_eq!(dropped.get(), 3);
        assert_eq!(take(second).expect("none is elsewhere").len(), 0);
    }

    #[cfg(not(target_os = "wasi"))]
    #[test]
    fn tasks_do_not_move_to_another_thread() {
        let server = ServerId::new();
        let dropped = Rc::new(Cell::new(0));
        add(server, task(&dropped));
        thread::scope(|scope| {
            scope.spawn(|| {
                let error = take(server).err().expect("they are on another thread");
                assert_eq!(error.kind(), ErrorKind::Setting);
                let text = error.to_string();
                assert!(text.contains("Server::spawn on another thread"), "{text}");
            });
        });
        assert_eq!(take(server).expect("they are here").len(), 1);

        add(server, task(&dropped));
        thread::scope(|scope| {
            scope.spawn(|| forget(server));
        });
        assert_eq!(
            dropped.get(),
            1,
            "the thread that drops the server isn't this one"
        );
        add(ServerId::new(), task(&dropped));
        assert_eq!(dropped.get(), 2);
    }
}
