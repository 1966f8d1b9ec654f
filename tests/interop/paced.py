#!/usr/bin/python3
"""UDP packets at an even rate from one network namespace to another, each with its number, while something happens on
their way: what is lost, doubled or reordered is known one by one, and when it was sent.

  paced.py NAMESPACE:ADDRESS NAMESPACE:ADDRESS --rate 5000 --flows 64 [--count 100000] [--hosts 500 --step 256]

Sends until SIGINT or `--count`, waits a little for what is still on its way, and prints JSON. With `--hosts` the flows go
to so many addresses in turn, `--step` apart, all of which must be the receiving namespace's.
"""
import argparse
import contextlib
import ipaddress
import json
import os
import select
import signal
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench", "ports"))

from namespaces import inside  # noqa: E402

MARK = struct.Struct("!IIQ")  # flow, place in the flow, nanoseconds
PORT = 7007
FIRST_PORT = 30000  # a flow is a source port from here on
BACKLOG = 16  # packets that are sent at once, at most, after this process was kept from its work
STRAGGLERS = 1.5  # seconds
SO_RCVBUFFORCE = 33  # Linux's number that Python has no name for
RECEIVE_BUFFER = 64 << 20


def bound(address, port):
    opened = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    if opened.family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    opened.bind((address, port))
    return opened


class Stream:
    def __init__(self, source, destination, options):
        flows = options.flows
        first = ipaddress.ip_address(destination[1])
        hosts = [(str(first + host * options.step), PORT) for host in range(options.hosts)]
        with inside(source[0]):
            self.senders = [(bound(source[1], FIRST_PORT + flow), hosts[flow % len(hosts)]) for flow in range(flows)]
        with inside(destination[0]):
            self.receiver = bound("::" if first.version == 6 else "0.0.0.0", PORT)
        # Not this process shall lose what the gateways have delivered.
        self.receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        self.receiver.setblocking(False)
        self.padding = bytes(max(0, options.size - MARK.size))
        self.sent = []  # when each was, by its number
        self.seen = bytearray()
        self.highest = [-1] * flows
        self.doubled = self.reordered = 0
        self.refused = 0  # by the sending host itself: it was told of an unreachable network
        self.stopping = False

    def send(self):
        number = len(self.sent)
        place, flow = divmod(number, len(self.senders))
        now = time.monotonic_ns()
        self.sent.append(now)
        self.seen.append(0)
        sender, to = self.senders[flow]
        try:
            sender.sendto(MARK.pack(flow, place, now) + self.padding, to)
        except OSError:
            self.refused += 1

    def receive(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                self._take(self.receiver.recv(2048))

    def _take(self, payload):
        flow, place, _ = MARK.unpack_from(payload)
        number = place * len(self.senders) + flow
        if self.seen[number]:
            self.doubled += 1
            return
        self.seen[number] = 1
        self.reordered += place < self.highest[flow]
        self.highest[flow] = max(self.highest[flow], place)

    def receive_until(self, end):
        """Looks at what is there at least once."""
        left = 0
        while left is not None:
            if select.select([self.receiver], [], [], left)[0]:
                self.receive()
            now = time.monotonic()
            left = end - now if end > now else None

    def run(self, rate, count):
        due = time.monotonic()
        while not self.stopping and len(self.sent) < count:
            self.receive_until(due)
            due = max(due, time.monotonic() - BACKLOG / rate) + 1 / rate
            self.send()
        self.receive_until(time.monotonic() + STRAGGLERS)

    def account(self):
        lost = [number for number, seen in enumerate(self.seen) if not seen]
        flows, rows = {}, {}
        for number in lost:
            place, flow = divmod(number, len(self.senders))
            its = flows.setdefault(flow, {"lost": 0, "in_a_row": 0, "first_ns": self.sent[number]})
            rows[flow] = (place, rows[flow][1] + 1 if rows.get(flow, (None,))[0] == place - 1 else 1)
            its["lost"] += 1
            its["in_a_row"] = max(its["in_a_row"], rows[flow][1])
            its["last_ns"] = self.sent[number]
        seconds = (self.sent[-1] - self.sent[0]) / 1e9 if len(self.sent) > 1 else 0
        return {"sent": len(self.sent), "lost": len(lost), "doubled": self.doubled, "reordered": self.reordered,
                "refused": self.refused, "rate": (len(self.sent) - 1) / seconds if seconds else 0,
                "first_ns": self.sent[0], "last_ns": self.sent[-1], "lost_by_flow": flows}


def end(word):
    namespace, separator, address = word.partition(":")
    if not separator:
        raise ValueError(word)
    return namespace, address


def main():
    parser = argparse.ArgumentParser(description="Paced UDP packets between two namespaces, and what became of them.")
    parser.add_argument("source", type=end, metavar="NAMESPACE:ADDRESS")
    parser.add_argument("destination", type=end, metavar="NAMESPACE:ADDRESS")
    parser.add_argument("--rate", type=float, default=5000, help="packets a second, of all flows together")
    parser.add_argument("--flows", type=int, default=64)
    parser.add_argument("--hosts", type=int, default=1, help="destinations")
    parser.add_argument("--step", type=int, default=1, help="between two of them")
    parser.add_argument("--size", type=int, default=64, help="bytes of UDP payload")
    parser.add_argument("--count", type=int, default=1 << 30)
    options = parser.parse_args()
    stream = Stream(options.source, options.destination, options)

    def stop(*_):
        stream.stopping = True
    signal.signal(signal.SIGINT, stop)
    print("sending", flush=True)
    stream.run(options.rate, options.count)
    print(json.dumps(stream.account()))
    return 0


class Paced:
    """A running paced.py, for tests. `source` and `destination`: (namespace of the lab, address). `more`: options."""

    def __init__(self, source, destination, rate, flows=64, count=None, **more):
        space = source[0]
        argv = [sys.executable, os.path.abspath(__file__), *(f"{where.name}:{address}" for where, address in
                                                             (source, destination)),
                "--rate", str(rate), "--flows", str(flows), *(["--count", str(count)] if count else []),
                *(f"--{name}={value}" for name, value in more.items())]
        self.process = space.start(f"paced-{time.monotonic_ns()}", *argv)
        # Here, as this file is a program of its own, too, which has no lab.
        from lab import wait_until
        wait_until(lambda: "sending" in self.process.output(), 30, lambda: f"it sends: {self.process.output()}")

    def stop(self):
        """Ends it, and returns its account."""
        self.process.stop(signal.SIGINT, 30)
        return self._account()

    def wait(self, seconds):
        """Until it has sent its count; its account."""
        self.process.popen.wait(seconds)
        return self._account()

    def _account(self):
        return json.loads(self.process.output().splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
