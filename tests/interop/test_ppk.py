#!/usr/bin/python3
"""
Post-quantum pre-shared keys (RFC 8784) with strongSwan, as initiator and as responder.

  lan-e --- east 192.0.2.1 ---wan--- 192.0.2.2 west --- lan-w
            espgate                     strongSwan
"""
import os
import unittest

from base import WEST_SECRETS, LabCase, east_gateway, east_tunnel, west_connection, west_swan
from lab import ping, wait_until
from test_refusals import explained, wait_words
from topologies import Single

SECRET = "0x" + bytes(range(32)).hex()
OTHER = "0x" + bytes(range(32, 64)).hex()


class PpkCase(LabCase):
    @classmethod
    def build(cls):
        cls.net = Single(cls.lab)

    def file(self, name, secret):
        path = os.path.join(self.lab.directory, name)
        with open(path, "w") as out:
            out.write(secret + "\n")
        os.chmod(path, 0o600)
        return path

    def east(self, start, ids=("a1",), use="required", secret=SECRET, **more):
        ppks = [{"id": name, "file": self.file(name, secret)} for name in ids]
        with_ppks = {"ppks": ppks, "ppk-use": use} if ppks else {}
        return self.stop_after(east_gateway(self.net.east, east_tunnel(start=start, **with_ppks, **more)))

    def west(self, ppk="a1", required=False, secret=SECRET):
        """`ppk`: the id; None: it has none."""
        more = {"ppk_id": ppk, "ppk_required": "yes" if required else "no"} if ppk else {}
        west = self.stop_after(west_swan(self.net.west))
        if os.path.exists(west.charon_log):  # that of the one before
            os.unlink(west.charon_log)
        west.configure({"east": west_connection(**more)}, WEST_SECRETS, [(ppk, secret)] if ppk else [])
        return west

    def begin(self, start, gateway, peer, check=True):
        if start == "initiate":
            peer.start()
            gateway.start()
        else:
            gateway.start()
            peer.start()
            peer.initiate("east", seconds=15 if check else 5, check=check)

    def both_ways(self, ours, theirs, ppk, with_rekeys=False):
        """Up, and packets pass, with this PPK in the keys or with none; whoever begins."""
        for start in ("initiate", "wait"):
            with self.subTest("espgate " + ("initiates" if start == "initiate" else "responds")):
                gateway, peer = self.east(start, **ours), self.west(**theirs)
                self.begin(start, gateway, peer)
                gateway.wait_up("west", seconds=30)
                wait_until(lambda: ping(self.net.lan_e, "10.2.0.10"), 20, "a ping through the tunnel")
                # Of a short life, it may just have a successor.
                self.assertEqual({row["ppk"] for row in gateway.json("show", "ike", "sa")}, {ppk})
                self.assertEqual("using PPK for PPK_ID" in peer.log(), bool(ppk))
                if with_rekeys:
                    self.rekeys(gateway, peer)
                gateway.stop()
                peer.stop()

    def rekeys(self, gateway, peer):
        """Of IKE SA, ours by its lifetime, and child SA from either side: all later keys have the PPK in them."""
        def replaced(what, key, action):
            def now():
                return {row[key] for row in gateway.json("show", what, "sa")}
            before = now()
            action()
            wait_until(lambda: now() and not now() & before, 30, f"another {key} than {before}")
        replaced("ike", "initiator_spi", lambda: None)
        replaced("ike", "initiator_spi", lambda: peer.swanctl("--rekey", "--ike", "east"))
        replaced("ipsec", "inbound_spi", lambda: gateway.shell("rekey", "tunnel", "west"))
        replaced("ipsec", "inbound_spi", lambda: peer.swanctl("--rekey", "--child", "net"))
        self.assertEqual({row["ppk"] for row in gateway.json("show", "ike", "sa")}, {"a1"})
        wait_until(lambda: ping(self.net.lan_e, "10.2.0.10"), 20, "a ping with the new keys")

    def refused(self, start, ours, theirs, words, explain=()):
        gateway, peer = self.east(start, **ours), self.west(**theirs)
        self.begin(start, gateway, peer, check=False)
        wait_words(gateway, "west", *words, seconds=60)
        explained(gateway, "west", *explain)
        self.assertFalse(gateway.up("west"))
        gateway.stop()
        peer.stop()


