#!/usr/bin/python3
"""
Manual keys, without IKE, against a Linux kernel's `ip xfrm state`: every ESP suite in every form at once. In tunnel
mode each pair of SAs has addresses of its own behind west (10.(100+FORM).ROW.1, fd00:100:N::1); in transport mode west
has an address for each on its port. The network is in guest_case.py.
"""
import itertools
import os
import unittest

from guest_case import EAST6, HARMLESS, WEST6, GuestCase, east_gateway
from base import EAST, WEST
from lab import Capture
from manual_sas import Pair
from test_suites import suites

ALONE = "the guest is a machine in software, which takes a CPU"

OVER_IPV4, OVER_IPV6 = (EAST, WEST), (EAST6, WEST6)
EAST_NETS = ("10.1.0.0/24", "fd00:1::/64")
FORM = 64  # numbers of pairs for each form: more than there are suites

# All at once, each up to four times, for the machine is slow. What never answers is printed.
PINGS = """for address in {addresses}; do (
  for again in 1 2 3 4; do ping -n -q -c 1 -W 5 $address >/dev/null && exit; done; echo $address
) & done; wait"""


def behind_west(pair):
    form, row = divmod(pair.number, FORM)
    return f"10.{100 + form}.{row}.1", f"fd00:100:{pair.number:x}::1"


def on_port(form, row, family):
    """East's address, and one of west's."""
    return (EAST, f"192.0.2.{64 * form + row + 100}") if family == 4 else (EAST6, f"2001:db8::100:{FORM * form + row:x}")


def east_tunnel(pair, folder):
    return {"name": f"t{pair.number}", "local": {"address": pair.ends[0]}, "remote": {"address": pair.ends[1]},
            "mode": pair.mode, "manual": pair.east(folder), "legacy": "sha1" in pair.suite}


def routes(pair):
    lengths = zip(behind_west(pair), (32, 128))
    return [{"to": f"{address}/{length}", "tunnel": f"t{pair.number}"} for address, length in lengths]


def west_states(pair):
    return [f"xfrm state add {pair.state(receiver)}" for receiver in ("east", "west")]


class Manual(GuestCase):
    def bring_up(self, pairs, west, east_routes):
        """Both ends, west by these commands; what was there before goes."""
        before = ["xfrm state flush", "xfrm policy flush", "addr flush dev lan scope global",
                  "addr add 10.2.0.1/24 dev lan", "addr add fd00:2::1/64 dev lan",
                  "route replace 10.1.0.0/24 via 192.0.2.1", "route replace fd00:1::/64 dev wan"]
        self.west.batch(before + [command for pair in pairs for command in west_states(pair)] + west)
        folder = self.lab.directory
        east = self.stop_after(east_gateway(self.net.east, *(east_tunnel(pair, folder) for pair in pairs),
                                            routes=east_routes))
        east.configure({**east.config, "state-directory": os.path.join(folder, "state")})
        east.start()
        east.wait_up(*(f"t{pair.number}" for pair in pairs))
        return east

    def tunnels(self, *pairs):
        west = [f"addr add {address} dev lan" for pair in pairs for address in behind_west(pair)]
        west += [policy for pair in pairs for nets in zip(EAST_NETS, behind_west(pair)) for policy in pair.policies(*nets)]
        return self.bring_up(pairs, west, [route for pair in pairs for route in routes(pair)])

    def check(self, *pairs):
        """An echo and its answer through each pair of SAs, both families."""
        addresses = " ".join(address for pair in pairs for address in behind_west(pair))
        done = self.net.lan_e.run("sh", "-c", PINGS.format(addresses=addresses), timeout=120)
        missed = set(done.stdout.split())
        self.assertEqual([pair.suite for pair in pairs if missed.intersection(behind_west(pair))], [])

    def test_tunnel_mode(self):
        self.swan.start({}, [])  # whose socket on port 4500 is where the kernel looks for ESP
        self.addCleanup(self.swan.stop)
        forms = [{"ends": ends, "udp": udp, "esn": esn}
                 for ends, udp, esn in itertools.product((OVER_IPV4, OVER_IPV6), (False, True), (False, True))]
        of_form = [[Pair(suite, FORM * number + row, **form) for row, suite in enumerate(suites())]
                   for number, form in enumerate(forms)]
        east = self.tunnels(*itertools.chain(*of_form))
        self.check(of_form[0][0])  # alone, so that the neighbours are known
        for form, pairs in zip(forms, of_form):
            with self.subTest(**form):
                capture = Capture(self.net.host, "tap-wan")
                self.check(*pairs)
                capture.stop()
                kinds = ("udp port 4500", "ip proto 50 or ip6 proto 50")
                self.assertGreaterEqual(capture.count(kinds[0 if form["udp"] else 1]), len(pairs))
                self.assertEqual(capture.count(kinds[1 if form["udp"] else 0]), 0)
        self.check_drops(east)

    # Neighbour discovery stays in clear, as RFC 4301 has it nowhere and all hosts do.
    def test_transport_mode(self):
        forms = list(itertools.product((4, 6), (False, True)))
        of_form = [[Pair(suite, FORM * number + row, on_port(number, row, family), esn, "transport")
                    for row, suite in enumerate(suites())] for number, (family, esn) in enumerate(forms)]
        pairs = list(itertools.chain(*of_form))
        west = [f"addr replace {pair.ends[1]}/{32 if '.' in pair.ends[1] else 128} dev wan" for pair in pairs]
        west += [policy for pair in pairs for policy in pair.echo_policies()]
        east = self.bring_up(pairs, west, [])
        for (family, esn), pairs in zip(forms, of_form):
            with self.subTest(family=family, esn=esn):
                capture = Capture(self.net.host, "tap-wan")
                self.assertEqual(self.echoes(pairs), len(pairs))
                capture.stop()
                clear = "icmp or (icmp6 and (ip6[40] == 128 or ip6[40] == 129))"
                self.assertEqual(capture.count(clear), 0, "nothing in clear")
        # Each of west's addresses is a neighbour, for which a slow guest may not answer in time.
        self.assertLessEqual(set(east.drops()), HARMLESS | {"neighbour-unresolved", "icmp-error-quiet"})

    def echoes(self, pairs):
        """How many of west's addresses get echoes back from east; each has four tries."""
        each = [f"for again in 1 2 3 4; do ping -n -q -c 1 -W 3 -I {pair.ends[1]} {pair.ends[0]} && break; done"
                for pair in pairs]
        return self.west.run("\n".join(each), seconds=120, check=False).stdout.count(" 1 received")

    # The kernel passes over most of the numbers; the last steps cross 2^32.
    def test_esn_beyond_32_bits(self):
        pair = Pair("aes128gcm16", 0, OVER_IPV4, esn=True)
        east = self.tunnels(pair)
        self.check(pair)
        for number in (0x7fffff00, 0xfffff000, 0xfffffffe):
            self.west.batch([f"xfrm state delete src {WEST} dst {EAST} proto esp spi 0x{pair.spis['east']:x}",
                             f"xfrm state add {pair.state('east', f'replay-oseq {number}')}"])
            self.check(pair)
        self.assertIn("oseq-hi 0x1,", self.west.run("ip xfrm state").stdout)
        self.check_drops(east)


if __name__ == "__main__":
    unittest.main()
