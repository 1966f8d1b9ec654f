#!/usr/bin/python3
"""
How each side shows who it is: espgate (east) against strongSwan (west), each as initiator and responder.

  lan-e --- east 192.0.2.1 ---wan--- 192.0.2.2 west --- lan-w
            espgate                     strongSwan

Certificates are by an authority between, whose own is by the root that both sides trust.
"""
import os
import re
import shutil
import unittest

import pki
from base import EAST, PSK, WEST, LabCase, east_gateway, west_connection
from gateway import tunnel
from lab import ping, wait_until
from swan import Swan
from test_refusals import wait_words
from topologies import Single

FOLDERS = {"certs": "x509", "cacerts": "x509ca", "pubkeys": "pubkey", "key": "private"}


class AuthCase(LabCase):
    @classmethod
    def build(cls):
        cls.net = Single(cls.lab)
        folder = os.path.join(cls.lab.directory, "pki")
        cls.root = pki.Authority(folder, "root")
        cls.middle = pki.Authority(folder, "middle", issuer=cls.root)
        cls.east_files, cls.west_files = {}, {}

    @classmethod
    def issued(cls, side, kind):
        """Certificate and key of a side, made once."""
        made = cls.east_files if side == "east" else cls.west_files
        if kind not in made:
            made[kind] = cls.middle.issue(side, kind)
        return made[kind]

    def east(self, local, remote, start, psk=None, **more):
        with_chain = dict(local)
        if "certificate" in local:  # ours, then the authority between
            with_chain["certificate"] = local["certificate"].replace(".crt", ".pem")
            with open(with_chain["certificate"], "w") as out:
                out.write(pki.read(local["certificate"]) + pki.read(self.middle.certificate))
        entry = tunnel("west", EAST, WEST, "east.example", "west.example", psk, start=start, **more)
        entry["local"].update(with_chain)
        entry["remote"].update(remote)
        for side in ("local", "remote"):
            if entry[side]["id"] is None:
                del entry[side]["id"]
        if psk is None:
            del entry["psk"]
        return self.stop_after(east_gateway(self.net.east, entry))

    def west(self, local, remote, settings=None, psk=PSK, **more):
        """`local` and `remote`: of the connection; files are put where swanctl looks for them."""
        connection = west_connection(**more)
        connection["local"] = {"id": "west.example", **local}
        connection["remote"] = {"id": "east.example", **remote}
        secrets = [("west.example", "east.example", psk)]
        west = self.stop_after(Swan(self.net.west, {"east": connection}, secrets, settings))
        shutil.rmtree(os.path.join(west.directory, "swanctl"))
        for folder in FOLDERS.values():
            os.makedirs(os.path.join(west.directory, "swanctl", folder))
        for section in (connection["local"], connection["remote"]):
            for key, folder in FOLDERS.items():
                if key in section:
                    shutil.copy(section[key], os.path.join(west.directory, "swanctl", folder))
                    section[key] = os.path.basename(section[key])
            section.pop("key", None)
        # What leads to the root, which is sent with the certificate.
        shutil.copy(self.middle.certificate, os.path.join(west.directory, "swanctl", "x509ca", "middle.crt"))
        west.configure({"east": connection}, secrets)
        return west

    def certified_east(self, kind, start, **more):
        certificate, key = self.issued("east", kind)
        return self.east({"certificate": certificate, "key": key, **more.pop("local", {})},
                         {"authorities": [self.root.certificate], **more.pop("remote", {})}, start, **more)

    def certified_west(self, kind, settings=None, files=None, **more):
        certificate, key = files or self.issued("west", kind)
        return self.west({"auth": "pubkey", "certs": certificate, "key": key, **more.pop("local", {})},
                         {"auth": "pubkey", "cacerts": self.root.certificate, **more.pop("remote", {})}, settings,
                         **more)

    def check_both_ways(self, east, west):
        """`east`: makes the gateway, given how it starts; `west`: makes the strongSwan. Returns words for each way."""
        said = []
        for start in ("initiate", "wait"):
            with self.subTest("espgate " + ("initiates" if start == "initiate" else "responds")):
                gateway, peer = east(start), west()
                if start == "initiate":
                    peer.start()
                    gateway.start()
                else:
                    gateway.start()
                    peer.start()
                    peer.initiate("east")
                gateway.wait_up("west", seconds=30)
                wait_until(lambda: ping(self.net.lan_e, "10.2.0.10"), 20, "a ping through the tunnel")
                said.append(gateway.process.output() + peer.log())
                gateway.stop()
                peer.stop()
        self.assertEqual(len(said), 2)
        return said

    def check_refused(self, east, west, *words, row=None, told=r"parsed .* \[ N\(AUTH_FAILED\)"):
        """
        espgate does not take strongSwan for what it says it is, says why, and tells it; whoever begins. `row`: of the
        table; `told`: what the log of strongSwan has of it.
        """
        for start in ("initiate", "wait"):
            with self.subTest("espgate " + ("initiates" if start == "initiate" else "responds")):
                gateway, peer = east(start), west()
                peer.start()
                gateway.start()
                if start == "wait":
                    peer.initiate("east", seconds=5, check=False)
                wait_words(gateway, "west", *words)
                wait_until(lambda: re.search(told, peer.log()), 20, f"strongSwan's log to have {told}")
                self.assertFalse(gateway.up("west"))
                if row:
                    self.shows("Refused, in words", row, "initiator" if start == "initiate" else "responder")
                gateway.stop()
                peer.stop()


