"""Python's clients for the check `clients`: clients.py ASYNC-SERVER SSE CHAT

The arguments are the addresses of the servers, as URLs without a path. A line for each client: `ok NAME`, or
`failed NAME: WHY`.
"""

import asyncio
import sys
import time
import traceback

import aiohttp
import httpx
import httpx_sse
import requests

SERVER, SSE, CHAT = sys.argv[1:]
LINES = [f"event {number}" for number in range(5)]
PIECE = b"x" * 100_000


def check(condition, what):
    if not condition:
        raise AssertionError(what)


class Arrivals:
    """That pieces come one by one, and not all at the end."""

    def __init__(self):
        self.items, self.times = [], []

    def add(self, item):
        self.items.append(item)
        self.times.append(time.monotonic())

    def check(self, expected):
        check(self.items == expected, self.items)
        # 4 pauses of 50 ms.
        check(self.times[-1] - self.times[0] > 0.1, f"all came within {self.times[-1] - self.times[0]} s")


def pieces():
    for _ in range(20):
        yield PIECE


async def async_pieces():
    for piece in pieces():
        yield piece


def requests_streams():
    arrivals = Arrivals()
    with requests.get(f"{SERVER}/events?5,50", stream=True, timeout=10) as response:
        for line in response.iter_lines(chunk_size=None, decode_unicode=True):
            arrivals.add(line.decode() if isinstance(line, bytes) else line)
    arrivals.check(LINES)
    response = requests.post(f"{SERVER}/count", data=pieces(), timeout=10)
    check(response.text == "2000000", response.text)
    # One connection for several streams, and one that is left early.
    with requests.Session() as session:
        for _ in range(3):
            check(session.get(f"{SERVER}/chunks?100000", timeout=10).content == PIECE, "other bytes")
        with session.get(f"{SERVER}/chunks?0", stream=True, timeout=10) as endless:
            check(endless.raw.read(1000) == b"x" * 1000, "other bytes")
        check(session.get(SERVER, timeout=10).text == "hello!", "no hello")


def httpx_streams():
    arrivals = Arrivals()
    with httpx.stream("GET", f"{SERVER}/events?5,50", timeout=10) as response:
        for line in response.iter_lines():
            arrivals.add(line)
    arrivals.check(LINES)
    response = httpx.post(f"{SERVER}/echo", content=pieces(), timeout=10)
    check(response.content == PIECE * 20, f"{len(response.content)} bytes came back")


async def aiohttp_streams():
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        arrivals = Arrivals()
        async with session.get(f"{SERVER}/events?5,50") as response:
            async for line in response.content:
                arrivals.add(line.decode().strip())
        arrivals.check(LINES)
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
    job = httpx.post(f"{SSE}/jobs", timeout=10).headers["location"]
    steps = []
    with httpx.Client(timeout=10) as client:
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
    async with httpx.AsyncClient(timeout=10) as client:

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
