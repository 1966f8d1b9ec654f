"""
Everything that IKE can agree on with strongSwan, side by side: tunnels between the same two ends, told apart by their
identities, of which no two have the same ESP suite. Proposals, groups and authentication methods are dealt out to them
in turns, so that each occurs. `Matrix` is the tests; a class that has a network and a strongSwan makes them its own.

Each tunnel is between lan-e's 10.1.0.10 and an address of west's own, 10.2.0.N.
"""
import itertools
import os
import re
import shutil
import tempfile

import pki
from base import EAST, PSK, WEST
from gateway import tunnel
from lab import ping, wait_until
from swan import connection

CIPHERS = [f"aes{bits}{mode}" for mode in ("", "ctr") for bits in (128, 192, 256)] + ["null"]
HASHES = ["sha1", "sha256", "sha384", "sha512"]
AEADS = [f"aes{bits}gcm{icv}" for bits in (128, 192, 256) for icv in (8, 12, 16)] + [
    f"aes{bits}ccm{icv}" for bits in (128, 256) for icv in (8, 12, 16)] + ["chacha20poly1305"]
SUITES = AEADS + [f"{cipher}-{digest}" for cipher in CIPHERS for digest in HASHES]

GROUPS = {"x25519": 31, "ecp256": 19, "ecp384": 20, "ecp521": 21, "modp2048": 14, "modp3072": 15, "modp4096": 16,
          "modp1536": 5, "modp1024": 2, "modp768": 1, "modp1024s160": 22, "modp2048s224": 23, "modp2048s256": 24}
IKE = [f"aes{bits}-{digest}" for bits in (128, 256) for digest in HASHES] + [
    f"aes{bits}gcm16-prf{digest}" for bits in (128, 256) for digest in HASHES]

# What each side shows of itself: how the table calls it, what strongSwan's log says of ours, the kind of key.
SIGNATURES = {
    "rsa": ("RSA, PKCS#1 v1.5 (RFC 7427)", "RSA_EMSA_PKCS1_SHA2_256", "rsa"),
    "rsa-pss": ("RSA, PSS (RFC 7427)", "RSA_EMSA_PSS_SHA2_256_SALT_32", "rsa"),
    "p256": ("ECDSA P-256 (RFC 7427)", "ECDSA_WITH_SHA256_DER", "p256"),
    "p384": ("ECDSA P-384 (RFC 7427)", "ECDSA_WITH_SHA384_DER", "p384"),
    "p521": ("ECDSA P-521 (RFC 7427)", "ECDSA_WITH_SHA512_DER", "p521"),
    "ed25519": ("Ed25519 (RFC 7427, RFC 8420)", "ED25519", "ed25519"),
}
LARGE = ("RSA with 4096 bits", "RSA_EMSA_PKCS1_SHA2_256", "rsa4096")  # certificates that IKE has to cut
CLASSIC = {
    "rsa": ("RSA, method 1", "RSA signature", "rsa"),
    "p256": ("ECDSA P-256, method 9", "ECDSA-256 signature", "p256"),
    "p384": ("ECDSA P-384, method 10", "ECDSA-384 signature", "p384"),
    "p521": ("ECDSA P-521, method 11", "ECDSA-521 signature", "p521"),
}
PPK = "0x" + bytes(range(32)).hex()


