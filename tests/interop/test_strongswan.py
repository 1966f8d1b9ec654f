#!/usr/bin/python3
"""
espgate (east) against strongSwan (west), each as initiator and as responder:

  lan-e 10.1.0.10 --- east 192.0.2.1 ---wan--- 192.0.2.2 west --- lan-w 10.2.0.10
        fd00:1::10    espgate                     strongSwan            fd00:2::10
"""
import unittest

from base import (EAST, EAST6, WEST, WEST6, LabCase, east_configuration, east_gateway, east_tunnel, on_af_xdp,
                  west_swan, why_no_xdp)
from gateway import Gateway
from lab import Capture, Ping, ping, stop_all, wait_until
from topologies import Single


class Tunnels(LabCase):
    """A tunnel between `EAST` and `WEST`, and pings through it."""

    EAST, WEST, LENGTH = EAST, WEST, 24

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab)
        if cls.WEST != WEST:
            cls.net.west.address("wan", f"{cls.WEST}/{cls.LENGTH}")

    @classmethod
    def east_gateway(cls, device=None, **tunnel):
        """`device`: changes the device of the port `wan` of a configuration."""
        config = east_configuration(east_tunnel(local=cls.EAST, remote=cls.WEST, **tunnel),
                                    wan=f"{cls.EAST}/{cls.LENGTH}")
        return Gateway(cls.net.east, device(config, "wan") if device else config)

    @classmethod
    def west_swan(cls, settings=None, **connection):
        return west_swan(cls.net.west, settings, local=cls.WEST, remote=cls.EAST, **connection)

    def gateways(self, ike, esp, start, settings=None, swan_ike=None, device=None):
        ike = [ike] if isinstance(ike, str) else ike
        east = self.stop_after(self.east_gateway(device, ike=ike, esp=[esp], start=start, legacy=True))
        west = self.stop_after(self.west_swan(settings, ike=swan_ike or ike[0], esp=esp))
        return east, west

    def check_traffic(self):
        # A busy machine may lose a ping in a veth's queue; that none is lost is what other tests count.
        wait_until(lambda: ping(self.net.lan_e, "10.2.0.10"), 20, "IPv4 through the tunnel")
        wait_until(lambda: ping(self.net.lan_e, "fd00:2::10"), 20, "IPv6 through the tunnel")
        wait_until(lambda: ping(self.net.lan_w, "10.1.0.10"), 20, "IPv4 from the other side")

    def initiate(self, ike, esp, **more):
        east, west = self.gateways(ike, esp, "initiate", **more)
        west.start()
        east.start()
        east.wait_up("west")
        self.check_traffic()
        return east, west

    def respond(self, ike, esp, **more):
        east, west = self.gateways(ike, esp, "wait", **more)
        east.start()
        west.start()
        west.initiate("east")
        east.wait_up("west")
        self.check_traffic()
        return east, west


