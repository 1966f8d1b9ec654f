"""
Tunnels to two strongSwan ends that are watched, and flows while one of them dies and returns (tests/interop/paced.py).
PACED_RATE: packets a second, 2000 by default.

                              vti-a 169.254.1.1/30 --- 169.254.1.2 ipsec0
                                                 192.0.2.2 west-a (strongSwan, BIRD) 10.2.0.1
  lan-e 10.1.0.10 --- east 192.0.2.1 --- net ---<                                             >--- lan-w 10.2.0.10
        fd00:1::10    espgate          (switch)  192.0.2.3 west-b (strongSwan, BIRD) 10.2.0.2          fd00:2::10
                              vti-b 169.254.1.5/30 --- 169.254.1.6 ipsec0
"""
import os
import time

import bird
import swan
from base import EAST, EAST_LAN, PSK, LabCase, to_lan
from gateway import Gateway, configuration, tunnel
from lab import wait_until
from paced import Paced
from topologies import Dual

PEERS = {"west-a": ("192.0.2.2", 1), "west-b": ("192.0.2.3", 5)}
RATE = float(os.environ.get("PACED_RATE", "2000"))
FLOWS = 32
LEAST_BLOCKED = 0.08  # seconds


def words_of(text):
    """What the shell has wrapped, on one line."""
    return " ".join(text.split())


def far(first):
    return f"169.254.1.{first + 1}"


def peer(space, name):
    connection = swan.connection(PEERS[name][0], EAST, f"{name}.example", "east.example")
    return swan.Swan(space, {"east": connection}, [(f"{name}.example", "east.example", PSK)])


def near(first):
    return f"169.254.1.{first}"


def watched_tunnels(watch, **interface):
    """`watch`: of the address of the far end, what the tunnel says besides. `interface`: what its interface says."""
    return [tunnel(name, EAST, address, "east.example", f"{name}.example", PSK, dpd="5s",
                   interface={"name": "vti-" + name[-1], "addresses": [f"{near(first)}/30"], **interface},
                   **watch(far(first))) for name, (address, first) in PEERS.items()]


PORTS = [("lan", "lan", EAST_LAN), ("wan", "wan", [EAST + "/24"])]


class Stream:
    """Paced UDP from the LAN in the east to the one in the west. `more`: paced.py's options."""

    def __init__(self, net, rate, to="10.2.0.10", **more):
        self.paced = Paced((net.lan_e, "10.1.0.10"), (net.lan_w, to), rate, FLOWS, **more)

    def finish(self):
        """(seconds that each flow that lost something was blocked, packets lost, packets sent, the rate that came to
        be). What a machine without time for it loses here and there blocks nobody: what is lost in a row counts."""
        time.sleep(2)
        account = self.paced.stop()
        blocked = [flow["in_a_row"] * FLOWS / account["rate"] for flow in account["lost_by_flow"].values()]
        return blocked, account["lost"], account["sent"], account["rate"]


