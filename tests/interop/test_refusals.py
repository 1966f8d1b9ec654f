#!/usr/bin/python3
"""
What can't come about is said in words, on both sides, and tried again at a sane pace.

  lan-e --- east 192.0.2.1 ---wan--- 192.0.2.2 west --- lan-w
            espgate                     strongSwan or espgate
"""
import time
import unittest

from base import LabCase, east_gateway, east_tunnel, west_gateway, west_swan, west_tunnel
from lab import Capture, wait_until
from topologies import Single

OTHER_PSK = "not the right horse"


def wait_words(gateway, name, *words):
    """Waits until the tunnel's last error has every one of the words; returns it."""
    def told():
        error = gateway.tunnels()[name].get("last_error") or ""
        return error if all(word.lower() in error.lower() for word in words) else None
    return wait_until(told, 40, lambda: f"{words} in the last error: {gateway.tunnels()[name]}\n"
                                        f"{gateway.shell('show', 'log', check=False).stdout[-3000:]}")


class AgainstStrongSwan(LabCase):
    @classmethod
    def build(cls):
        cls.net = Single(cls.lab)

    def initiating(self, words, swan=None, **tunnel):
        self.stop_after(west_swan(self.net.west, **(swan or {})).start())
        east = self.stop_after(east_gateway(self.net.east, east_tunnel(**tunnel), routes=[])).start()
        wait_words(east, "west", *words)
        self.assertFalse(east.up("west"))

    def responding(self, words, swan=None, **tunnel):
        east = self.stop_after(east_gateway(self.net.east, east_tunnel(start="wait", **tunnel), routes=[])).start()
        west = self.stop_after(west_swan(self.net.west, **(swan or {})).start())
        west.initiate("east", seconds=5, check=False)
        wait_words(east, "west", *words)
        self.assertFalse(east.up("west"))

    def test_wrong_psk_as_initiator(self):
        self.initiating(["AUTHENTICATION_FAILED"], psk=OTHER_PSK)

    def test_wrong_psk_as_responder(self):
        self.responding(["pre-shared key", "west.example"], psk=OTHER_PSK)

    def test_no_ike_proposal_as_initiator(self):
        self.initiating(["NO_PROPOSAL_CHOSEN", "aes128-sha256-modp2048"], ike=["aes128-sha256-modp2048"])

    def test_no_ike_proposal_as_responder(self):
        self.responding(["offered aes256-sha384-ecp384", "no DH group in common"], ike=["aes128-sha256-modp2048"])

    def test_no_esp_proposal_as_initiator(self):
        self.initiating(["NO_PROPOSAL_CHOSEN", "aes128-sha1"], esp=["aes128-sha1"], legacy=True)

    def test_no_esp_proposal_as_responder(self):
        self.responding(["offered ESP aes256gcm16", "we accept aes128-sha1"], esp=["aes128-sha1"], legacy=True)

    def test_selectors_as_initiator(self):
        self.initiating(["TS_UNACCEPTABLE"], swan={"local_ts": "10.2.0.0/24", "remote_ts": "10.1.0.0/24"},
                        selectors={"local": ["172.16.0.0/24"], "remote": ["172.17.0.0/24"]})

    def test_selectors_as_responder(self):
        self.responding(["selector"], swan={"local_ts": "10.2.0.0/24", "remote_ts": "10.1.0.0/24"},
                        selectors={"local": ["172.16.0.0/24"], "remote": ["172.17.0.0/24"]})

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


if __name__ == "__main__":
    unittest.main()
