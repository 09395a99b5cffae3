// Node's clients for the check `clients`: clients.cjs ASYNC-SERVER SSE CHAT
//
// The arguments are the addresses of the servers, as URLs without a path. A line for each client: `ok NAME`, or
// `failed NAME: WHY`.

const { EventSource } = require('eventsource')
const assert = require('node:assert/strict')

const [server, sse, chat] = process.argv.slice(2)
const pause = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds))

function body (count, size) {
  let sent = 0
  return new ReadableStream({
    async pull (controller) {
      if (sent++ === count) return controller.close()
      controller.enqueue(new Uint8Array(size).fill(120))
    }
  })
}

async function fetchStreams () {
  const expected = [0, 1, 2, 3, 4].map(number => `event ${number}\n`).join('')
  // One stream with five events, and one without an end, of which the first five must come.
  for (const [count, isEndless] of [[5, false], [0, true]]) {
    let text = ''
    const events = await fetch(`${server}/events?${count},50`)
    for await (const piece of events.body) {
      text += Buffer.from(piece)
      if (isEndless && text.length >= expected.length) break
    }
    assert.equal(text.slice(0, isEndless ? expected.length : undefined), expected)
    // The server doesn't collect them in a buffer of 4 KiB first.
    assert.ok(text.length < 4000, `${text.length} bytes came at once`)
  }
  const upload = { method: 'POST', duplex: 'half', body: body(20, 100_000) }
  assert.equal(await (await fetch(`${server}/count`, upload)).text(), '2000000')
  const echoed = await fetch(`${server}/echo`, { ...upload, body: body(20, 100_000) })
  assert.equal((await echoed.arrayBuffer()).byteLength, 2_000_000)
}

async function fetchAborted () {
  const waiting = async () => Number(await (await fetch(`${server}/waiting`)).text())
  const before = await waiting()
  const control = new AbortController()
  const poll = fetch(`${server}/wait`, { signal: control.signal })
  while (await waiting() !== before + 1) await pause(10)
  control.abort()
  await assert.rejects(poll, { name: 'AbortError' })
  const started = performance.now()
  // Node only ends its side of the connection. A client that does so may still want the response. So the server waits
  // for as long as `half_closed_timeout`, which is a second here.
  while (await waiting() !== before) {
    assert.ok(performance.now() - started < 5000, 'the long poll still waits')
    await pause(10)
  }
}

async function eventSource () {
  const started = await fetch(`${sse}/jobs`, { method: 'POST' })
  const job = new URL(started.headers.get('location'), sse)
  const steps = []
  const source = new EventSource(job)
  let reconnects = -1
  source.onopen = () => { reconnects++ }
  source.onmessage = event => {
    assert.equal(event.data, `${event.lastEventId} of 40`)
    steps.push(Number(event.lastEventId))
  }
  // When the stream has ended, it reconnects with its last id, and gets 204: it closes.
  while (source.readyState !== EventSource.CLOSED) await pause(20)
  assert.deepEqual(steps, Array.from({ length: 40 }, (_, index) => index + 1))
  assert.equal(reconnects, 0)
}

async function chatRoom () {
  const texts = ['one', 'two\nlines', '<b>three</b>', '"four"', 'fünf']
  const received = [[], []]
  const sources = received.map(list => {
    const source = new EventSource(`${chat}/events`)
    source.onmessage = event => {
      const { text } = JSON.parse(event.data)
      // Python's clients are there, too.
      if (texts.includes(text)) list.push(text)
    }
    return source
  })
  while (sources.some(source => source.readyState !== EventSource.OPEN)) await pause(10)
  for (const body of texts) {
    const response = await fetch(`${chat}/messages`, { method: 'POST', body })
    assert.equal(response.status, 201)
  }
  while (received.some(list => list.length < texts.length)) await pause(10)
  for (const list of received) assert.deepEqual(list, texts)
  for (const source of sources) source.close()
}

const clients = {
  'Node fetch streams both ways': fetchStreams,
  'Node fetch aborts a long poll': fetchAborted,
  'Node eventsource reconnects until 204': eventSource,
  'Node eventsource in a chat': chatRoom
}

async function main () {
  for (const [name, client] of Object.entries(clients)) {
    try {
      await Promise.race([client(), pause(60_000).then(() => { throw new Error('it takes over 60 s') })])
      console.log(`ok ${name}`)
    } catch (error) {
      console.log(`failed ${name}: ${error.stack.replaceAll('\n', ' | ')}`)
    }
  }
  process.exit()
}

main()