class Watched(LabCase):
    """Two strongSwans; `watch` says how they are watched."""

    with_bird = False
    most = 0.2  # seconds that a flow may be blocked by a death, by packets lost over those offered

    @classmethod
    def why_not(cls):
        return super().why_not() or (bird.why_not() if cls.with_bird else None)

    @classmethod
    def build(cls):
        cls.net = Dual(cls.lab)
        cls.spaces = {"west-a": cls.net.west_a, "west-b": cls.net.west_b}

    @staticmethod
    def watch(address):
        raise NotImplementedError

    def gateway(self):
        return Gateway(self.net.east, configuration("east", PORTS, watched_tunnels(self.watch), to_lan(2, group="west"),
                                                    [{"name": "west", "tunnels": list(PEERS)}]))

    @staticmethod
    def bird_text(first):
        return bird.bfd("ipsec0", far(first), near(first))

    def stream(self):
        return Stream(self.net, RATE)

    def setUp(self):
        self.peers, self.birds = {}, {}
        for name in PEERS:
            self.start_peer(name)
        self.east = self.stop_after(self.gateway()).start()
        self.east.process.comes_first()  # what else runs here is no part of what is measured
        self.east.wait_up(*PEERS)
        self.wait_alive(*PEERS)

    def start_peer(self, name):
        space, first = self.spaces[name], PEERS[name][1]
        self.peers[name] = self.stop_after(peer(space, name).start())
        self.peers[name].process.comes_first()
        space.address("ipsec0", f"{far(first)}/30")
        if self.with_bird and name not in self.birds:
            self.birds[name] = bird.Bird(space, PEERS[name][0], self.bird_text(first)).start()
            self.birds[name].process.comes_first()
            self.addCleanup(self.birds[name].stop)

    def far_end(self, name):
        return self.east.tunnels()[name].get("far_end", {"alive": None, "reason": "nothing is known"})

    def wait_alive(self, *names, alive=True, seconds=40):
        for name in names:
            wait_until(lambda name=name: self.far_end(name)["alive"] is alive, seconds,
                       lambda name=name: f"{name} is {'alive' if alive else 'lost'}: {self.east.tunnels()[name]}\n"
                                         f"{self.clues()}\n{self.peers[name].log()[-3000:]}")

    def wait_birds_up(self):
        """BIRD is so when it has heard that we are."""
        for each in self.birds.values():
            wait_until(lambda each=each: "Up" in each.sessions(), 10, each.sessions)

    def fail_over(self, kill, reason):
        """Kills west-b's end under traffic: how long were flows blocked?"""
        stream = self.stream()
        time.sleep(2)
        kill()
        self.wait_alive("west-b", alive=False, seconds=10)
        why = self.far_end("west-b")["reason"]
        blocked, lost, total, rate = stream.finish()
        self.assertIn(reason, why)
        moved = [seconds for seconds in blocked if seconds > LEAST_BLOCKED]
        print(f"{self.id().split('.')[-1]}: {lost} of {total} packets lost at {rate:.0f} a second; of {len(moved)} flows "
              f"that were moved each was blocked for {1000 * max(moved, default=0):.0f} ms at most")
        print(self.clues())
        self.assertGreater(rate, RATE / 4)
        self.assertGreater(len(moved), FLOWS // 8, "west-b carried flows")
        self.assertLess(len(moved), FLOWS, "west-a did so, too, and its flows were not touched")
        self.check_blocked(max(moved) * rate / RATE)

    def clues(self):
        """Who may have lost packets, by their own account, or was kept from its work; and what became of the sessions."""
        def discards(space):
            return " ".join(space.run("nstat", "-asz", "UdpRcvbufErrors", "IpInDiscards", "IpOutDiscards").stdout.split()[1:])
        return "\n".join([
            *(f"{name}: {discards(space)}" for name, space in (*self.spaces.items(), ("lan-w", self.net.lan_w))),
            f"espgate's drops: {self.east.drops()}; its threads were kept from their work for "
            f"{1000 * self.east.kept_from_work():.0f} ms",
            self.east.shell("show", "log").stdout, *(each.sessions() for each in self.birds.values())])

    def check_blocked(self, seconds):
        """What a busy machine took from the gateway comes on top."""
        self.assertLess(seconds, self.most + self.east.kept_from_work())

    def come_back(self, revive=None):
        """West-b's end is back under traffic: nothing is lost by that."""
        before = self.east.settled_tunnels()["west-b"]["tx_packets"]
        stream = self.stream()
        (revive or (lambda: self.start_peer("west-b")))()
        self.wait_alive("west-b", seconds=90)
        _, lost, total, rate = stream.finish()
        taken = self.east.settled_tunnels()["west-b"]["tx_packets"] - before
        print(f"{self.id().split('.')[-1]}: back: {lost} of {total} packets lost at {rate:.0f} a second")
        print(self.clues())
        self.assertGreater(taken, 0, "it has its share again")
        self.assertLess(lost, total / 200)
