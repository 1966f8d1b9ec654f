#!/usr/bin/python3
"""
OCSP responses that come along with certificates (RFC 4806): between two espgate, as strongSwan 5.9 knows nothing of it.
The responses are the openssl command's.

  lan-e --- east 192.0.2.1 ---wan--- 192.0.2.2 west --- lan-w
            espgate                     espgate or strongSwan
"""
import unittest

import pki
from base import EAST, WEST, west_gateway
from gateway import tunnel
from lab import ping, wait_until
from test_auth import AuthCase
from test_refusals import explained, wait_words


class Stapled(AuthCase):
    needs_swan = False

    def espgate_west(self, files, response, start):
        certificate, key = files
        chain = certificate.replace(".crt", ".pem")
        with open(chain, "w") as out:
            out.write(pki.read(certificate) + pki.read(self.middle.certificate))
        entry = tunnel("east", WEST, EAST, "west.example", "east.example", None, start=start)
        entry["local"].update({"certificate": chain, "key": key})
        if response:
            entry["local"]["ocsp-response"] = response
        entry["remote"]["authorities"] = [self.root.certificate]
        del entry["psk"]
        return self.stop_after(west_gateway(self.net.west, entry))

    def pair(self, files, response, east_starts, ocsp="require"):
        east = self.certified_east("p256", "initiate" if east_starts else "wait", remote={"ocsp": ocsp})
        west = self.espgate_west(files, response, "wait" if east_starts else "initiate")
        (west if east_starts else east).start()
        (east if east_starts else west).start()
        return east, west

    def check_up(self, response, ocsp="require"):
        for east_starts in (True, False):
            with self.subTest(east_starts=east_starts):
                east, west = self.pair(self.issued("west", "p256"), response, east_starts, ocsp)
                east.wait_up("west", seconds=30)
                wait_until(lambda: ping(self.net.lan_e, "10.2.0.10"), 20, "a ping through the tunnel")
                east.stop()
                west.stop()

    def check_not(self, files, response, *words, explain=()):
        for east_starts in (True, False):
            with self.subTest(east_starts=east_starts):
                east, west = self.pair(files, response, east_starts)
                wait_words(east, "west", *words)
                explained(east, "west", *explain)
                self.assertFalse(east.up("west"))
                east.stop()
                west.stop()

    def test_by_the_authority(self):
        self.check_up(self.middle.status(self.issued("west", "p256")[0]))

    def test_by_whom_it_certified_for_that(self):
        self.check_up(self.middle.status(self.issued("west", "p256")[0], delegate=True))

    def test_accepted_without(self):
        self.check_up(None, ocsp="accept")

    def test_required_and_missing(self):
        self.check_not(self.issued("west", "p256"), None, "sent no OCSP response", "we require one",
                       explain=["local.ocsp-response"])

    def test_revoked(self):
        files = self.middle.issue("west", "p384")
        self.middle.revoke(files[0])
        self.check_not(files, self.middle.status(files[0]), "is revoked since", "by OCSP",
                       explain=["a new certificate with a new key"])

    def test_unknown(self):
        """The responder of the same authority has lost its index."""
        files = self.middle.issue("west", "p521")
        with open(self.middle.path("index.txt")) as index:
            before = index.read()
        with open(self.middle.path("index.txt"), "w") as index:
            index.write("")
        response = self.middle.status(files[0])
        with open(self.middle.path("index.txt"), "w") as index:
            index.write(before)
        self.check_not(files, response, "does not know its certificate")


class WithStrongSwan(AuthCase):
    """It is asked, and answers with its certificate alone."""

    def test_accepted_without(self):
        for said in self.check_both_ways(lambda start: self.certified_east("p256", start, remote={"ocsp": "accept"}),
                                         lambda: self.certified_west("p256")):
            self.assertIn("by a certificate, ECDSA with SHA2-256", said)

    def test_required(self):
        self.check_refused(lambda start: self.certified_east("p256", start, remote={"ocsp": "require"}),
                           lambda: self.certified_west("p256"), "sent no OCSP response")


if __name__ == "__main__":
    unittest.main()