class Certificates(AuthCase):
    def test_rsa(self):
        for said in self.check_both_ways(lambda start: self.certified_east("rsa", start),
                                         lambda: self.certified_west("rsa")):
            self.assertIn("by a certificate, RSA with SHA2-256", said)
            self.assertIn("authentication of 'east.example' with RSA_EMSA_PKCS1_SHA2_256 successful", said)

    def test_rsa_pss(self):
        for said in self.check_both_ways(lambda start: self.certified_east("rsa", start, local={"rsa-pss": True}),
                                         lambda: self.certified_west("rsa", {"rsa_pss": "yes"})):
            self.assertIn("by a certificate, RSA PSS with SHA2-", said)
            self.assertIn("authentication of 'east.example' with RSA_EMSA_PSS_SHA2_256", said)

    def check_kind(self, kind, ours, theirs, settings=None):
        for said in self.check_both_ways(lambda start: self.certified_east(kind, start),
                                         lambda: self.certified_west(kind, settings)):
            self.assertIn("by a certificate, " + ours, said)
            self.assertIn(f"authentication of 'east.example' with {theirs} successful", said)

    def test_ecdsa_p256(self):
        self.check_kind("p256", "ECDSA with SHA2-256", "ECDSA_WITH_SHA256_DER")

    def test_ecdsa_p384(self):
        self.check_kind("p384", "ECDSA with SHA2-384", "ECDSA_WITH_SHA384_DER")

    def test_ecdsa_p521(self):
        self.check_kind("p521", "ECDSA with SHA2-512", "ECDSA_WITH_SHA512_DER")

    def test_ed25519(self):
        self.check_kind("ed25519", "Ed25519", "ED25519")

    # A peer without RFC 7427: methods 9, 10 and 11.
    def test_ecdsa_classic(self):
        for kind, digest, method in (("p256", "256", "ECDSA-256 signature"), ("p384", "384", "ECDSA-384 signature"),
                                     ("p521", "512", "ECDSA-521 signature")):
            with self.subTest(kind):
                for said in self.check_both_ways(lambda start, kind=kind: self.certified_east(kind, start),
                                                 lambda kind=kind: self.certified_west(
                                                     kind, {"signature_authentication": "no"})):
                    self.assertIn("by a certificate, ECDSA with SHA2-" + digest, said)
                    self.assertIn(f"authentication of 'east.example' with {method} successful", said)

    # Method 1, which strongSwan has with SHA-1 only.
    def test_rsa_classic(self):
        for said in self.check_both_ways(lambda start: self.certified_east("rsa", start, legacy=True),
                                         lambda: self.certified_west("rsa", {"signature_authentication": "no"})):
            self.assertIn("by a certificate, RSA with SHA-1", said)
            self.assertIn("authentication of 'east.example' with RSA signature successful", said)

    # Both sides are who their certificates say.
    def test_directory_names(self):
        def west():
            certificate, key = self.issued("west", "p256")
            return self.certified_west("p256", files=(certificate, key), local={"id": "C=DE, O=Example, CN=west"},
                                       remote={"id": "C=DE, O=Example, CN=east"})
        for said in self.check_both_ways(
                lambda start: self.certified_east("p256", start, local={"id": None},
                                                  remote={"id": "C=DE, O=Example, CN=west"}), west):
            self.assertIn('it is "C=DE, O=Example, CN=west" by a certificate', said)

    def test_certificate_one_way_and_psk_the_other(self):
        def west():
            certificate, key = self.issued("west", "p256")
            return self.west({"auth": "pubkey", "certs": certificate, "key": key}, {"auth": "psk"})
        for said in self.check_both_ways(
                lambda start: self.east({"auth": "psk"}, {"authorities": [self.root.certificate]}, start, psk=PSK),
                west):
            self.assertIn("authentication of 'west.example' (myself) with ECDSA", said)
            self.assertIn("authentication of 'east.example' with pre-shared key successful", said)


