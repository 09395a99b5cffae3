//! The scenarios that `load.rs` measures: what is sent, to which servers, and the goals.

use super::wrk::Kind;
use super::{
    AXUM, COMMON, FAN_OUT_FLOOR, FLOOR, FLOOR_OF_TWO, HYPER, NGINX, OURS, OURS_ASYNC, OURS_FAN_OUT,
    OURS_LOG, OURS_TOWER, OURS_TWO, OURS_WEBSOCKET, STREAM_FLOOR, TUNGSTENITE, workers,
};

/// The servers that are compared in a scenario.
pub(super) fn servers(scenario: &str) -> &'static [&'static str] {
    // These have files of their own.
    match scenario {
        workers::SCENARIO => &workers::SERVERS,
        _ => Scenario::named(scenario).map_or(&COMMON, |scenario| scenario.servers),
    }
}

/// A scenario.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) kind: Kind,
    /// The settings: numbers of busy connections.
    pub(super) connections: &'static [usize],
    /// Whether there are idle connections, too.
    pub(super) is_beside_idle: bool,
    pub(super) servers: &'static [&'static str],
    /// The server that the others are compared with.
    pub(super) floor: &'static str,
    pub(super) goals: &'static [Times],
}

/// A goal: with this number of busy connections, a server's processor time should be at most this many times
/// another's.
pub(super) struct Times {
    pub(super) connections: usize,
    pub(super) server: &'static str,
    pub(super) of: &'static str,
    pub(super) most: f64,
}

impl Scenario {
    /// The scenario of this name, if it is one of these.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    pub(super) fn goals_of(
        &self,
        server: &str,
        connections: usize,
    ) -> impl Iterator<Item = &'static Times> {
        let goals = self.goals.iter();
        goals.filter(move |times| times.server == server && times.connections == connections)
    }

    /// The servers other than the floor that this one's goals name.
    pub(super) fn others(
        &self,
        server: &str,
        connections: usize,
    ) -> impl Iterator<Item = &'static str> {
        let goals = self.goals_of(server, connections);
        let floor = self.floor;
        goals.map(|times| times.of).filter(move |of| *of != floor)
    }
}

impl Times {
    const fn new(connections: usize, server: &'static str, of: &'static str, most: f64) -> Self {
        Self {
            connections,
            server,
            of,
            most,
        }
    }
}

