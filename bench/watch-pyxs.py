"""Watches /bench with pyxs and prints when each event was handed over."""

import sys
import time

from pyxs import Client

socket, count = sys.argv[1], int(sys.argv[2])
with Client(unix_socket_path=socket) as client:
    monitor = client.monitor()
    monitor.watch(b"/bench", b"t")
    events = monitor.wait()
    next(events)  # fires at once on registration
    print("ready", flush=True)
    seen = []
    while len(seen) < count:
        event = next(events)
        seen.append((event.path.decode(), time.monotonic_ns()))
    print("\n".join(f"{path} {when}" for path, when in seen), flush=True)
    # Closing pyxs waits for a thread of its own.
    import os

    os._exit(0)