class RawPublicKeys(AuthCase):
    def test_raw_public_keys(self):
        keys = {side: self.issued(side, "p256")[1] for side in ("east", "west")}
        public = {side: pki.public_key(key) for side, key in keys.items()}
        for said in self.check_both_ways(
                lambda start: self.east({"key": keys["east"]}, {"public-key": public["west"]}, start),
                lambda: self.west({"auth": "pubkey", "pubkeys": public["west"], "key": keys["west"]},
                                  {"auth": "pubkey", "pubkeys": public["east"]})):
            self.assertIn('it is "west.example" by its key, ECDSA', said)


class Refused(AuthCase):
    def test_revoked(self):
        files = self.middle.issue("west", "p384")
        self.middle.revoke(files[0])
        lists = [self.middle.revocations(), self.root.revocations()]
        self.check_refused(lambda start: self.certified_east("p256", start, remote={"crl": lists}),
                           lambda: self.certified_west("p384", files=files), "west.example", "is revoked",
                           row="a revoked certificate")

    def test_expired(self):
        files = self.middle.issue("west", "ed25519", begin=-3, end=-1)
        self.check_refused(lambda start: self.certified_east("p256", start),
                           lambda: self.certified_west("ed25519", files=files), "west.example", "has expired on",
                           row="an expired certificate")

    def test_sha1(self):
        self.check_refused(lambda start: self.certified_east("p256", start),
                           lambda: self.certified_west("rsa", {"signature_authentication": "no"}),
                           "RSA with SHA-1; only legacy: true takes that")

    def test_unknown_authority(self):
        other = pki.Authority(os.path.join(self.lab.directory, "pki"), "other")
        files = other.issue("west", "p256")
        self.check_refused(lambda start: self.certified_east("p256", start),
                           lambda: self.certified_west("p256", files=files), "none of our authorities",
                           row="a certificate by an unknown authority")

    def test_we_are_refused(self):
        """strongSwan knows another root than ours."""
        other = pki.Authority(os.path.join(self.lab.directory, "pki"), "stranger")
        self.check_refused(lambda start: self.certified_east("p256", "initiate"),
                           lambda: self.certified_west("p256", remote={"cacerts": other.certificate}),
                           "AUTHENTICATION_FAILED", "certificate", told=r"generating .* \[ N\(AUTH_FAILED\)")


if __name__ == "__main__":
    unittest.main()
