#!/usr/bin/python3
"""
How IKE SAs and child SAs follow on one another, against strongSwan: reauthentication from either side, rekeys that
both sides begin at once while the wire loses IKE's messages, set-up without a child SA (RFC 6023), and a PFS group
that does not fit.

  lan-e 10.1.0.10 --- east 192.0.2.1 ---wan--- 192.0.2.2 west --- lan-w 10.2.0.10
                      espgate                     strongSwan
"""
import threading
import unittest

from base import LabCase, east_gateway, east_tunnel, west_swan
from lab import Ping, ping, stop_all, wait_until
from topologies import Single

# IKE has four bytes of zero where ESP in UDP has its SPI (RFC 3948). One message in five is lost, either way.
LOSSY = """
table inet loss {
  chain in { type filter hook input priority 0; udp dport 4500 @th,64,32 0 numgen random mod 5 0 drop; }
  chain out { type filter hook output priority 0; udp dport 4500 @th,64,32 0 numgen random mod 5 0 drop; }
}
"""


def words(text):
    """Without the line breaks that the shell makes."""
    return " ".join(text.split())


class Succession(LabCase):
    SETTINGS = {}
    CONNECTION = {}
    TUNNEL = {}

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab)
        cls.west = west_swan(cls.net.west, cls.SETTINGS, **cls.CONNECTION).start()
        cls.east = east_gateway(cls.net.east, east_tunnel(**cls.TUNNEL)).start()
        cls.east.wait_up("west")

    def ike_spis(self):
        return {(row["initiator_spi"], row["responder_spi"]) for row in self.east.json("show", "ike", "sa")}

    def child_spis(self):
        return {row["inbound_spi"] for row in self.east.json("show", "ipsec", "sa")}

    def wait_single(self):
        """One IKE SA and one child SA, here and there."""
        def single():
            theirs = self.west.sas()
            return (len(self.ike_spis()), len(self.child_spis())) == (1, 1) and (
                theirs.count("ESTABLISHED"), theirs.count("INSTALLED")) == (1, 1)
        wait_until(single, 100, lambda: f"one of each: {self.ike_spis()} {self.child_spis()} {self.west.sas()}")

    def wait_carried(self):
        wait_until(lambda: ping(self.net.lan_e, "10.2.0.10") and ping(self.net.lan_w, "10.1.0.10"), 20, "pings")

    def no_ping_lost_until(self, done, what, seconds=90):
        flows = [Ping(self.net.lan_e, "10.2.0.10"), Ping(self.net.lan_w, "10.1.0.10")]
        wait_until(done, seconds, what)
        for sent, missing in stop_all(flows, settle=6):
            self.assertGreater(sent, 100)
            self.assertEqual(missing, [], f"lost of {sent} pings")

    def authenticated(self):
        return self.west.log().count("authentication of 'west.example' (myself) with pre-shared key")


class ReauthenticationByEspgate(Succession):
    TUNNEL = {"ike_more": {"reauth": "12s"}}

    def test_no_ping_is_lost(self):
        before = self.authenticated()
        self.no_ping_lost_until(lambda: self.authenticated() >= before + 3, "three more authentications")
        self.assertIn("authentication is renewed", words(self.east.shell("show", "log").stdout))


class ReauthenticationByStrongswan(Succession):
    """strongSwan with make_before_break: a new IKE SA, then the old one is deleted."""
    SETTINGS = {"make_before_break": "yes"}
    CONNECTION = {"reauth_time": "10s", "over_time": "5s", "rand_time": "1s"}

    def test_no_ping_is_lost(self):
        before = self.authenticated()
        self.no_ping_lost_until(lambda: self.authenticated() >= before + 2, "two more authentications")


class BreakBeforeMake(Succession):
    """strongSwan as it is shipped deletes the IKE SA and begins anew, and so do we when it is gone."""
    SETTINGS = {"make_before_break": "no"}
    CONNECTION = {"reauth_time": "15s", "over_time": "5s", "rand_time": "1s"}

    def test_one_of_each_stays(self):
        before = self.authenticated()
        wait_until(lambda: self.authenticated() >= before + 2, 90, "two more authentications")
        self.wait_single()
        self.wait_carried()