class Negotiation(Tunnels):
    # The first KE payload is of a group that the other side does not take: INVALID_KE_PAYLOAD names the right one.
    def test_invalid_ke_as_initiator(self):
        _, west = self.initiate("aes256-sha384-x25519-ecp384", "aes256gcm16", swan_ike="aes256-sha384-ecp384")
        self.assertIn("N(INVAL_KE)", west.log())
        self.shows("Exchange", "INVALID_KE_PAYLOAD, and another group", "initiator")

    def test_invalid_ke_as_responder(self):
        _, west = self.respond("aes256-sha384-ecp384", "aes256gcm16", swan_ike="aes256-sha384-x25519-ecp384")
        self.assertIn("N(INVAL_KE)", west.log())
        self.shows("Exchange", "INVALID_KE_PAYLOAD, and another group", "responder")

    # strongSwan cuts what is over 300 bytes: IKE_AUTH comes in fragments (RFC 7383).
    def test_fragmented_ike_received_as_responder(self):
        _, west = self.respond("aes256-sha384-ecp384", "aes256gcm16", settings={"fragment_size": "300"})
        self.assertIn("splitting IKE", west.log())

    def test_fragmented_ike_received_as_initiator(self):
        _, west = self.initiate("aes256-sha384-ecp384", "aes256gcm16", settings={"fragment_size": "300"})
        self.assertIn("splitting IKE", west.log())

    # West's route to east has a small MTU: its kernel cuts UDP, whatever is in it.
    @unittest.skipIf(why_no_xdp(), why_no_xdp())
    def test_ike_in_ip_fragments(self):
        self.net.west.ip("route", "add", EAST + "/32", "dev", "wan", "mtu", "lock", "300")
        self.addCleanup(self.net.west.ip, "route", "delete", EAST + "/32", "dev", "wan")
        capture = Capture(self.net.west, "wan", "src host " + WEST + " and ip[6:2] & 0x3fff != 0")
        east, _ = self.respond("aes256-sha384-ecp384", "aes256gcm16", settings={"fragment_size": "1200"},
                               device=on_af_xdp)
        capture.stop()
        self.assertGreater(capture.count("udp"), 1)
        wait_until(lambda: east.json("show", "version")["reassembled"] > 1, 10, "they are counted")
        self.assertEqual([name for name in east.drops() if "fragment" in name or "reassembly" in name], [])

    # A half-open SA makes strongSwan ask for cookies: IKE_AUTH of a first attempt is kept from it.
    def test_cookie_is_answered(self):
        east, west = self.gateways("aes256-sha384-ecp384", "aes256gcm16", "initiate",
                                   settings={"cookie_threshold": "1", "block_threshold": "0"})
        self.net.west.nft("table inet hold { chain in { type filter hook input priority 0; "
                          "udp dport 4500 drop; }; }")
        west.start()
        east.start()
        wait_until(lambda: "parsed IKE_SA_INIT request" in west.log(), 30, "a first IKE_SA_INIT")
        east.shell("reset", "tunnel", "west")
        wait_until(lambda: "N(COOKIE) SA" in west.log(), 30, "an IKE_SA_INIT with a cookie")
        self.net.west.nft("delete table inet hold")
        east.wait_up("west", seconds=60)
        self.check_traffic()
        self.shows("Exchange", "COOKIE", "initiator")


class OverIpv6(Tunnels):
    """The same with IPv6 outside: east 2001:db8::1, west 2001:db8::2."""

    EAST, WEST, LENGTH = EAST6, WEST6, 64

    def test_initiator(self):
        self.initiate("aes256gcm16-prfsha384-ecp384", "aes256gcm16-ecp384")

    def test_responder(self):
        self.respond("aes128-sha256-modp2048", "aes128-sha256-modp2048")

    def test_fragmented_ike_received(self):
        _, west = self.respond("aes256-sha384-ecp384", "aes256gcm16", settings={"fragment_size": "300"})
        self.assertIn("splitting IKE", west.log())

    # IKE_SA_INIT can't be fragmented by IKE itself: what is larger than 1280 bytes goes in fragments of IPv6, made by
    # espgate and put together by the kernel.
    def test_ike_sent_in_ipv6_fragments(self):
        ciphers = [f"aes{bits}-sha{digest}-{groups}" for bits in (256, 128) for digest in (512, 384, 256) for groups in
                   ("modp4096-ecp521-x25519", "modp4096-ecp256-modp3072")]
        capture = Capture(self.net.west, "wan", "ip6 src " + EAST6 + " and ip6[6] = 44")
        self.initiate(ciphers, "aes256gcm16", swan_ike="aes256-sha512-modp4096")
        capture.stop()
        self.assertGreaterEqual(capture.count(), 2)


class Rekey(Tunnels):
    """Rekeys from either side under a running flood of pings: none may be lost."""

    @classmethod
    def build(cls):
        super().build()
        cls.west = cls.west_swan().start()
        cls.east = cls.east_gateway().start()
        cls.east.wait_up("west")

    def under_pings(self, act, changed):
        """Runs `act` under pings in both directions until `changed()`; then some more, so that old SAs go as well."""
        flows = [Ping(self.net.lan_e, "10.2.0.10"), Ping(self.net.lan_w, "10.1.0.10"),
                 Ping(self.net.lan_e, "fd00:2::10")]
        wait_until(lambda: all("icmp_seq=50" in flow.process.output() for flow in flows), 20, "pings run")
        act()
        wait_until(changed, 20, lambda: f"the rekey: {self.west.sas()}")
        wait_until(lambda: self.west.sas().count("INSTALLED") == 1, 30, "the old child SA is gone")
        wait_until(lambda: True, 1, "")
        counts = stop_all(flows, settle=6)
        for sent, missing in counts:
            self.assertGreater(sent, 100)
            self.assertEqual(missing, [], f"lost of {sent} pings")

    def child_spis(self):
        return {(row["inbound_spi"], row["outbound_spi"]) for row in self.east.json("show", "ipsec", "sa")}

    def ike_spis(self):
        return {(row["initiator_spi"], row["responder_spi"]) for row in self.east.json("show", "ike", "sa")}

    def test_child_by_strongswan(self):
        before = self.child_spis()
        self.under_pings(lambda: self.west.swanctl("--rekey", "--child", "net"),
                         lambda: not before & self.child_spis())

    def test_child_by_espgate(self):
        before = self.child_spis()
        self.under_pings(lambda: self.east.shell("rekey", "tunnel", "west"),
                         lambda: self.child_spis() - before)

    def test_ike_by_strongswan(self):
        before = self.ike_spis()
        self.under_pings(lambda: self.west.swanctl("--rekey", "--ike", "east"),
                         lambda: self.ike_spis() and not before & self.ike_spis())


