#!/usr/bin/python3
"""
What can't come about is said in words, on both sides, and tried again at a sane pace.

  lan-e --- east 192.0.2.1 ---wan--- 192.0.2.2 west --- lan-w
            espgate                     strongSwan or espgate
"""
import time
import unittest

from base import LabCase, east_gateway, east_tunnel, west_gateway, west_swan, west_tunnel
from lab import Capture, ping, wait_until
from topologies import Single

OTHER_PSK = "not the right horse"


def wait_words(gateway, name, *words, seconds=40):
    """Waits until the tunnel's last error has every one of the words; returns it."""
    def told():
        error = gateway.tunnels()[name].get("last_error") or ""
        return error if all(word.lower() in error.lower() for word in words) else None
    return wait_until(told, seconds, lambda: f"{words} in the last error: {gateway.tunnels()[name]}\n"
                                        f"{gateway.shell('show', 'log', check=False).stdout[-3000:]}")


def explained(gateway, name, *words):
    """What `explain tunnel` says, as text without line breaks; it must have every one of the words."""
    def told():
        text = " ".join(gateway.shell("explain", "tunnel", name).stdout.split())
        return text if all(word in text for word in words) else None
    return wait_until(told, 20, lambda: f"{words} in {gateway.shell('explain', 'tunnel', name).stdout}")


class AgainstStrongSwan(LabCase):
    @classmethod
    def build(cls):
        cls.net = Single(cls.lab)

    def initiating(self, words, swan=None, explain=(), **tunnel):
        self.stop_after(west_swan(self.net.west, **(swan or {})).start())
        east = self.stop_after(east_gateway(self.net.east, east_tunnel(**tunnel), routes=[])).start()
        wait_words(east, "west", *words)
        explained(east, "west", "what to change at the peer", *explain)
        self.assertFalse(east.up("west"))

    def responding(self, words, swan=None, explain=(), **tunnel):
        east = self.stop_after(east_gateway(self.net.east, east_tunnel(start="wait", **tunnel), routes=[])).start()
        west = self.stop_after(west_swan(self.net.west, **(swan or {})).start())
        west.initiate("east", seconds=5, check=False)
        wait_words(east, "west", *words)
        explained(east, "west", "what to change here", *explain)
        self.assertFalse(east.up("west"))

    def test_wrong_psk_as_initiator(self):
        self.initiating(["AUTHENTICATION_FAILED"], psk=OTHER_PSK,
                        explain=["compare the secret", "error: AUTHENTICATION_FAILED", "received IKE_AUTH response 1"])

    def test_wrong_psk_as_responder(self):
        self.responding(["pre-shared key", "west.example"], psk=OTHER_PSK, explain=["the secret: ours (not shown)"])

    def test_no_ike_proposal_as_initiator(self):
        self.initiating(["NO_PROPOSAL_CHOSEN", "aes128-sha256-modp2048"], ike=["aes128-sha256-modp2048"],
                        explain=["set ike.proposals to what the peer accepts", "one of ours: aes128-sha256-modp2048"])

    def test_no_ike_proposal_as_responder(self):
        self.responding(["offered aes256-sha384-ecp384", "no DH group in common"], ike=["aes128-sha256-modp2048"],
                        explain=["IKE DH group: ours modp2048; its ecp384", "IKE cipher: ours aes128; its aes256",
                                 "add what it offers to ike.proposals: aes256-sha384-ecp384"])

    def test_no_esp_proposal_as_initiator(self):
        self.initiating(["NO_PROPOSAL_CHOSEN", "aes128-sha1"], esp=["aes128-sha1"], legacy=True)

    def test_no_esp_proposal_as_responder(self):
        self.responding(["offered ESP aes256gcm16", "we accept aes128-sha1"], esp=["aes128-sha1"], legacy=True,
                        explain=["ESP cipher: ours aes128; its aes256gcm16"])

    def test_selectors_as_initiator(self):
        self.initiating(["TS_UNACCEPTABLE"], swan={"local_ts": "10.2.0.0/24", "remote_ts": "10.1.0.0/24"},
                        selectors={"local": ["172.16.0.0/24"], "remote": ["172.17.0.0/24"]})

    def test_selectors_as_responder(self):
        self.responding(["selector"], swan={"local_ts": "10.2.0.0/24", "remote_ts": "10.1.0.0/24"},
                        selectors={"local": ["172.16.0.0/24"], "remote": ["172.17.0.0/24"]},
                        explain=["local 10.1.0.0/24, remote 10.2.0.0/24"])

    # West's kernel says so by ICMP, as no strongSwan runs.
    def test_nobody_listens(self):
        east = self.stop_after(east_gateway(self.net.east, east_tunnel(), routes=[])).start()
        wait_words(east, "west", "192.0.2.2 says that nobody listens on UDP port 500 of 192.0.2.2 (ICMP)", seconds=60)
        explained(east, "west", "start its IKE daemon")

    def test_an_ikev1_peer(self):
        east = self.stop_after(east_gateway(self.net.east, east_tunnel(start="wait"), routes=[])).start()
        west = self.stop_after(west_swan(self.net.west, version="1").start())
        west.initiate("east", seconds=5, check=False)
        wait_words(east, "west", "speaks IKEv1")
        explained(east, "west", "set it to IKEv2")

    # ESP is dropped on its way to us; IKE, and its DPD, are not. With libipsec it is in UDP port 4500, where IKE has a
    # marker of zeros in the first four bytes.
    def test_traffic_one_way_only(self):
        # From the beginning on: what west's kernel says of itself into its end of the tunnel would be a packet, too.
        self.net.west.nft("table inet hold { chain out { type filter hook output priority 0; "
                          "udp sport 4500 @th,64,32 != 0 drop; }; }")
        self.addCleanup(self.net.west.nft, "delete table inet hold")
        self.stop_after(west_swan(self.net.west).start())
        east = self.stop_after(east_gateway(self.net.east)).start()
        east.wait_up("west")
        ping(self.net.lan_e, "10.2.0.10", count=20, interval=0.1)
        explained(east, "west", "packets went out by these SAs, and none came back", "asymmetric routing",
                  "let UDP port 4500 from 192.0.2.2")

    def test_the_peers_software_and_counters(self):
        self.stop_after(west_swan(self.net.west, settings={"send_vendor_id": "yes"}).start())
        east = self.stop_after(east_gateway(self.net.east)).start()
        east.wait_up("west")
        self.assertEqual([row["software"] for row in east.json("show", "ike", "sa")], ["strongSwan"])
        counts = {row["notify"]: row for row in east.json("show", "ike", "counters")}
        self.assertGreaterEqual(counts["INITIAL_CONTACT"]["sent"], 1)
        self.assertGreaterEqual(counts["NAT_DETECTION_SOURCE_IP"]["received"], 1)

    def test_pace_of_retries(self):
        self.stop_after(west_swan(self.net.west).start())
        east = self.stop_after(east_gateway(self.net.east, east_tunnel(psk=OTHER_PSK))).start()
        wait_words(east, "west", "AUTHENTICATION_FAILED")
        capture = Capture(self.net.west, "wan", "udp port 500 and src host 192.0.2.1")
        time.sleep(25)
        capture.stop()
        attempts = capture.count()
        self.assertGreaterEqual(attempts, 1, "it does try again")
        self.assertLessEqual(attempts, 6, "and not in a hurry")