class LifetimeInPackets(Succession):
    """A child SA ends with its packets or bytes: it is replaced before, and nothing is lost."""
    TUNNEL = {"esp_more": {"packets": 2000}}

    def test_no_ping_is_lost(self):
        seen = set()

        def three():
            seen.update(self.child_spis())
            return len(seen) >= 3
        self.no_ping_lost_until(three, lambda: f"three child SAs: {seen}")
        log = words(self.east.shell("show", "log").stdout)
        self.assertIn("nears its lifetime in bytes or packets", log)
        self.assertNotIn("is past its lifetime", log)


class LifetimeInBytes(LifetimeInPackets):
    TUNNEL = {"esp_more": {"bytes": "200k"}}


class Collisions(Succession):
    """Both rekey at the same time, over and over, and a fifth of IKE's messages is lost."""
    SETTINGS = {"retransmit_tries": 8, "retransmit_timeout": "0.5", "retransmit_base": "1.3"}
    ROUNDS = 5

    def both(self, ours, theirs):
        threads = [threading.Thread(target=self.east.shell, args=ours, kwargs={"check": False}),
                   threading.Thread(target=self.west.swanctl, args=theirs, kwargs={"check": False})]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def test_child_rekeys(self):
        self.net.west.nft(LOSSY)
        try:
            for number in range(self.ROUNDS):
                with self.subTest(number):
                    self.wait_single()
                    before = self.child_spis()
                    self.both(("rekey", "tunnel", "west"), ("--rekey", "--child", "net"))
                    wait_until(lambda: self.child_spis() - before, 90, "a new child SA")
        finally:
            self.net.west.nft("delete table inet loss\n")
        self.wait_single()
        self.wait_carried()

    def test_child_rekey_crosses_ike_rekey(self):
        self.net.west.nft(LOSSY)
        try:
            for number in range(self.ROUNDS):
                with self.subTest(number):
                    self.wait_single()
                    before = self.child_spis()
                    self.both(("rekey", "tunnel", "west"), ("--rekey", "--ike", "east"))
                    wait_until(lambda: self.child_spis() - before, 90, "a new child SA")
        finally:
            self.net.west.nft("delete table inet loss\n")
        self.wait_single()
        self.wait_carried()


class Childless(LabCase):
    """An IKE SA without a child SA, which strongSwan wants or is asked for."""

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab)

    def up(self, childless, start, connection):
        self.west = self.stop_after(west_swan(self.net.west, childless=connection)).start()
        self.east = self.stop_after(east_gateway(self.net.east, east_tunnel(
            start=start, ike_more={"childless": childless}))).start()
        if start == "wait":
            self.west.initiate("east")
        self.east.wait_up("west")
        wait_until(lambda: ping(self.net.lan_e, "10.2.0.10"), 20, "a ping")

    def test_as_initiator(self):
        self.up("require", "initiate", "force")
        self.assertIn("parsed CREATE_CHILD_SA request 2 [ SA No KE TSi TSr ]", self.west.log())

    def test_as_responder(self):
        self.up("allow", "wait", "force")
        self.assertIn("generating CREATE_CHILD_SA request 2 [ SA No KE TSi TSr ]", self.west.log())
        self.assertIn("without a child SA, as the peer asked", words(self.east.shell("show", "log").stdout))

    def test_the_peer_does_not_want_it(self):
        self.up("prefer", "initiate", "never")
        self.assertIn("parsed IKE_AUTH request 1 [ IDi N(INIT_CONTACT) IDr AUTH SA TSi TSr ]", self.west.log())


class Verify(LabCase):
    """The PFS groups differ: without `verify` nobody knows before the first rekey."""

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab)

    def test_told_at_set_up(self):
        self.stop_after(west_swan(self.net.west, esp="aes256gcm16-ecp256")).start()
        east = self.stop_after(east_gateway(self.net.east, east_tunnel(esp_more={"verify": True}))).start()
        east.wait_up("west")
        wait_until(lambda: "it is the group for PFS that does not fit" in str(east.tunnels()["west"]), 20,
                   lambda: f"the words: {east.tunnels()['west']} {east.shell('show', 'log').stdout}")
        wait_until(lambda: ping(self.net.lan_e, "10.2.0.10"), 20, "a ping")


if __name__ == "__main__":
    unittest.main()
