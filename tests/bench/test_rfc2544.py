#!/usr/bin/python3
"""
bench/ports/rfc2544.py: its search against modelled devices in virtual time, and its socket generator over a veth pair.

  left 10.1.0.10 --- 10.2.0.10 right
"""
import contextlib
import io
import json
import os
import random
import sys
import types
import unittest
import unittest.mock

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PORTS = os.path.join(ROOT, "bench", "ports")
sys.path += [PORTS, os.path.join(ROOT, "tests", "interop")]
import flows  # noqa: E402
import rfc2544  # noqa: E402
import trex_generator  # noqa: E402
from lab import Lab, run, why_not  # noqa: E402
from search import NothingArrives, Search, Trial  # noqa: E402
from socket_generator import MARK, Arrivals, SocketGenerator  # noqa: E402

ALONE = "it measures packets a second"

PREFIX = "espgate-bench-"
MAXIMUM = 100_000
RESOLUTION = 0.005


class Device:
    """A device and the generator that feeds it; no time passes."""
    directions = 1

    def __init__(self, limit=float("inf"), loss=0.0, noise=0.0, pace=float("inf"), deaf=0):
        self.limit, self.loss, self.noise, self.pace, self.deaf = limit, loss, noise, pace, deaf
        self.random = random.Random(2544)
        self.trials = []

    def run(self, _, rate, seconds):
        self.trials.append((rate, seconds))
        sent = round(min(rate, self.pace) * seconds)
        carried = round(self.limit * (1 + self.random.uniform(-self.noise, self.noise)) * seconds) \
            if self.limit < float("inf") else sent
        received = min(sent, carried) - (max(1, round(sent * self.loss)) if self.loss else 0)
        if len(self.trials) <= self.deaf:
            received = 0
        return Trial(rate, seconds, 1, sent, received)


class Counting:
    """A gateway that loses ten packets in every trial."""
    name = "east"

    def __init__(self):
        self.asked = 0

    def counters(self):
        self.asked += 1
        return {"transmit-full": 10 * self.asked, "no-route": 3}


class Searching(unittest.TestCase):
    def search(self, device, **more):
        self.pauses = []
        return Search(device, sleep=self.pauses.append, resolution=RESOLUTION, **more)

    def find(self, device, maximum=MAXIMUM, **more):
        return self.search(device, **more).throughput(flows.frames_of("64"), maximum)

    def test_a_sharp_limit_is_found_within_the_resolution(self):
        for limit in (700, 12_345, 50_000, 99_400, 99_999):
            with self.subTest(limit=limit):
                found = self.find(Device(limit))
                self.assertLessEqual(found.best.rate, limit)
                self.assertGreaterEqual(found.best.rate, limit - RESOLUTION * MAXIMUM)
                self.assertGreater(found.limit.rate, limit)
                self.assertLessEqual(len(found.trials), 9)

    def test_no_trial_is_above_the_line(self):
        for word, gbps in (("64", 10), ("1518", 1), ("imix", 25)):
            frames, device = flows.frames_of(word), Device(limit=1000)
            line = flows.line_rate(frames, gbps)
            self.search(device).throughput(frames, line)
            self.assertEqual(max(rate for rate, _ in device.trials), line)

    def test_a_device_that_keeps_up_with_the_line_takes_one_trial(self):
        found = self.find(Device())
        self.assertEqual((found.best.rate, found.limit, len(found.trials)), (MAXIMUM, None, 1))

    def test_loss_at_every_rate_is_no_rate(self):
        found = self.find(Device(loss=0.001))
        self.assertIsNone(found.best)
        self.assertLessEqual(found.limit.rate, RESOLUTION * MAXIMUM)
        self.assertEqual(rfc2544.row_of("64", found)["packets_per_second"], 0)

    def test_a_limit_that_moves(self):
        for seed in range(20):
            device = Device(limit=40_000, noise=0.02)
            device.random.seed(seed)
            rate = self.find(device).best.rate
            self.assertGreaterEqual(rate, 0.98 * 40_000 - RESOLUTION * MAXIMUM)
            self.assertLessEqual(rate, 1.02 * 40_000)

    def test_tolerated_loss(self):
        self.assertEqual(self.find(Device(loss=0.0005), loss=0.001).best.rate, MAXIMUM)
        self.assertIsNone(self.find(Device(loss=0.0005), loss=0.0004).best)
        self.assertLess(self.find(Device(limit=50_000, loss=0.0005), loss=0.001).best.rate, 50_100)

    def test_a_generator_that_cannot_keep_pace_is_named(self):
        found = self.find(Device(pace=30_000))
        self.assertLessEqual(found.best.rate, 30_000 / 0.99)
        self.assertTrue(rfc2544.row_of("64", found)["limited_by_generator"])

    def test_trials_last_as_long_as_asked_and_are_apart(self):
        device = Device(limit=20_000)
        found = self.find(device, duration=60, pause=5)
        self.assertEqual({seconds for _, seconds in device.trials}, {60})
        self.assertEqual(self.pauses, [5] * len(found.trials))

    def test_warming_up_goes_on_until_packets_arrive(self):
        device = Device(deaf=3)
        self.search(device).warm_up(flows.frames_of("64"), MAXIMUM)
        self.assertEqual(len(device.trials), 4)
        lossy = Device(loss=0.01)
        self.search(lossy).warm_up(flows.frames_of("64"), MAXIMUM)
        self.assertLessEqual(max(rate for rate, _ in lossy.trials), 0.01 * MAXIMUM)

    def test_nothing_arrives_at_all(self):
        with self.assertRaisesRegex(NothingArrives, "none arrived; east counted 10 transmit-full"):
            self.search(Device(deaf=1000), gateways=[Counting()]).warm_up(flows.frames_of("64"), MAXIMUM)

    def test_the_gateway_says_what_was_lost(self):
        found = self.find(Device(limit=10_000), gateways=[Counting()])
        self.assertEqual(found.limit.counted, {"east": {"transmit-full": 10}})
        with contextlib.redirect_stdout(io.StringIO()) as told:
            rfc2544.print_row("64", found)
        self.assertIn("were lost; east counted 10 transmit-full", told.getvalue())


