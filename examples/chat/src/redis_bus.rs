//! Messages over a stream of Redis, for several instances of the server.
//!
//! Two threads talk to Redis, because its client blocks: one adds entries, the other waits for them. Channels connect
//! them with the server's loop.

use std::thread;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use redis::streams::{StreamMaxlen, StreamReadOptions, StreamReadReply};
use redis::{Client, Commands, Connection, RedisError, RedisResult};

use crate::Error;
use crate::bus::Bus;
use crate::room::Room;

/// The key of the stream.
const KEY: &str = "chat";

/// How many entries Redis keeps: as many as a room remembers. An instance that starts reads them.
const KEPT: usize = 100;

/// How long a read waits. Then it is repeated, which finds a connection that is dead.
const WAIT: Duration = Duration::from_secs(5);

/// How long Redis may take to connect, and for a message. Without a bound, one that hangs, or whose machine is gone, would
/// stop this instance for good. Much less would fail messages while Redis saves its data.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How long the next attempt waits when Redis can't be reached.
const PAUSE: Duration = Duration::from_secs(1);

/// How many entries wait for the loop at most. Then the thread waits, and Redis keeps the others.
const QUEUE: usize = 16;

pub(crate) struct Redis {
    publications: Sender<Publication>,
    messages: Receiver<(u64, String)>,
}

/// A message to be added, and the channel for its number.
struct Publication {
    text: String,
    number: Sender<RedisResult<u64>>,
}

impl Redis {
    /// Connects to `redis://HOST:PORT`.
    pub(crate) fn connect(url: &str) -> Result<Self, Error> {
        let client = Client::open(url)?;
        // So a wrong address is an error at the start.
        let connection = connect(&client)?;
        let (publications, to_publish) = async_channel::bounded(QUEUE);
        let (received, messages) = async_channel::bounded(QUEUE);
        let reader = client.clone();
        thread::Builder::new()
            .name("publish".into())
            .spawn(move || publish_all(&client, connection, &to_publish))?;
        thread::Builder::new()
            .name("receive".into())
            .spawn(move || receive_all(&reader, &received))?;
        Ok(Self {
            publications,
            messages,
        })
    }
}

impl Bus for Redis {
    async fn publish(&self, text: &str) -> Result<u64, Error> {
        let (number, reply) = async_channel::bounded(1);
        let text = text.to_owned();
        self.publications.send(Publication { text, number }).await?;
        Ok(reply.recv().await??)
    }

    async fn receive(&self, room: &Room) -> Result<(), Error> {
        loop {
            let (id, text) = self.messages.recv().await?;
            room.add(id, &text);
        }
    }
}

fn connect(client: &Client) -> RedisResult<Connection> {
    let connection = client.get_connection_with_timeout(TIMEOUT)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.set_write_timeout(Some(TIMEOUT))?;
    Ok(connection)
}

/// Adds messages until the server has ended.
fn publish_all(client: &Client, connection: Connection, to_publish: &Receiver<Publication>) {
    let mut connection = Some(connection);
    while let Ok(Publication { text, number }) = to_publish.recv_blocking() {
        // The request is gone: its client may have given up while Redis didn't respond.
        if number.is_closed() {
            continue;
        }
        // An error means that the request is gone.
        let _ = number.send_blocking(publish(client, &mut connection, &text));
    }
}

/// Adds a message on the connection that is there, or on a new one.
fn publish(client: &Client, kept: &mut Option<Connection>, text: &str) -> RedisResult<u64> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => connect(client)?,
    };
    let added = add(&mut connection, text);
    // A message isn't repeated, because it may have been added. The next one gets a new connection.
    if !added.as_ref().is_err_and(RedisError::is_io_error) {
        *kept = Some(connection);
    }
    added
}

fn add(connection: &mut Connection, text: &str) -> RedisResult<u64> {
    let most = StreamMaxlen::Approx(KEPT);
    let id: String = connection.xadd_maxlen(KEY, most, "*", &[("text", text)])?;
    Ok(number(&id))
}