class AgainstItself(LabCase):
    """The same with espgate on both sides, so that both sides' words are seen."""
    needs_swan = False

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab, dpdk_west=True)

    def both(self, east_words, west_words, east=None, west=None):
        gate_w = self.stop_after(west_gateway(self.net.west, west_tunnel(start="wait", **(west or {})), routes=[])).start()
        gate_e = self.stop_after(east_gateway(self.net.east, east_tunnel(**(east or {})), routes=[])).start()
        wait_words(gate_e, "west", *east_words)
        wait_words(gate_w, "east", *west_words)

    def test_wrong_psk(self):
        self.both(["AUTHENTICATION_FAILED"], ["pre-shared key", "east.example"], east={"psk": OTHER_PSK})

    def test_no_common_proposal(self):
        self.both(["NO_PROPOSAL_CHOSEN"], ["offered aes128-sha256-modp2048", "no cipher in common"],
                  east={"ike": ["aes128-sha256-modp2048"]})

    def test_selectors_do_not_overlap(self):
        self.both(["TS_UNACCEPTABLE"], ["selector"],
                  east={"selectors": {"local": ["10.1.0.0/24"], "remote": ["10.2.0.0/24"]}},
                  west={"selectors": {"local": ["172.16.0.0/24"], "remote": ["172.17.0.0/24"]}})

    def test_nobody_answers(self):
        gate_e = self.stop_after(east_gateway(self.net.east)).start()
        error = wait_until(lambda: gate_e.tunnels()["west"].get("last_error"), 60, "a last error")
        self.assertIn("answer", error)
        explained(gate_e, "west", "let UDP ports 500 and 4500", "an IKE daemon must be running there", "sent 6 times")


if __name__ == "__main__":
    unittest.main()