const SCENARIOS: [Scenario; 13] = [
    Scenario {
        name: "keepalive",
        about: "persistent connections, each with one request at a time",
        kind: Kind::Plain,
        connections: &[1, 64, 256],
        is_beside_idle: false,
        servers: &COMMON,
        floor: FLOOR,
        goals: &[Times::new(64, OURS, FLOOR, 1.12)],
    },
    Scenario {
        name: "pipelined",
        about: "requests in pipelines of 16",
        kind: Kind::Pipelined,
        connections: &[64],
        is_beside_idle: false,
        servers: &COMMON,
        floor: FLOOR,
        goals: &[Times::new(64, OURS, FLOOR, 1.5)],
    },
    Scenario {
        name: "echo",
        about: "bodies of 1 MiB that are sent back",
        kind: Kind::Echo,
        connections: &[8, 64],
        is_beside_idle: false,
        servers: &COMMON,
        floor: FLOOR,
        goals: &[
            Times::new(8, OURS, FLOOR, 1.4),
            Times::new(64, OURS, FLOOR, 1.4),
        ],
    },
    Scenario {
        name: "close",
        about: "one connection a request",
        kind: Kind::Close,
        connections: &[64],
        is_beside_idle: false,
        servers: &COMMON,
        floor: FLOOR,
        goals: &[
            Times::new(64, OURS, FLOOR, 1.15),
            Times::new(64, OURS, NGINX, 1.05),
        ],
    },
    Scenario {
        name: "idle",
        about: "busy connections beside idle ones",
        kind: Kind::Plain,
        connections: &[64],
        is_beside_idle: true,
        servers: &COMMON,
        floor: FLOOR,
        goals: &[],
    },
    Scenario {
        name: "async-ready",
        about: "asynchronous handlers that are ready at once, beside ours that isn't asynchronous",
        kind: Kind::Plain,
        connections: &[64],
        is_beside_idle: false,
        servers: &[FLOOR, OURS, OURS_ASYNC, HYPER],
        floor: FLOOR,
        goals: &[
            Times::new(64, OURS_ASYNC, OURS, 1.12),
            Times::new(64, OURS_ASYNC, HYPER, 1.05),
        ],
    },
    Scenario {
        name: "async-stream",
        about: "responses of 64 MiB in chunks of 64 KiB; each 64 MiB that were received count as a request",
        kind: Kind::Stream,
        connections: &[64],
        is_beside_idle: false,
        servers: &[STREAM_FLOOR, OURS_ASYNC, HYPER],
        floor: STREAM_FLOOR,
        goals: &[Times::new(64, OURS_ASYNC, STREAM_FLOOR, 1.15)],
    },
    Scenario {
        name: "async-echo",
        about: "bodies of 1 MiB that are sent back; ours_async sends while it receives",
        kind: Kind::Echo,
        connections: &[64],
        is_beside_idle: false,
        servers: &[FLOOR, OURS, OURS_ASYNC, HYPER],
        floor: FLOOR,
        goals: &[Times::new(64, OURS_ASYNC, FLOOR, 1.3)],
    },
    Scenario {
        name: "workers-one-core",
        about: "one worker and two, both on one core, beside bare loops with one thread and two",
        kind: Kind::Plain,
        connections: &[64],
        is_beside_idle: false,
        servers: &[FLOOR, FLOOR_OF_TWO, OURS, OURS_TWO],
        floor: FLOOR,
        goals: &[
            Times::new(64, OURS_TWO, OURS, 1.03),
            // Two threads on one core cost more than one even with a bare loop. What the library adds to that may be as
            // much as with one: see the goal of `keepalive`.
            Times::new(64, OURS_TWO, FLOOR_OF_TWO, 1.12),
        ],
    },
    Scenario {
        name: "access-log",
        about: "persistent connections, with an access log in a file and without",
        kind: Kind::Plain,
        connections: &[64],
        is_beside_idle: false,
        servers: &[FLOOR, OURS, OURS_LOG],
        floor: FLOOR,
        goals: &[Times::new(64, OURS_LOG, OURS, 1.1)],
    },
    Scenario {
        name: "axum",
        about: "the same axum app on this library and on tokio and hyper",
        kind: Kind::Plain,
        connections: &[64],
        is_beside_idle: false,
        servers: &[FLOOR, OURS_ASYNC, OURS_TOWER, AXUM],
        floor: FLOOR,
        goals: &[Times::new(64, OURS_TOWER, AXUM, 1.08)],
    },
    Scenario {
        name: "fan-out",
        about: "messages of 72 bytes that are published to all event streams, one after the other; a request is a \
                message on one stream, and p99 the time until it has arrived on all",
        kind: Kind::FanOut,
        connections: &[1_000],
        is_beside_idle: false,
        servers: &[FAN_OUT_FLOOR, OURS_FAN_OUT],
        floor: FAN_OUT_FLOOR,
        goals: &[Times::new(1_000, OURS_FAN_OUT, FAN_OUT_FLOOR, 1.5)],
    },
    Scenario {
        name: "websocket",
        about: "messages of 125 bytes on WebSockets, which send them back; a request is a message and its echo, and \
                the floor is tokio-tungstenite",
        kind: Kind::WebSocket,
        connections: &[64],
        is_beside_idle: false,
        servers: &[TUNGSTENITE, OURS_WEBSOCKET],
        floor: TUNGSTENITE,
        goals: &[Times::new(64, OURS_WEBSOCKET, TUNGSTENITE, 1.1)],
    },
];