/// Passes on all entries until the server has ended.
fn receive_all(client: &Client, received: &Sender<(u64, String)>) {
    let mut last = "0".to_owned();
    while !received.is_closed() {
        if let Err(error) = receive_some(client, &mut last, received) {
            log::warn!("no messages from Redis for now: {error}");
            thread::sleep(PAUSE);
        }
    }
}

fn receive_some(
    client: &Client,
    last: &mut String,
    received: &Sender<(u64, String)>,
) -> RedisResult<()> {
    let mut connection = connect(client)?;
    // Longer than the read waits.
    connection.set_read_timeout(Some(WAIT * 2))?;
    let options = StreamReadOptions::default().block(WAIT.as_millis() as usize);
    loop {
        let reply: Option<StreamReadReply> =
            connection.xread_options(&[KEY], &[last.as_str()], &options)?;
        let keys = reply.into_iter().flat_map(|reply| reply.keys);
        for entry in keys.flat_map(|key| key.ids) {
            let text = entry.get("text").unwrap_or_default();
            if received.send_blocking((number(&entry.id), text)).is_err() {
                return Ok(());
            }
            *last = entry.id;
        }
        if received.is_closed() {
            return Ok(());
        }
    }
}

/// A number for an entry's id, which is `MILLISECONDS-SEQUENCE`. It grows as ids do, and JavaScript can hold it.
fn number(id: &str) -> u64 {
    /// Redis doesn't add as many entries in a millisecond. It counts on if its clock was set back: then more may come.
    const SEQUENCE_BITS: u32 = 10;
    let (millis, sequence) = id.split_once('-').unwrap_or((id, "0"));
    let [millis, sequence] = [millis, sequence].map(|it| it.parse::<u64>().unwrap_or(0));
    (millis << SEQUENCE_BITS).saturating_add(sequence)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::time::Instant;

    use super::*;

    #[test]
    fn numbers_grow_as_ids_do() {
        let ids = ["5-0", "5-9", "5-10", "6-0", "1800000000000-0"].map(number);
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        assert!(ids[4] < 1 << 53);
        let many = ["5-0", "5-1023", "5-1024", "5-1025"].map(number);
        assert!(many.is_sorted_by(|a, b| a < b), "{many:?}");
    }

    /// A Redis that takes the first message and is silent from then on, on this connection. On others it responds.
    fn stuck_redis() -> std::io::Result<Client> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("redis://{}", listener.local_addr()?);
        thread::spawn(move || {
            let mut stuck = None;
            for socket in listener.incoming() {
                let mut socket = socket.expect("a client");
                let mut lines = BufReader::new(socket.try_clone().expect("a socket")).lines();
                while let Some(Ok(line)) = lines.next() {
                    let reply = match &*line {
                        "XADD" => "$3\r\n5-0\r\n",
                        "CLIENT" => "+OK\r\n",
                        _ => continue,
                    };
                    if line == "XADD" && stuck.is_none() {
                        break;
                    }
                    if socket.write_all(reply.as_bytes()).is_err() {
                        break;
                    }
                }
                stuck.get_or_insert(socket);
            }
        });
        Ok(Client::open(url).expect("an address"))
    }

    #[test]
    fn a_redis_that_hangs_is_given_up() {
        let client = stuck_redis().expect("a port");
        let (published, results) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let mut connection = None;
            // On a busy machine, a response may come too late.
            while published
                .send(publish(&client, &mut connection, "hello"))
                .is_ok()
            {}
        });
        let (start, patience) = (Instant::now(), Duration::from_secs(60));
        let next = || results.recv_timeout(patience.saturating_sub(start.elapsed()));
        assert!(next().expect("an outcome").is_err());
        while next().expect("an outcome") != Ok(number("5-0")) {}
    }
}
