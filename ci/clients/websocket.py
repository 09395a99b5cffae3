"""A WebSocket client against a server that sends messages back: `websocket.py HOST:PORT MESSAGES`.

The client is the package `websockets`. Four connections at a time send messages of all sizes, whole and in fragments,
with pings between them; each message must come back as it was. Then a message that is too large must be refused, and
messages to a group must reach all members, in order.
"""

import asyncio
import random
import sys

import websockets
from websockets.asyncio.client import connect

# Lengths around the borders between the three forms of a length (RFC 6455 §5.2). 64 KiB is also what the server holds
# for each direction.
BORDERS = [0, 1, 125, 126, 127, 4096, 16384, 65535, 65536, 65537]
CONNECTIONS = 4
# In flight on one connection.
WINDOW = 20


def message(dice: random.Random):
    size = dice.choice(BORDERS) if dice.random() < 0.1 else int(dice.expovariate(1 / 300))
    if dice.random() < 0.5:
        return dice.randbytes(size)
    return "".join(dice.choices("aß€𝄞 \n", k=size // 3))


def fragments(dice: random.Random, whole):
    cut = sorted(dice.randrange(len(whole) + 1) for _ in range(dice.randrange(1, 5)))
    places = [0, *cut, len(whole)]
    return [whole[start:end] for start, end in zip(places, places[1:])]


async def exchange(url: str, count: int, seed: int):
    dice = random.Random(seed)
    async with connect(url, max_size=None, compression=None) as socket:
        sent = asyncio.Queue(WINDOW)

        async def receive():
            for number in range(count):
                expected = await sent.get()
                received = await socket.recv()
                assert received == expected, f"message {number} has {len(received)} of {len(expected)}"

        receiving = asyncio.create_task(receive())
        for number in range(count):
            whole = message(dice)
            await sent.put(whole)
            await socket.send(fragments(dice, whole) if number % 3 == 0 else whole)
            if number % 50 == 0:
                await asyncio.wait_for(await socket.ping(), 20)
            assert not receiving.done() or receiving.result() is None
        await asyncio.wait_for(receiving, 60)
    assert socket.close_code == 1000, f"the server closes with {socket.close_code}"


async def too_large(url: str):
    """The server refuses the message by its length, with the close code for that."""
    # No `async with`: its close fails in websockets 15 if the connection is lost just then.
    socket = await connect(url, max_size=None, compression=None)
    try:
        await socket.send(b"x" * ((4 << 20) + 1))
        await asyncio.wait_for(socket.recv(), 20)
    except websockets.ConnectionClosed:
        pass
    assert socket.close_code == 1009, f"the server closes with {socket.close_code}"


async def broadcast(url: str):
    """Each member gets what one of them sends, in order."""
    members = [await connect(url + "all", compression=None) for _ in range(10)]
    for number in range(20):
        await members[number % len(members)].send(str(number))
        for member in members:
            text = await asyncio.wait_for(member.recv(), 20)
            assert text == str(number), f"{text} instead of {number}"
    for member in members:
        await member.close()


async def main():
    url, count = f"ws://{sys.argv[1]}/", int(sys.argv[2])
    each = count // CONNECTIONS
    seeds = range(CONNECTIONS)
    await asyncio.gather(*(exchange(url, each, seed) for seed in seeds))
    await too_large(url)
    await broadcast(url)
    print(f"{each * CONNECTIONS} messages")


asyncio.run(asyncio.wait_for(main(), 100))