class Entry:
    """One tunnel: `ours` for espgate, `theirs` for strongSwan, and which rows of the table it proves."""

    def __init__(self, number, suite, ike, group, pfs):
        self.number, self.name, self.pfs = number, f"t{number}", pfs
        self.address = f"10.2.0.{100 + number}"
        self.identities = {side: f"{self.name}-{side}.example" for side in ("east", "west")}
        proposals = {"ike": f"{ike}-{group}", "esp": f"{suite}-{pfs}" if pfs else suite}
        self.ours = tunnel(self.name, EAST, WEST, self.identities["east"], self.identities["west"], PSK,
                           ike=[proposals["ike"]], esp=[proposals["esp"]], legacy=True,
                           selectors={"local": ["10.1.0.10/32"], "remote": [self.address + "/32"]})
        self.theirs = connection(WEST, EAST, self.identities["west"], self.identities["east"],
                                 local_ts=self.address + "/32", remote_ts="10.1.0.10/32", **proposals)
        self.theirs["children"] = {self.name: self.theirs["children"]["net"]}
        self.expected = {"authentication of '" + self.identities["east"] + "' with pre-shared key successful"}
        self.rows = [("IKE proposal", ike), ("Diffie-Hellman group", f"{GROUPS[group]} ({group})"), ("ESP proposal", suite)]
        self.suite = suite
        self.tunnels, self.addresses = [self.ours], {self.name: self.address}

    def with_children(self, *numbers):
        """More child SAs by its IKE SA, with addresses of their own."""
        [first] = self.theirs["children"].values()
        for number in numbers:
            name, address = f"{self.name}-{number}", f"10.2.0.{100 + number}"
            self.tunnels.append({"name": name, "parent": self.name,
                                 "selectors": {"local": ["10.1.0.10/32"], "remote": [address + "/32"]}})
            self.theirs["children"][name] = {**first, "local_ts": address + "/32"}
            self.addresses[name] = address

    def secret(self):
        return (self.identities["west"], self.identities["east"], PSK)

    def prove(self, row, area="Authentication"):
        self.rows.append((area, row))

    def signed(self, method, said):
        """By signatures both ways."""
        del self.ours["psk"]
        self.prove(method)
        self.expected = {f"authentication of '{self.identities['east']}' with {said} successful",
                         f"authentication of '{self.identities['west']}' (myself) with {said} successful"}


def dealt(suites):
    """An entry for each suite, with PSK. Each group occurs once, and once for PFS; then the cheapest, now and then none."""
    groups = itertools.chain(GROUPS, itertools.repeat("x25519"))
    partners = itertools.chain(reversed(GROUPS), itertools.cycle([None, "x25519"]))
    return [Entry(number, suite, ike, group, pfs)
            for number, (suite, ike, group, pfs) in enumerate(zip(suites, itertools.cycle(IKE), groups, partners))]


class Credentials:
    """Certificates and keys by one authority, and where espgate and swanctl look for them."""

    def __init__(self, directory, swanctl):
        self.authority = pki.Authority(directory, "root")
        self.swanctl = swanctl
        for folder in ("x509", "x509ca", "pubkey", "private"):
            os.makedirs(os.path.join(swanctl, folder), exist_ok=True)
        shutil.copy(self.authority.certificate, os.path.join(swanctl, "x509ca", "root.crt"))

    def give(self, folder, path):
        shutil.copy(path, os.path.join(self.swanctl, folder))
        return os.path.basename(path)

    def issue(self, entry, side, kind):
        return self.authority.issue(entry.identities[side].removesuffix(".example"), kind)

    def theirs(self, entry, kind):
        """strongSwan's own certificate, and key."""
        certificate, key = self.issue(entry, "west", kind)
        self.give("private", key)
        entry.theirs["local"] |= {"auth": "pubkey", "certs": self.give("x509", certificate)}
        entry.ours["remote"]["authorities"] = [self.authority.certificate]

    def ours(self, entry, kind):
        certificate, key = self.issue(entry, "east", kind)
        entry.ours["local"] |= {"certificate": certificate, "key": key}
        entry.theirs["remote"] |= {"auth": "pubkey", "cacerts": "root.crt"}

    def certified(self, entry, row):
        method, said, kind = row
        self.ours(entry, kind)
        self.theirs(entry, kind)
        entry.signed(method, said)

    def raw_keys(self, entry):
        public = {}
        for side in ("east", "west"):
            key = self.issue(entry, side, "p256")[1]
            public[side] = pki.public_key(key)
            if side == "west":
                self.give("private", key)
            else:
                entry.ours["local"]["key"] = key
        entry.ours["remote"]["public-key"] = public["west"]
        entry.theirs["local"] |= {"auth": "pubkey", "pubkeys": self.give("pubkey", public["west"])}
        entry.theirs["remote"] |= {"auth": "pubkey", "pubkeys": self.give("pubkey", public["east"])}
        entry.signed("raw public keys, ECDSA P-256", "ECDSA_WITH_SHA256_DER")

    def one_way(self, entry):
        self.theirs(entry, "p256")
        entry.ours["local"]["auth"] = "psk"
        entry.prove("PSK one way, a certificate the other")
        entry.expected.add(f"authentication of '{entry.identities['west']}' (myself) with ECDSA_WITH_SHA256_DER successful")


