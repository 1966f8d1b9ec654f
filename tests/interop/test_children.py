#!/usr/bin/python3
"""
Several child SAs by one IKE SA, each a tunnel of its own, against strongSwan: set up, rekeyed, deleted and refused one by
one; rekeyed, reauthenticated and taken over all together. Two of them have the same remote network, so that only their
selectors tell whose a packet is.

  lan-e 10.1.0.10 --- east 192.0.2.1 ---wan--- 192.0.2.2 west --- lan-w 10.2.0.10
        10.1.1.10     espgate                     strongSwan             10.2.1.10
        10.1.2.10
"""
import unittest

import swan
from base import EAST, LabCase, WEST_SECRETS, east_configuration, east_tunnel, west_connection
from gateway import Gateway
from lab import Ping, ping, stop_all, wait_until
from topologies import Single

# Name, our network and the peer's. strongSwan has them by the same names.
NETWORKS = {"net": ("10.1.0.0/24", "10.2.0.0/24"), "voice": ("10.1.1.0/24", "10.2.1.0/24"),
            "staff": ("10.1.2.0/24", "10.2.0.0/24")}
FLOWS = {"net": ("10.1.0.10", "10.2.0.10"), "voice": ("10.1.1.10", "10.2.1.10"), "staff": ("10.1.2.10", "10.2.0.10")}


def selectors(name):
    ours, theirs = NETWORKS[name]
    return {"local": [ours], "remote": [theirs]}


def east_children(**parent):
    """The parent, whose IKE SA is everybody's, and two children."""
    first = {**east_tunnel(selectors=selectors("net"), **parent), "name": "net"}
    config = east_configuration(first, *({"name": name, "parent": "net", "selectors": selectors(name)}
                                         for name in ("voice", "staff")),
                                routes=[{"to": "10.2.0.0/24", "group": "both"}, {"to": "10.2.1.0/24", "tunnel": "voice"}])
    config["groups"] = [{"name": "both", "by": "selectors", "tunnels": ["net", "staff"]}]
    config["ports"][0]["addresses"] = ["10.1.0.1/24", "10.1.1.1/24", "10.1.2.1/24"]
    return config


def west_children(names=tuple(NETWORKS), **more):
    connection = west_connection(**more)
    template = connection["children"].pop("net")
    for name in names:
        ours, theirs = NETWORKS[name]
        connection["children"][name] = {**template, "local_ts": theirs, "remote_ts": ours}
    return connection


class Children(LabCase):
    SETTINGS = {}
    WEST = {}
    EAST = {}
    UP = tuple(NETWORKS)

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab)
        cls.net.lan_e.address("eth0", "10.1.1.10/24", "10.1.2.10/24")
        cls.net.lan_w.address("eth0", "10.2.1.10/24")
        cls.net.west.address("lan", "10.2.1.1/24")
        cls.west = swan.Swan(cls.net.west, {"east": west_children(**cls.WEST)}, WEST_SECRETS, cls.SETTINGS).start()
        cls.east = Gateway(cls.net.east, east_children(**cls.EAST)).start()
        cls.begin()
        cls.east.wait_up(*cls.UP)

    @classmethod
    def begin(cls):
        pass

    def setUp(self):
        self.east.wait_up(*NETWORKS)
        self.wait_one_of_each()

    def spis(self, name):
        """Of its child SAs that carry what is sent, whoever negotiated them."""
        return {row["inbound_spi"] for row in self.east.json("show", "ipsec", "sa", name)
                if row["outbound_installed"] and not row["adopted"]}

    def wait_one_of_each(self):
        """One IKE SA and three child SAs, here and there."""
        def ours():
            return [len(self.east.json("show", "ike", "sa")), *(len(self.spis(name)) for name in NETWORKS)]

        def theirs():
            text = self.west.sas()
            return [text.count("ESTABLISHED"), *(sum(f"  {name}: #" in line and "INSTALLED" in line
                                                     for line in text.splitlines()) for name in NETWORKS)]
        wait_until(lambda: ours() == [1, 1, 1, 1] == theirs(), 100,
                   lambda: f"one of each: {ours()} {theirs()} {self.west.sas()}")

    def pings(self, *names):
        return {name: ping(self.net.lan_e, FLOWS[name][1], source=FLOWS[name][0]) for name in names or NETWORKS}

    def dropped_by_strongswan(self):
        """Its ESP in userspace has threads of its own: what one has taken in, another may have deleted the SA of."""
        return self.west.log().count("inbound ESP packet does not belong to an installed SA")

    def no_ping_lost(self, work, of_its_own=0):
        """But as many as strongSwan may and does say that it dropped by itself."""
        wait_until(lambda: all(self.pings().values()), 10, "pings")
        before = self.dropped_by_strongswan()
        flows = [Ping(self.net.lan_e, there, source=here, interval=0.02) for here, there in FLOWS.values()]
        for flow in flows:
            flow.wait_answered()
        work()
        lost = {}
        for name, (sent, missing) in zip(FLOWS, stop_all(flows, settle=3)):
            self.assertGreater(sent, 50)
            lost |= {name: missing} if missing else {}
        dropped = self.dropped_by_strongswan() - before
        self.assertLessEqual(sum(map(len, lost.values())), min(dropped, of_its_own),
                             f"lost: {lost}; dropped: {self.east.drops()}, and {dropped} by strongSwan")

    def replaced(self, name, begin):
        before = self.spis(name)
        begin()
        wait_until(lambda: self.spis(name) and not self.spis(name) & before, 30, f"a new child SA of {name}")