class Packets(unittest.TestCase):
    def test_line_rates(self):
        self.assertEqual(round(flows.line_rate(flows.frames_of("64"), 10)), 14_880_952)
        self.assertEqual(round(flows.line_rate(flows.frames_of("1518"), 10)), 812_744)
        self.assertAlmostEqual(flows.mean_size(flows.IMIX) - flows.FRAMING, (7 * 64 + 4 * 570 + 1420) / 12)
        with self.assertRaises(ValueError):
            flows.frames_of("63")

    def test_lost_doubled_and_reordered_packets_are_told_apart(self):
        arrivals = Arrivals(trial=7, flow_count=2, packets=10)
        for trial, flow, place in ((7, 0, 0), (7, 0, 2), (7, 0, 1), (7, 0, 1), (7, 1, 0), (6, 1, 1), (7, 0, 4)):
            arrivals.take(MARK.pack(trial, flow, place, 0), 1)
        arrivals.take(b"foreign", 1)
        self.assertEqual((arrivals.received, arrivals.reordered, arrivals.duplicates), (5, 1, 1))


class StandInClient:
    """Takes the calls that TRex's client takes, and says that every packet came back and 3 of a port overtook others."""

    def __init__(self, server):
        self.called, self.streams = [], {}

    def __getattr__(self, name):
        return lambda **_: self.called.append(name)

    def add_streams(self, streams, ports):
        self.streams[ports[0]] = streams

    def start(self, ports, duration):
        self.sent = {port: sum(made.mode.pps for made in self.streams[port]) * duration for port in ports}

    def get_stats(self):
        return {port: {"opackets": self.sent.get(port, 0), "ipackets": self.sent.get(1 - port, 0)} for port in (0, 1)}

    def get_pgid_stats(self, groups):
        return {"latency": {group: {"err_cntrs": {"dup": 0, "out_of_order": 3},
                                    "latency": {"total_min": 5, "average": 10 + group, "total_max": 20}}
                            for group in groups}}