class Used(PpkCase):
    def test_required_and_rekeys(self):
        self.both_ways({"ike_more": {"lifetime": "16s"}}, {"required": True}, "a1", with_rekeys=True)

    def test_optional(self):
        self.both_ways({"use": "optional"}, {}, "a1")

    def test_optional_and_the_peer_has_none(self):
        self.both_ways({"use": "optional"}, {"ppk": None}, "")

    def test_optional_and_we_have_none(self):
        self.both_ways({"ids": ()}, {}, "")

    def test_optional_and_of_another_id(self):
        """As responder: strongSwan takes no other id than its own, though it may do without any."""
        gateway, peer = self.east("wait", ids=("b1",), use="optional"), self.west()
        self.begin("wait", gateway, peer)
        gateway.wait_up("west", seconds=30)
        wait_until(lambda: ping(self.net.lan_e, "10.2.0.10"), 20, "a ping through the tunnel")
        self.assertEqual([row["ppk"] for row in gateway.json("show", "ike", "sa")], [""])

    def test_one_of_several(self):
        gateway, peer = self.east("wait", ids=("a0", "a1", "a2")), self.west(required=True)
        self.begin("wait", gateway, peer)
        gateway.wait_up("west", seconds=30)
        self.assertEqual([row["ppk"] for row in gateway.json("show", "ike", "sa")], ["a1"])


class Refused(PpkCase):
    def test_another_secret_as_initiator(self):
        self.refused("initiate", {"secret": OTHER}, {}, ["AUTHENTICATION_FAILED", 'our PPK "a1"'],
                     ["compare the PPK with the peer's"])

    def test_another_secret_as_responder(self):
        self.refused("wait", {"secret": OTHER}, {}, ['the PPK "a1"', "is not the one that we have"],
                     ["compare the file of the PPK"])

    def test_another_secret_as_responder_where_the_peer_requires_it(self):
        self.refused("wait", {"secret": OTHER}, {"required": True}, ['its PPK "a1" is another one than ours'])

    def test_another_id(self):
        self.refused("wait", {"ids": ("b1",)}, {}, ['uses the PPK "a1", which we do not have', "we require one"],
                     ["give ppks the id that the peer names"])

    def test_we_require_one_and_the_peer_has_none(self):
        for start in ("initiate", "wait"):
            with self.subTest(start):
                self.refused(start, {}, {"ppk": None}, ["uses no PPK", "we require one"], ["ppk_id of the connection"])

    def test_the_peer_requires_one_and_we_have_none_as_initiator(self):
        self.refused("initiate", {"ids": ()}, {"required": True}, ["AUTHENTICATION_FAILED"],
                     ["if the peer requires a PPK (RFC 8784; strongSwan: ppk_required), give the tunnel ppks"])

    def test_the_peer_requires_one_and_we_have_none_as_responder(self):
        self.refused("wait", {"ids": ()}, {"required": True}, ["it uses a PPK", "we have none for it"],
                     ["give the tunnel the peer's PPK"])

    def test_ours_has_expired(self):
        ppks = [{"id": "a1", "file": self.file("a1", SECRET), "not-after": "2020-01-01"}]
        east = self.stop_after(east_gateway(self.net.east, east_tunnel(ppks=ppks))).start()
        wait_words(east, "west", "none of our PPKs is valid now", '"a1" has expired on 2020-01-01 23:59:59 UTC')
        explained(east, "west", "add a PPK that is valid now", 'PPKs: required: "a1" (has expired on')


if __name__ == "__main__":
    unittest.main()