class RekeyOverIpv6(Rekey):
    EAST, WEST, LENGTH = EAST6, WEST6, 64


class ShortLifetimes(LabCase):
    """espgate's own timers: an IKE SA of 16 s and child SAs of 8 s, rekeyed again and again under pings."""

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab)
        cls.west = west_swan(cls.net.west).start()
        cls.east = east_gateway(cls.net.east, east_tunnel(ike_more={"lifetime": "16s"},
                                                          esp_more={"lifetime": "8s"})).start()
        cls.east.wait_up("west")

    def test_no_ping_is_lost(self):
        flow, back = Ping(self.net.lan_e, "10.2.0.10"), Ping(self.net.lan_w, "10.1.0.10")
        children, ikes = set(), set()

        def enough():
            children.update(row["inbound_spi"] for row in self.east.json("show", "ipsec", "sa"))
            ikes.update(row["initiator_spi"] for row in self.east.json("show", "ike", "sa"))
            return len(children) >= 4 and len(ikes) >= 3
        wait_until(enough, 60, lambda: f"four child SAs and three IKE SAs: {children} {ikes}")
        for sent, missing in (flow.stop(), back.stop()):
            self.assertEqual(missing, [], f"lost of {sent} pings")


class ControlDeath(LabCase):
    """kill -9 of espgate-control under pings: a new one makes new SAs with strongSwan before the old ones go."""

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab)
        cls.west = west_swan(cls.net.west).start()
        cls.east = east_gateway(cls.net.east).start()
        cls.east.wait_up("west")

    def test_no_ping_is_lost(self):
        flow, back = Ping(self.net.lan_e, "10.2.0.10"), Ping(self.net.lan_w, "10.1.0.10")
        self.east.kill("espgate-control")
        wait_until(lambda: self.east.json("show", "ike", "sa"), 20, "a new IKE SA")
        for sent, missing in (flow.stop(settle=12), back.stop()):
            self.assertGreater(sent, 500)
            self.assertEqual(missing, [], f"lost of {sent} pings; dropped: {self.east.drops()}")
        wait_until(lambda: not self.east.tunnels()["west"]["adopted"], 20, "it stands on SAs of its own")


class Wire(LabCase):
    """What an onlooker between the gateways sees, while there is no tunnel and while there is one."""

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab)

    def seen_in_clear(self, capture):
        path = capture.stop()
        with open(path, "rb") as packets:
            marked = bytes.fromhex("7365637265742121") in packets.read()
        return marked or capture.count("net 10.0.0.0/8 or net fd00::/16") > 0

    def send(self):
        for destination in ("10.2.0.10", "fd00:2::10"):
            self.net.lan_e.run("ping", "-n", "-c", "10", "-i", "0.1", "-W", "1", "-p", "7365637265742121", destination,
                               check=False)

    def test_plaintext_never_leaves(self):
        east = self.stop_after(east_gateway(self.net.east).start())
        capture = Capture(self.net.west, "wan")
        self.send()
        self.assertFalse(self.seen_in_clear(capture), "before there is a tunnel")
        wait_until(lambda: east.drops().get("tunnel-down", 0) >= 10, 10, lambda: str(east.drops()))

        west = self.stop_after(west_swan(self.net.west).start())
        east.shell("reset", "tunnel", "west")
        east.wait_up("west", seconds=40)
        capture = Capture(self.net.west, "wan")
        self.send()
        self.assertFalse(self.seen_in_clear(capture), "while the tunnel is up")
        self.assertGreaterEqual(capture.count("udp port 4500"), 20)

        capture = Capture(self.net.west, "wan")
        west.stop()
        east.wait_down("west")
        self.send()
        self.assertFalse(self.seen_in_clear(capture), "after the tunnel went down")


if __name__ == "__main__":
    unittest.main()
