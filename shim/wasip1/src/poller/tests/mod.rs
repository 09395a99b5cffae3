//! Tests of the poller on the fake runtime.

mod events;
mod load;
mod silent;

use super::*;
use crate::fake::{Client, Fake, Faults, Personality, SendMore, Silence};

const LISTENER: u64 = 99;

struct Server {
    fake: Fake,
    poller: Poller<Fake>,
    listener: Registration,
    fd: Fd,
}

impl Server {
    fn new(personality: Personality) -> Self {
        let fake = Fake::new(personality, 0);
        let fd = fake.preopen_listener();
        let mut poller = Poller::new(fake.clone());
        let listener = poller.register_listener(fd, LISTENER).expect("a listener");
        Self {
            fake,
            poller,
            listener,
            fd,
        }
    }

    fn accept(&mut self, token: u64) -> (Client, Registration) {
        let client = self.fake.connect(self.fd);
        let fd = self.poller.accept(&self.listener).expect("a connection");
        (client, self.poller.register(fd, token, Interest::READ))
    }

    fn wait(&mut self, millis: u64) -> Vec<Ready> {
        let mut ready = Vec::new();
        let timeout = Duration::from_millis(millis);
        self.poller
            .wait(&mut ready, Some(timeout))
            .expect("a wait never fails here");
        ready
    }
}

fn of(ready: &[Ready], token: u64) -> Option<Ready> {
    let mut found = ready.iter().filter(|ready| ready.token == token);
    let first = found.next().copied();
    assert_eq!(found.next(), None, "one event for each registration");
    first
}

const ALL: [Personality; 3] = [
    Personality::WASI_COMMON,
    Personality::WAZERO,
    Personality::STRICT,
];
