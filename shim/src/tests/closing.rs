//! Closing: what a peer sees when its stream is dropped.

use std::net::Shutdown;

use wasip1_poll::fake::{Fake, Personality};

use super::{BOTH, LISTENER, Lab, PERSONALITIES};
use crate::net::TcpListener;
use crate::{Interest, Poll, sys};

#[test]
fn dropping_ends_the_registration_before_the_file_descriptor() {
    for personality in PERSONALITIES {
        let mut lab = Lab::new(personality);
        let (client, mut stream) = lab.connect();
        lab.register(&mut stream, 1, BOTH);
        client.send(b"hello");
        drop(stream);
        assert!(client.is_closed());
        assert!(lab.wait(|_| true).is_none());
        assert_eq!(lab.fake.violations(), [""; 0]);
    }
}

/// tokio deregisters a stream before it drops it.
#[test]
fn a_peer_sees_the_end_at_once_however_its_stream_is_closed() {
    for personality in [Personality::WAZERO, Personality::SILENT] {
        let mut lab = Lab::new(personality);
        let (never_registered, stream) = lab.connect();
        drop(stream);
        assert!(never_registered.is_at_end() && never_registered.is_closed());
        let (deregistered, mut stream) = lab.connect();
        lab.register(&mut stream, 1, BOTH);
        let registry = lab.poll.registry();
        registry.deregister(&mut stream).expect("registered");
        drop(stream);
        assert!(deregistered.is_at_end() && deregistered.is_closed());
        let (shut, stream) = lab.connect();
        stream.shutdown(Shutdown::Both).expect("connected");
        assert!(shut.is_at_end());
        let (also_shut, mut other) = lab.connect();
        lab.register(&mut other, 2, BOTH);
        other.shutdown(Shutdown::Both).expect("connected");
        assert!(also_shut.is_at_end());
        assert_eq!(lab.fake.violations(), [""; 0]);
    }
}

/// On a runtime that closes at once, the additional calls aren't made.
#[test]
fn streams_are_not_shut_down_first_if_the_runtime_closes_at_once() {
    for personality in [Personality::WASI_COMMON, Personality::STRICT] {
        let mut lab = Lab::new(personality);
        let (client, mut stream) = lab.connect();
        lab.register(&mut stream, 1, BOTH);
        let before = lab.fake.counts().all;
        drop(stream);
        assert_eq!(lab.fake.counts().all - before, 1);
        assert!(client.is_closed());
    }
}

#[test]
fn connections_that_the_user_never_accepted_see_the_end_with_the_listener() {
    for deregisters in [false, true] {
        let fake = Fake::new(Personality::WAZERO, 0);
        sys::install(&fake);
        let fd = fake.preopen_listener();
        let client = fake.connect(fd);
        let mut listener = TcpListener::of(sys::TcpListener(fd));
        let poll = Poll::new().expect("a poll");
        // Registering tries to accept.
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)
            .expect("a listener");
        assert!(client.accepted_at().is_some());
        if deregisters {
            poll.registry()
                .deregister(&mut listener)
                .expect("registered");
        }
        drop(listener);
        assert!(client.is_at_end() && client.is_closed());
        assert_eq!(fake.violations(), [""; 0]);
    }
}