class ByEspgate(Children):
    def test_each_has_its_own(self):
        self.assertEqual(self.pings(), {name: True for name in NETWORKS})
        rows = self.east.json("show", "ipsec", "sa")
        self.assertEqual({row["tunnel"]: (row["local_selectors"], row["remote_selectors"]) for row in rows},
                         {name: ([ours], [theirs]) for name, (ours, theirs) in NETWORKS.items()})
        [ike] = self.east.json("show", "ike", "sa")
        self.assertEqual(sorted(ike["tunnels"]), sorted(NETWORKS))
        self.assertEqual(self.east.tunnels()["voice"]["parent"], "net")
        carried = {name: row["tx_packets"] for name, row in self.east.settled_tunnels().items()}
        self.assertTrue(all(packets > 0 for packets in carried.values()), carried)

    def test_what_is_nobodys_is_dropped(self):
        before = self.east.drops().get("outside-selectors-out", 0)
        self.net.lan_e.address("eth0", "10.1.3.10/24")
        self.assertFalse(ping(self.net.lan_e, "10.2.0.10", source="10.1.3.10", count=2, seconds=2))
        wait_until(lambda: self.east.drops().get("outside-selectors-out", 0) >= before + 2, 5, "drops")

    def test_rekeys_of_each_from_either_side(self):
        def rekeys():
            for name in NETWORKS:
                self.replaced(name, lambda: self.east.shell("rekey", "tunnel", name))
                self.replaced(name, lambda: self.west.swanctl("--rekey", "--child", name))
        self.no_ping_lost(rekeys)
        self.wait_one_of_each()

    def test_rekey_of_the_ike_sa(self):
        def spi():
            return {row["responder_spi"] for row in self.east.json("show", "ike", "sa")}

        def rekey():
            before = spi()
            self.west.swanctl("--rekey", "--ike", "east")
            wait_until(lambda: spi() and not spi() & before, 20, "another IKE SA")
        self.no_ping_lost(rekey)
        self.no_ping_lost(lambda: self.replaced("staff", lambda: self.east.shell("rekey", "tunnel", "staff")))

    def test_the_peer_deletes_one(self):
        others = self.spis("net") | self.spis("staff")
        self.replaced("voice", lambda: self.west.swanctl("--terminate", "--child", "voice"))
        self.assertEqual(self.spis("net") | self.spis("staff"), others)
        self.assertEqual(self.pings(), {name: True for name in NETWORKS})

    def test_one_is_reset(self):
        others = self.spis("net") | self.spis("voice")
        self.replaced("staff", lambda: self.east.shell("reset", "tunnel", "staff"))
        self.assertEqual(self.spis("net") | self.spis("voice"), others)
        self.wait_one_of_each()

    def test_the_control_process_is_killed(self):
        def kill():
            self.east.kill("espgate-control")
            wait_until(lambda: all(self.spis(name) for name in NETWORKS), 30, "child SAs of its own")
        self.no_ping_lost(kill)
        self.west.swanctl("--terminate", "--ike", "east", check=False)  # strongSwan has kept the former one, too
        self.east.wait_up(*NETWORKS)


