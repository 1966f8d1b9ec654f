#!/usr/bin/python3
"""
OpenIKED 7.2, with a Linux kernel's ESP, in both roles. The network is in guest_case.py.
"""
import tempfile
import unittest

from guest_case import EAST_NETS, GuestCase, WEST_NETS, east_gateway
import openiked
import pki
from base import EAST, PSK, WEST, east_tunnel
from lab import Ping, ping, wait_until

ALONE = "the guest is a machine in software, which takes a CPU"

EAST_NET, WEST_NET = EAST_NETS.split(",")[0], WEST_NETS.split(",")[0]
# With Linux its ESP has no AES-GCM, and of the hashes SHA-1 alone.
ESP = "childsa enc aes-256 auth hmac-sha1"
IKE = "ikesa enc aes-256 prf hmac-sha2-384 auth hmac-sha2-384 group ecp384"
BY_KEY = f'psk "{PSK}"'


def policy(mode, ike=IKE, esp=ESP, auth=BY_KEY, ours="west.example", lifetimes=""):
    """West's, as its users write it."""
    return (f'ikev2 "east" {mode} esp from {WEST_NET} to {EAST_NET} local {WEST} peer {EAST} {ike} {esp} '
            f'srcid {ours} dstid east.example {lifetimes} {auth}')


def tunnel(**more):
    """East's."""
    return east_tunnel(selectors={"local": [EAST_NET], "remote": [WEST_NET]}, esp=["aes256-sha1"], legacy=True, **more)


class OpenIked(GuestCase):
    @classmethod
    def why_not(cls):
        return super().why_not() or openiked.why_not()

    @classmethod
    def programs(cls):
        folder = tempfile.mkdtemp(dir=cls.lab.directory)
        cls.authority = pki.Authority(folder, "root")
        certificate, key = cls.authority.issue("west", "p256")
        return openiked.programs() | {"/etc/iked/private/local.key": key, "/etc/iked/certs/west.crt": certificate,
                                      "/etc/iked/ca/ca.crt": cls.authority.certificate}

    @classmethod
    def build(cls):
        super().build()
        cls.west.batch([f"route add {EAST_NET} via {EAST} dev wan"])
        cls.swan = openiked.Iked(cls.west)

    def bring_up(self, initiator, ours, **theirs):
        """espgate, with the tunnel `ours` up, begun by "east" or "west"."""
        east = self.stop_after(east_gateway(self.net.east, {**ours, "start": "initiate" if initiator == "east" else "wait"},
                                            routes=[{"to": WEST_NET, "tunnel": "west"}]))
        self.addCleanup(self.swan.stop)
        if initiator == "west":
            east.start()
        self.swan.start(policy("passive" if initiator == "east" else "active", **theirs))
        if initiator == "east":
            east.start()
        east.wait_up("west")
        [row] = east.json("show", "ike", "sa")
        self.assertEqual((row["role"], row["software"]), ("initiator" if initiator == "east" else "responder", "OpenIKED-7.2"))
        return east

    def both_roles(self, ours, **theirs):
        for initiator in ("east", "west"):
            with self.subTest(initiator=initiator):
                east = self.bring_up(initiator, ours, **theirs)
                self.assertTrue(ping(self.net.lan_e, "10.2.0.10"))
                self.check_drops(east)
                self.swan.stop()
                east.stop()

    def test_its_defaults_and_a_shared_key(self):
        self.both_roles(tunnel(ike=["aes256-sha256-x25519"]), ike="")

    def test_certificates(self):
        certificate, key = self.authority.issue("east", "p256")
        ours = tunnel()
        del ours["psk"]
        ours["local"] |= {"certificate": certificate, "key": key}
        ours["remote"] |= {"authorities": [self.authority.certificate]}
        self.both_roles(ours, auth="ecdsa256")

    def test_rekeys(self):
        """By who has begun, child SA and IKE SA, under pings: none is lost, and one SA is left. But when OpenIKED has begun
        there is a moment in which its kernel has one SA no more or the other not yet, and counts what comes then."""
        short = tunnel()
        short["ike"]["lifetime"] = "60s"
        for initiator, ours, lifetimes in (("east", short, ""), ("west", tunnel(), "ikelifetime 30 lifetime 15")):
            with self.subTest(by=initiator):
                east = self.bring_up(initiator, ours, lifetimes=lifetimes)
                flow = self.stop_after(Ping(self.net.lan_e, "10.2.0.10", interval=0.02)).wait_answered()
                came_amiss = self.came_amiss()
                self.anew(east, "ipsec", lambda: initiator == "west" or east.shell("rekey", "tunnel", "west"))
                self.anew(east, "ike")
                sent, missing = flow.stop()
                self.assertGreater(sent, 50)
                self.assertLessEqual(len(missing), self.came_amiss() - came_amiss if initiator == "west" else 0,
                                     f"{missing} lost of {sent} pings; dropped: {east.drops()}")
                self.swan.stop()
                east.stop()

    def came_amiss(self):
        """Packets for an SA that the guest does not have any more, or has not made valid yet."""
        counters = dict(line.split() for line in self.west.run("cat /proc/net/xfrm_stat").stdout.splitlines())
        return int(counters["XfrmInNoStates"]) + int(counters["XfrmAcquireError"])


if __name__ == "__main__":
    unittest.main()
