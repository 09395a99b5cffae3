"""Python's clients for the check `clients`: clients.py ASYNC-SERVER SSE CHAT

The arguments are the addresses of the servers, as URLs without a path. A line for each client: `ok NAME`, or
`failed NAME: WHY`.
"""

import asyncio
import itertools
import sys
import traceback

import aiohttp
import httpx
import httpx_sse
import requests

SERVER, SSE, CHAT = sys.argv[1:]
# Streams of events: whether they are endless, and their targets. The first has five events.
EVENTS = [(False, "/events?5,50"), (True, "/events?0,50")]
LINES = [f"event {number}" for number in range(5)]
# How long a client waits, in seconds. If the server collected events in a buffer of 4 KiB, none would come for longer.
SILENCE = 15
PIECE = b"x" * 100_000


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def pieces():
    for _ in range(20):
        yield PIECE


async def async_pieces():
    for piece in pieces():
        yield piece


def check_lines(lines, is_endless):
    """Fails unless all lines come; of an endless stream, the first ones."""
    lines = list(itertools.islice(lines, len(LINES) if is_endless else None))
    check(lines == LINES, lines)


def requests_streams():
    for is_endless, target in EVENTS:
        with requests.get(f"{SERVER}{target}", stream=True, timeout=SILENCE) as response:
            lines = response.iter_lines(chunk_size=None, decode_unicode=True)
            check_lines((it.decode() if isinstance(it, bytes) else it for it in lines), is_endless)
    response = requests.post(f"{SERVER}/count", data=pieces(), timeout=60)
    check(response.text == "2000000", response.text)
    # Several streams on one connection, and one that is left early.
    with requests.Session() as session:
        for _ in range(3):
            check(session.get(f"{SERVER}/chunks?100000", timeout=60).content == PIECE, "other bytes")
        with session.get(f"{SERVER}/chunks?0", stream=True, timeout=60) as endless:
            check(endless.raw.read(1000) == b"x" * 1000, "other bytes")
        check(session.get(SERVER, timeout=60).text == "hello!", "no hello")


def httpx_streams():
    for is_endless, target in EVENTS:
        with httpx.stream("GET", f"{SERVER}{target}", timeout=SILENCE) as response:
            check_lines(response.iter_lines(), is_endless)
    response = httpx.post(f"{SERVER}/echo", content=pieces(), timeout=60)
    check(response.content == PIECE * 20, f"{len(response.content)} bytes came back")


async def aiohttp_streams():
    timeout = aiohttp.ClientTimeout(total=60, sock_read=SILENCE)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for is_endless, target in EVENTS:
            lines = []
            async with session.get(f"{SERVER}{target}") as response:
                async for line in response.content:
                    lines.append(line.decode().strip())
                    if is_endless and len(lines) == len(LINES):
                        break
            check_lines(lines, is_endless)
        async with session.post(f"{SERVER}/count", data=async_pieces()) as response:
            check(await response.text() == "2000000", "other bytes")
        await both_ways(session)
        async with session.post(f"{SERVER}/count", data=PIECE, expect100=True) as response:
            check(await response.text() == "100000", "other bytes")


async def both_ways(session):
    """The next piece is sent when the one before has come back."""
    came_back = asyncio.Event()

    async def conversation():
        for number in range(5):
            yield f"piece {number}\n".encode()
            await came_back.wait()
            came_back.clear()

    async with session.post(f"{SERVER}/echo", data=conversation()) as response:
        for number in range(5):
            line = await response.content.readline()
            check(line == f"piece {number}\n".encode(), line)
            came_back.set()
        check(await response.content.read() == b"", "more came back")


def event_source():
    """httpx-sse: a job's steps, with a connection that is lost after ten of them."""
    job = httpx.post(f"{SSE}/jobs", timeout=60).headers["location"]
    steps = []
    with httpx.Client(timeout=60) as client:
        for last in (None, "10"):
            headers = {"Last-Event-ID": last} if last else {}
            with httpx_sse.connect_sse(client, "GET", f"{SSE}{job}", headers=headers) as source:
                for event in source.iter_sse():
                    # The first one has only `retry`.
                    if event.data:
                        check(event.data == f"{event.id} of 40", event)
                        steps.append(int(event.id))
                        if len(steps) in (10, 40):
                            break
        check(steps == list(range(1, 41)), steps)
        # It is over: no reconnection.
        check(client.get(f"{SSE}{job}", headers={"Last-Event-ID": "40"}).status_code == 204, "not over")


async def chat():
    """What is posted comes to event streams and long polls, in order."""
    # Node's clients are there, too.
    texts = [f"python {number} äöü" for number in range(5)]
    mine = lambda messages: [it["text"] for it in messages if it["text"] in texts]
    async with httpx.AsyncClient(timeout=60) as client:

        async def stream():
            got = []
            async with httpx_sse.aconnect_sse(client, "GET", f"{CHAT}/events") as source:
                async for event in source.aiter_sse():
                    if event.data:
                        got += mine([event.json()])
                    if len(got) == len(texts):
                        return got

        async def polls():
            got, after = [], 0
            while len(got) < len(texts):
                messages = (await client.get(f"{CHAT}/messages?after={after}")).json()
                got += mine(messages)
                after = messages[-1]["id"]
            return got

        listeners = [asyncio.create_task(it()) for it in (stream, stream, polls)]
        await asyncio.sleep(0.2)
        for text in texts:
            response = await client.post(f"{CHAT}/messages", content=text.encode())
            check(response.status_code == 201, response.text)
        for got in await asyncio.gather(*listeners):
            check(got == texts, got)


CLIENTS = {
    "requests streams both ways": requests_streams,
    "httpx streams both ways": httpx_streams,
    "aiohttp streams both ways at once": lambda: asyncio.run(aiohttp_streams()),
    "httpx-sse resumes with Last-Event-ID": event_source,
    "httpx-sse and long polls in a chat": lambda: asyncio.run(chat()),
}

for name, client in CLIENTS.items():
    try:
        client()
        print(f"ok {name}", flush=True)
    except Exception:
        why = traceback.format_exc().strip().replace("\n", " | ")
        print(f"failed {name}: {why}", flush=True)