def stand_in_modules():
    """In place of TRex's library, whose packets are scapy's."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether
    api = types.ModuleType("trex.stl.api")
    api.IP, api.UDP, api.Ether, api.STLClient = IP, UDP, Ether, StandInClient
    for name in ("STLFlowLatencyStats", "STLPktBuilder", "STLStream", "STLTXCont", "STLVmFlowVar", "STLVmWrFlowVar",
                 "STLScVmRaw"):
        setattr(api, name, lambda *_, **said: types.SimpleNamespace(**said))
    client = types.ModuleType("trex.common.trex_client")
    client.NO_TCP_UDP_MASK = 1
    parents = {name: types.ModuleType(name) for name in ("trex", "trex.stl", "trex.common")}
    return {**parents, "trex.stl.api": api, "trex.common.trex_client": client}


class Trex(unittest.TestCase):
    """What is asked of TRex, not what TRex does of it."""

    @classmethod
    def setUpClass(cls):
        try:
            modules = stand_in_modules()
        except ImportError as missing:
            raise unittest.SkipTest(str(missing))
        cls.enterClassContext(unittest.mock.patch.dict(sys.modules, modules))
        cls.enterClassContext(unittest.mock.patch("trex_generator.RESIDUAL_SECONDS", 0))

    def generator(self, both=True):
        return trex_generator.TrexGenerator("127.0.0.1", [0, 1], ("10.1.0.1", "10.2.0.1"), 64, both)

    def test_a_trial(self):
        trial = self.generator().run(flows.frames_of("64"), 5000, 60)
        self.assertEqual((trial.sent, trial.received, trial.lost), (600_000, 600_000, 0))
        self.assertTrue(trial.kept_pace)
        self.assertEqual((trial.reordered, trial.latency_us), (6, {"min": 5, "mean": 10.5, "max": 20}))
        trial = self.generator(both=False).run(flows.frames_of("64"), 10, 60)
        self.assertEqual((trial.directions, trial.sent), (1, 600))

    def test_packets(self):
        generator = self.generator()
        generator.run(flows.frames_of("imix"), 1300, 1)
        for port, source in ((0, flows.LEFT), (1, flows.RIGHT)):
            streams = generator.client.streams[port]
            self.assertEqual([len(made.packet.pkt) + 4 for made in streams], [82, 588, 1438, 82])
            self.assertEqual([round(made.mode.pps) for made in streams], [700, 400, 100, 100])
            self.assertEqual({made.packet.pkt["IP"].src for made in streams}, {source})

    def test_the_profile_takes_tunables(self):
        import trex_profile
        streams = trex_profile.register().get_streams(direction=1, tunables=["--size", "512", "--rate", "10"])
        self.assertEqual([(len(made.packet.pkt), made.mode.pps) for made in streams], [(508, 10)])


class Sockets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        reason = why_not()
        if reason:
            raise unittest.SkipTest(reason)
        cls.lab = Lab(PREFIX)
        cls.addClassCleanup(cls.lab.close)
        cls.left, cls.right = cls.lab.namespace("left"), cls.lab.namespace("right")
        cls.lab.link(cls.left, "eth0", cls.right, "eth0")
        for space, own, other in ((cls.left, flows.LEFT, flows.RIGHT), (cls.right, flows.RIGHT, flows.LEFT)):
            space.address("eth0", f"{own}/32")
            space.ip("route", "add", other, "dev", "eth0")

    def drop_one_in_ten(self):
        """Of what right receives; exactly so, other than by chance."""
        self.right.nft("table ip loss { chain input { type filter hook input priority 0; "
                       f"udp dport {flows.PORT} numgen inc mod 10 == 0 drop; }}; }}")
        self.addCleanup(self.right.run, "nft", "delete", "table", "ip", "loss")

    def trial(self, word, both=True):
        ends = (self.left.name, flows.LEFT), (self.right.name, flows.RIGHT)
        with contextlib.closing(SocketGenerator(*ends, flow_count=8, both=both, residual=0.5)) as generator:
            return generator.run(flows.frames_of(word), 500, 0.4)

    def test_every_packet_is_counted(self):
        for word in ("64", "1518", "imix"):
            with self.subTest(size=word):
                trial = self.trial(word)
                self.assertEqual((trial.sent, trial.received), (400, 400))
                self.assertEqual((trial.duplicates, trial.reordered), (0, 0))
                self.assertGreater(trial.latency_us["min"], 0)

    def test_frames_have_the_size_that_was_asked_for(self):
        counters = "/sys/class/net/eth0/statistics"
        read = lambda name: int(self.right.run("cat", f"{counters}/{name}").stdout)  # noqa: E731
        before = read("rx_bytes")
        trial = self.trial("512", both=False)
        fcs, others = 4, 600  # ARP, and what else the kernel says
        self.assertAlmostEqual(read("rx_bytes") - before, trial.sent * (512 - fcs), delta=others)

    def test_lost_packets_are_missed(self):
        self.drop_one_in_ten()
        trial = self.trial("64", both=False)
        self.assertEqual((trial.sent, trial.received), (200, 180))

    def rfc2544(self, *more):
        done = run([sys.executable, os.path.join(PORTS, "rfc2544.py"), "sockets", "--json", "--sizes", "64",
                    "--maximum", "200", "--duration", "0.4", "--pause", "0", "--resolution", "20",
                    "--left", f"{self.left.name}:{flows.LEFT}", "--right", f"{self.right.name}:{flows.RIGHT}", *more])
        return json.loads(done.stdout[done.stdout.index("[\n"):])[0]

    def test_the_script_finds_a_rate(self):
        self.assertGreater(self.rfc2544()["packets_per_second"], 0)

    def test_the_script_finds_none_and_asks_the_gateway_why(self):
        shell = os.path.join(self.lab.directory, "shell")
        with open(shell, "w") as out:
            out.write('case $2 in drops) echo "[{\\"name\\": \\"transmit-full\\", \\"count\\": $(date +%s%N)}]";;\n'
                      "*) echo '[{\"name\": \"lan\", \"missed\": 5}, {\"name\": \"vti\"}]';; esac\n")
        self.drop_one_in_ten()
        row = self.rfc2544("--one-way", "--gateway", f"sh {shell}")
        self.assertEqual(row["packets_per_second"], 0)
        self.assertGreater(row["limit"]["sent"], row["limit"]["received"])
        self.assertEqual(list(row["limit"]["counted"][f"sh {shell}"]), ["transmit-full"])


if __name__ == "__main__":
    unittest.main()
