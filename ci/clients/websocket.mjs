// A WebSocket client against a server that sends messages back: `websocket.mjs HOST:PORT MESSAGES`.
//
// The client is the one of Node itself. Four connections at a time send messages of all sizes; each must come back as
// it was. (This client sends neither fragments nor pings.)

const [address, count] = process.argv.slice(2);
const CONNECTIONS = 4;
// In flight on one connection.
const WINDOW = 20;
const BORDERS = [0, 1, 125, 126, 127, 4096, 16384, 65535, 65536, 65537];

// A linear congruential generator: the messages are the same each time.
function dice(seed) {
  let state = seed;
  return below => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * below);
  };
}

function message(roll) {
  const size = roll(10) === 0 ? BORDERS[roll(BORDERS.length)] : roll(600);
  if (roll(2) === 0) {
    return Uint8Array.from({ length: size }, () => roll(256));
  }
  return 'ä€x'.repeat(size / 3);
}

const isSame = (one, other) =>
  typeof one === 'string' ? one === other : Buffer.compare(Buffer.from(one), Buffer.from(other)) === 0;

function exchange(messages, seed) {
  return new Promise((resolve, reject) => {
    const roll = dice(seed);
    const waiting = [];
    let sent = 0;
    let received = 0;
    const socket = new WebSocket(`ws://${address}/`);
    socket.binaryType = 'arraybuffer';
    const send = () => {
      for (; sent < messages && waiting.length < WINDOW; sent++) {
        waiting.push(message(roll));
        socket.send(waiting.at(-1));
      }
    };
    socket.onopen = send;
    socket.onmessage = event => {
      if (!isSame(waiting.shift(), event.data)) {
        reject(new Error(`message ${received} differs`));
      }
      received++;
      if (received === messages) {
        socket.close(1000, 'enough');
      }
      send();
    };
    socket.onerror = event => reject(event.error ?? new Error(`after ${received} messages: ${event.message}`));
    socket.onclose = event =>
      received === messages && event.code === 1000
        ? resolve()
        : reject(new Error(`closed with ${event.code} after ${received} messages`));
  });
}

const each = Math.floor(count / CONNECTIONS);
const seeds = Array.from({ length: CONNECTIONS }, (_, index) => index + 1);
const timer = setTimeout(() => {
  console.error('too late');
  process.exit(1);
}, 100_000);
try {
  await Promise.all(seeds.map(seed => exchange(each, seed)));
  console.log(`${each * CONNECTIONS} messages`);
  clearTimeout(timer);
} catch (error) {
  console.error(error);
  process.exit(1);
}
