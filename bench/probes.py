"""What 1,000 probes a second beside work cost that work.

    .venv/bin/python bench/probes.py [rounds] [seconds per measurement]

A turn of an orchestrator that only echoes, sent over REST by one caller as fast as it is answered:
alone, and while a process of its own asks for `/health` and `/ready` by turns at a steady rate.
The prober does not wait for the machine: it says which rate it has reached.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from harness import ECHO, Measured, Server, Target, connect, drive, length, mission, receive

RATE = 1000  # probes a second
AT_ONCE = 4  # connections


def probe(server: Server, ends: Connection) -> None:
    """Asks until it is told to end, then says how many answers it got in how many seconds."""
    connections = [connect(server) for _ in range(AT_ONCE)]
    requests = [Target.of(server, path, "", "GET").request for path in ("/health", "/ready")]
    began, asked = time.perf_counter(), 0
    while not ends.poll():
        for connection in connections:
            connection.sendall(requests[asked % len(requests)])
            asked += 1
        for connection in connections:
            receive(connection)
        time.sleep(max(0.0, began + asked / RATE - time.perf_counter()))
    ends.send((asked, time.perf_counter() - began))


def beside_probes(server: Server, work: Target, seconds: float) -> tuple[Measured, float, float]:
    """The work, the probes a second, and the server's processor time a second, all together."""
    here, there = multiprocessing.Pipe()
    prober = multiprocessing.Process(target=probe, args=(server, there), daemon=True)
    prober.start()
    there.close()  # the prober's alone now, so that its end is the end of what comes
    processor, began = server.processor_seconds(), time.perf_counter()
    measured = drive(work, 1, seconds)
    busy = (server.processor_seconds() - processor) / (time.perf_counter() - began)
    try:
        here.send(None)
        asked, took = here.recv()
    except (EOFError, ConnectionError):
        raise SystemExit("the prober has failed; why is above") from None
    prober.join()
    return measured, asked / took, busy


def main() -> None:
    rounds, seconds = length(3, 5.0)
    with (
        tempfile.TemporaryDirectory() as folder,
        mission(Path(folder), ECHO, MISSION_DEFAULT_CAPABILITY="echo") as server,
    ):
        body = json.dumps({"message": "hi"})
        work = Target.of(server, "/api/v1/chat/messages?user_id=ann", body)
        drive(work, 1, 1.0)
        print("turns/s  beside probes  ratio  probes/s  busy alone  busy beside")
        for _ in range(rounds):
            alone = drive(work, 1, seconds)
            beside, rate, busy = beside_probes(server, work, seconds)
            print(
                f"{alone.rate:>7.0f} {beside.rate:>14.0f} {beside.rate / alone.rate:>6.2f}"
                f" {rate:>9.0f} {alone.processor * alone.rate:>10.0%} {busy:>11.0%}"
            )


if __name__ == "__main__":
    main()
