"""A generator of UDP sockets in two network namespaces: for low rates, and for trying the search where no cards are.

Every packet carries the number of its trial, its flow, its place in it, and when it was sent; so what is lost, doubled
or reordered is known one by one.
"""
import contextlib
import select
import socket
import struct
import time

import flows
from namespaces import inside
from search import RESIDUAL_SECONDS, Trial

MARK = struct.Struct("!IHIQ")  # trial, flow, place in the flow, nanoseconds; what fits into a frame of 64 bytes
BACKLOG = 32  # packets that are sent at once, at most, after this process was kept from its work
RECEIVE_BUFFER = 32 << 20
SO_RCVBUFFORCE = 33  # Linux's numbers that Python has no names for
IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 10, 3  # DF is set, and no size refused for what a path is thought to carry


class Arrivals:
    """What has come of one trial."""

    def __init__(self, trial, flow_count, packets):
        self.trial = trial
        self.seen = [bytearray(-(-packets // flow_count)) for _ in range(flow_count)]
        self.highest = [-1] * flow_count
        self.received = self.duplicates = self.reordered = 0
        self.latencies = []

    def take(self, payload, now):
        if len(payload) < MARK.size:
            return
        trial, flow, place, sent_at = MARK.unpack_from(payload)
        if trial != self.trial:
            return
        if self.seen[flow][place]:
            self.duplicates += 1
            return
        self.seen[flow][place] = 1
        self.received += 1
        self.reordered += place < self.highest[flow]
        self.highest[flow] = max(self.highest[flow], place)
        self.latencies.append(now - sent_at)


class Way:
    """One direction: a sending socket for each flow, and one that receives."""

    def __init__(self, sender, receiver, flow_count):
        (here, source), (there, destination) = sender, receiver
        self.destination = (destination, flows.PORT)
        with inside(here):
            self.senders = [self._open(source, flows.FIRST_PORT + flow) for flow in range(flow_count)]
        for sender in self.senders:
            sender.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
        with inside(there):
            self.receiver = self._open(destination, flows.PORT)
        # Not the generator itself shall lose what the gateway has delivered.
        self.receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        self.receiver.setblocking(False)
        self.arrivals = None

    @staticmethod
    def _open(address, port):
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.bind((address, port))
        return opened

    def expect(self, trial, packets):
        self.arrivals = Arrivals(trial, len(self.senders), packets)

    def send(self, number, frame_size):
        place, flow = divmod(number, len(self.senders))
        padding = bytes(frame_size - flows.FRAMING - flows.UDP_HEADERS - MARK.size)
        mark = MARK.pack(self.arrivals.trial, flow, place, time.monotonic_ns())
        self.senders[flow].sendto(mark + padding, self.destination)

    def receive(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                self.arrivals.take(self.receiver.recv(65536), time.monotonic_ns())

    def close(self):
        for opened in (*self.senders, self.receiver):
            opened.close()


class SocketGenerator:
    def __init__(self, left, right, flow_count=16, both=True, residual=RESIDUAL_SECONDS):
        """`left` and `right`: (network namespace, IPv4 address) each."""
        self.ways = [Way(left, right, flow_count)] + ([Way(right, left, flow_count)] if both else [])
        self.by_receiver = {way.receiver: way for way in self.ways}
        self.residual = residual
        self.trial = time.time_ns() % (1 << 32)  # late packets of an earlier run have another one

    def run(self, frames, rate, seconds):
        packets = max(1, round(rate * seconds))
        self.trial = (self.trial + 1) % (1 << 32)
        for way in self.ways:
            way.expect(self.trial, packets)
        took = self._send(frames, packets, 1 / rate)
        self._receive_until(time.monotonic() + self.residual)
        return self._count(rate, took, packets)

    def _send(self, frames, packets, interval):
        sizes = [size for size, weight in frames for _ in range(weight)]
        began = due = time.monotonic()
        for number in range(packets):
            self._receive_until(due)
            due = max(due, time.monotonic() - BACKLOG * interval) + interval
            for way in self.ways:
                way.send(number, sizes[number % len(sizes)])
        return max(time.monotonic() - began, packets * interval)

    def _receive_until(self, end):
        """Looks at what is there at least once."""
        left = 0
        while left is not None:
            ready, _, _ = select.select(self.by_receiver, [], [], left)
            for receiver in ready:
                self.by_receiver[receiver].receive()
            now = time.monotonic()
            left = end - now if end > now else None

    def _count(self, rate, took, packets):
        arrived = [way.arrivals for way in self.ways]
        latencies = [latency / 1000 for way in arrived for latency in way.latencies]
        return Trial(rate, took, len(self.ways), packets * len(self.ways), sum(way.received for way in arrived),
                     sum(way.duplicates for way in arrived), sum(way.reordered for way in arrived),
                     latency_us={"min": min(latencies), "mean": sum(latencies) / len(latencies),
                                 "max": max(latencies)} if latencies else None)

    def close(self):
        for way in self.ways:
            way.close()


def place(word):
    namespace, separator, address = word.partition(":")
    if not separator:
        raise ValueError(word)
    return namespace, address


def add_options(parser):
    parser.set_defaults(maximum=5000, make=make)
    parser.add_argument("--left", type=place, required=True, metavar="NAMESPACE:ADDRESS", help="one end of the packets")
    parser.add_argument("--right", type=place, required=True, metavar="NAMESPACE:ADDRESS", help="the other end")


def make(options):
    return SocketGenerator(options.left, options.right, options.flows, not options.one_way)