class ByStrongswan(Children):
    """It begins with another than the parent's, which then comes with the IKE SA."""
    EAST = {"start": "wait"}

    @classmethod
    def begin(cls):
        for name in ("voice", "staff", "net"):
            cls.west.swanctl("--initiate", "--ike", "east", "--child", name, "--timeout", "15")

    def test_each_is_known_by_its_selectors(self):
        self.assertEqual(self.pings(), {name: True for name in NETWORKS})
        rows = self.east.json("show", "ipsec", "sa")
        self.assertEqual({row["tunnel"]: (row["local_selectors"], row["remote_selectors"]) for row in rows},
                         {name: ([ours], [theirs]) for name, (ours, theirs) in NETWORKS.items()})

    def test_the_same_one_twice(self):
        """strongSwan begins a child SA that is there once more: the newer one carries, and nothing is lost."""
        def again():
            self.west.swanctl("--initiate", "--ike", "east", "--child", "voice", "--timeout", "15", check=False)
        self.no_ping_lost(again)
        self.assertEqual(self.pings(), {name: True for name in NETWORKS})
        wait_until(lambda: self.west.swanctl("--terminate", "--child", "voice", check=False) and not self.spis("voice"), 20,
                   "voice is gone")
        self.west.swanctl("--initiate", "--ike", "east", "--child", "voice", "--timeout", "15")


class BothBegin(Children):
    WEST = {"start": "start"}

    def test_there_is_one_of_each(self):
        self.assertEqual(self.pings(), {name: True for name in NETWORKS})


class Reauthentication(Children):
    EAST = {"ike_more": {"reauth": "15s"}}
    OF_ITS_OWN = 0

    def authenticated(self):
        return self.west.log().count("authentication of 'west.example' (myself) with pre-shared key")

    def test_no_ping_is_lost(self):
        before = self.authenticated()
        self.no_ping_lost(lambda: wait_until(lambda: self.authenticated() >= before + 2, 60, "two more authentications"),
                          self.OF_ITS_OWN)
        self.assertEqual(self.pings(), {name: True for name in NETWORKS})


class ReauthenticationByStrongswan(Reauthentication):
    SETTINGS = {"make_before_break": "yes", "log": {"esp": 2}}  # a line for each packet
    WEST = {"reauth_time": "12s", "over_time": "5s", "rand_time": "1s"}
    EAST = {}
    OF_ITS_OWN = 2  # it deletes the SAs from before at once, twice in this test


class Refused(Children):
    """strongSwan does not have `voice`."""
    UP = ("net", "staff")
    WEST = {"names": UP}

    def setUp(self):
        pass

    def test_the_others_carry(self):
        self.assertEqual(self.pings("net", "staff"), {"net": True, "staff": True})
        def tried():
            row = self.east.tunnels()["voice"]
            return row["attempts"] >= 1 and row["state"] == "down" and row  # now and then it is being tried again
        row = wait_until(tried, 20, lambda: f"voice is tried, and down: {self.east.tunnels()['voice']}")
        self.assertIn("TS_UNACCEPTABLE", row["last_error"])
        told = self.east.json("explain", "tunnel", "voice")
        self.assertEqual((told["parent"], told["parent_state"]), ("net", "up"))
        self.assertIn("TS_UNACCEPTABLE", str(told["messages"]))
        self.assertEqual(self.east.json("explain", "tunnel", "net")["last_error"], "")


if __name__ == "__main__":
    unittest.main()