class Matrix:
    """Wants of its class:
    `new_peer(settings)`: a strongSwan that does not run, with the addresses of all entries behind it;
    `start_peer(connections, secrets, ppks)`: starts it;
    `new_gateway(tunnels, routes)`: espgate;
    SUITES: of ESP, that both have."""

    def test_initiator(self):
        self.up("initiate", self.all_entries)
        self.prove_all()
        self.rekey_children(lambda entry: self.east.shell("rekey", "tunnel", entry.name))

    def test_responder(self):
        self.up("wait", self.all_entries)
        self.prove_all()
        self.rekey_children(lambda entry: self.west.swanctl("--rekey", "--child", entry.name))

    def test_classic_signatures(self):
        """strongSwan without RFC 7427, whose method 1 has SHA-1 only."""
        for start in ("initiate", "wait"):
            self.up(start, self.classic_entries, {"signature_authentication": "no"})
            self.prove_all()
            self.east.stop()
            self.west.stop()

    def test_exchanges(self):
        self.up("initiate", self.few_entries, {"make_before_break": "yes"})
        self.exchanges(lambda: None, lambda: None)
        self.east.stop()
        self.west.stop()
        self.up("wait", self.few_entries, {"make_before_break": "yes"})
        self.exchanges(lambda: self.west.swanctl("--rekey", "--ike", "t0"),
                       lambda: self.west.swanctl("--rekey", "--ike", "t1", "--reauth"))

    def exchanges(self, rekey, authenticate):
        """What espgate does by itself, or strongSwan when it is asked to."""
        rekeyed, renewed, large, narrowed, family = self.entries
        self.replaced(rekeyed, "ike", rekey, "IKE SA rekeyed")
        self.replaced(renewed, "ipsec", authenticate, "Reauthentication, make before break")
        # The peer looks at our proof after we have what is new when it was the one to ask.
        wait_until(lambda: self.said(renewed, "with pre-shared key successful") >= 2, 20, lambda: self.west.log()[-3000:])
        for words in (" EF(1/2) ]", "received fragment #1 of 2"):
            self.assertIn(words, self.west.log())
        self.proved(large, "IKE in fragments, sent and received (RFC 7383)")
        self.stays_narrow(narrowed)
        self.assertEqual(set(self.sas("ike")), {entry.name for entry in self.entries})
        self.proved(family, "several child SAs by one IKE SA")

    def stays_narrow(self, entry):
        """Whoever begins asks for whole networks, and gets what the other side has; also of rekeys by either side."""
        self.check_selectors(entry)
        for rekey in (lambda: self.east.shell("rekey", "tunnel", entry.name),
                      lambda: self.west.swanctl("--rekey", "--child", entry.name)):
            self.renewed(entry, "ipsec", rekey)
            self.check_selectors(entry)
        self.proved(entry, "traffic selectors narrowed")

    def check_selectors(self, entry):
        def agreed():
            sa = self.sas("ipsec").get(entry.name, {})
            return [sa.get("local_selectors"), sa.get("remote_selectors")]
        wait_until(lambda: agreed() == [["10.1.0.10/32"], [entry.address + "/32"]], 20, lambda: f"other than {agreed()}")

    def renewed(self, entry, kind, act):
        """Another SA stands in its place."""
        def spi():
            return self.sas(kind).get(entry.name, {}).get("initiator_spi" if kind == "ike" else "inbound_spi")
        before = spi()
        act()
        wait_until(lambda: spi() not in (None, before), 40, f"another {kind} SA of {entry.name}")

    def replaced(self, entry, kind, act, row):
        self.renewed(entry, kind, act)
        self.proved(entry, row)

    def proved(self, entry, row):
        self.check_pings(entry)
        self.shows("Exchange", row, self.role)

    def check_pings(self, entry):
        for address in entry.addresses.values():
            wait_until(lambda: ping(self.net.lan_e, address, count=1, seconds=2), 20, f"a ping to {address}")

    def said(self, entry, words):
        return len(re.findall(f"authentication of '{entry.identities['east']}' {words}", self.west.log()))

    def few_entries(self, credentials):
        rekeyed, renewed, large, narrowed, family = made = dealt(self.SUITES[:5])
        if self.role == "initiator":
            rekeyed.ours["ike"]["lifetime"] = "16s"
            renewed.ours["ike"]["reauth"] = "12s"
        credentials.certified(large, LARGE)
        if self.role == "initiator":
            narrowed.ours["selectors"] = {"local": ["10.1.0.0/24"], "remote": ["10.2.0.0/24"]}
        else:
            narrowed.theirs["children"][narrowed.name] |= {"local_ts": "10.2.0.0/24", "remote_ts": "10.1.0.0/24"}
        family.with_children(family.number + 1, family.number + 2)
        return made

    def all_entries(self, credentials):
        made = dealt(self.SUITES)
        free = iter(made)
        for name, row in SIGNATURES.items():
            entry = next(free)
            credentials.certified(entry, row)
            if name == "rsa-pss":
                entry.ours["local"]["rsa-pss"] = True
                entry.theirs["local"]["auth"] = "ike:rsa/pss-sha256"
        credentials.raw_keys(next(free))
        credentials.one_way(next(free))
        self.with_ppk(next(free), "required")
        self.with_ppk(next(free), "optional")
        childless = next(free)
        childless.theirs["childless"] = "force"
        childless.ours["ike"]["childless"] = "prefer"
        childless.prove("childless set-up (RFC 6023)", "Exchange")
        for entry in free:
            entry.prove("PSK")
        return made

    def classic_entries(self, credentials):
        made = dealt(self.SUITES[:len(CLASSIC)])
        for entry, row in zip(made, CLASSIC.values()):
            credentials.certified(entry, row)
        return made

    def with_ppk(self, entry, use):
        path = self.folder("ppk") + "/ppk-1"
        with open(path, "w") as out:
            out.write(PPK + "\n")
        os.chmod(path, 0o600)
        entry.ours |= {"ppks": [{"id": "ppk-1", "file": path}], "ppk-use": use}
        entry.theirs |= {"ppk_id": "ppk-1", "ppk_required": "yes" if use == "required" else "no"}
        entry.prove(f"PPK (RFC 8784), {use}")

    def folder(self, name):
        """A new one."""
        return tempfile.mkdtemp(prefix=name + "-", dir=self.lab.directory)

    def up(self, start, entries, settings=None):
        """Both gateways with all tunnels up. `start`: "initiate" or "wait", of espgate."""
        self.role = {"initiate": "initiator", "wait": "responder"}[start]
        self.west = self.new_peer(settings or {})
        self.entries = entries(Credentials(self.folder("pki"), os.path.join(self.west.directory, "swanctl")))
        for entry in self.entries:
            entry.ours["start"] = start
        self.start_peer({entry.name: entry.theirs for entry in self.entries},
                        [entry.secret() for entry in self.entries], [("ppk-1", PPK)])
        addresses = {name: address for entry in self.entries for name, address in entry.addresses.items()}
        self.east = self.stop_after(self.new_gateway(
            [tunnel for entry in self.entries for tunnel in entry.tunnels],
            [{"to": address + "/32", "tunnel": name} for name, address in addresses.items()])).start()
        for name in addresses if start == "wait" else []:
            self.west.swanctl("--initiate", "--child", name, "--timeout", "30")
        self.east.wait_up(*addresses, seconds=90)

    def sas(self, kind):
        return {row["tunnel"]: row for row in self.east.json("show", kind, "sa")}

    def prove_all(self):
        ikes, children, log = self.sas("ike"), self.sas("ipsec"), self.west.log()
        for entry in self.entries:
            with self.subTest(entry.name, rows=entry.rows):
                self.check_pings(entry)
                self.assertEqual([ikes[entry.name]["algorithms"]], entry.ours["ike"]["proposals"])
                self.assertEqual(children[entry.name]["suite"], entry.suite)
                said = "\n".join(re.findall(f".*authentication of '{entry.name}-.*", log))
                self.assertEqual([words for words in entry.expected if words not in said], [], said)
                for row in entry.rows:
                    self.shows(*row, self.role)

    def rekey_children(self, rekey):
        """All of them, and each has its key exchange now."""
        before = self.sas("ipsec")
        for entry in self.entries:
            rekey(entry)
        for entry in self.entries:
            with self.subTest(entry.name, pfs=entry.pfs):
                def replaced():
                    now = self.sas("ipsec").get(entry.name)
                    return now and now["outbound_installed"] and now["inbound_spi"] != before[entry.name]["inbound_spi"]
                wait_until(replaced, 30, "another child SA")
                self.assertEqual(self.sas("ipsec")[entry.name]["pfs_group"], entry.pfs or "no group")
                self.check_pings(entry)
                row = f"with PFS, group {GROUPS[entry.pfs]} ({entry.pfs})" if entry.pfs else "without PFS"
                self.shows("Child SA rekeyed", row, self.role)
