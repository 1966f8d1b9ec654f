#!/usr/bin/python3
"""
Every ESP suite against the ESP of a Linux kernel, raw (protocol 50), in tunnel mode. The network is in guest_case.py.
"""
import os
import re
import unittest

from guest_case import GuestCase, east_gateway, west_kernel_connection
from base import WEST_SECRETS, east_tunnel
from lab import ROOT, bulk_tcp, wait_until

ALONE = "the guest is a machine in software, which takes a CPU"

IKE = "aes128gcm16-prfsha256-x25519"


def suites():
    """All names of crypto/suite.hpp."""
    with open(os.path.join(ROOT, "crypto", "suite.hpp"), encoding="utf-8") as source:
        return re.findall(r'\(EspSuite::\w+, "([^"]+)"', source.read())


def accepted(names):
    """espgate's proposals that take them all: the AEADs in one, the others in another."""
    columns = zip(*(name.split("-") for name in names if "-" in name))
    parts = [part for column in columns for part in dict.fromkeys(column)]
    return ["-".join(name for name in names if "-" not in name), "-".join(parts)]


# The rows of docs/interop.md, and which suites they speak of.
ROWS = {
    "AES-GCM-16, 128 and 256": "aes(128|256)gcm16",
    "AES-GCM-16, 192": "aes192gcm16",
    "AES-GCM-8, AES-GCM-12": r"aes\d+gcm(8|12)",
    "AES-CCM-16, -12, -8, 128 and 256": r"aes(128|256)ccm\d+",
    "ChaCha20-Poly1305": "chacha20poly1305",
    "AES-GMAC 128, 192, 256": r"aes\d+gmac",
    "AES-CBC 128, 192, 256 with HMAC-SHA1-96": r"aes\d+-sha1",
    "AES-CBC 128, 192, 256 with HMAC-SHA2-256-128, SHA2-384-192, SHA2-512-256": r"aes\d+-sha(256|384|512)",
    "AES-CTR 128, 192, 256 with each of the four HMACs": r"aes\d+ctr-sha\d+",
    "NULL with each of the four HMACs": r"null-sha\d+",
}


def documented():
    """What docs/interop.md says of Linux: from a row's first cell to its last."""
    with open(os.path.join(ROOT, "docs", "interop.md"), encoding="utf-8") as document:
        table = re.search(r"^\| suites \|.*\| Linux 6\.1 \|\n\|[-|]+\n((?:\|.*\n)+)", document.read(), re.M).group(1)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0]: row[-1] for row in rows}


def found(good, names):
    """The same, of what this run found: what has opened and sealed a row's suites, all of them, is good both ways."""
    of_row = {row: [name for name in names if re.fullmatch(pattern, name)] for row, pattern in ROWS.items()}
    return {row: "both ways" if suites and good.issuperset(suites) else f"not {sorted(set(suites) - good)}"
            for row, suites in of_row.items()}


class Suites(GuestCase):
    def test_every_suite(self):
        names = suites()
        self.assertGreaterEqual(len(names), 47)
        tunnel = east_tunnel(ike=[IKE], esp=accepted(names), start="wait", legacy=True)
        east = self.stop_after(east_gateway(self.net.east, tunnel)).start()
        self.swan.start({name: west_kernel_connection(ike=IKE, esp=name) for name in names}, WEST_SECRETS)
        self.addCleanup(self.swan.stop)
        good = set()
        for name in names:
            with self.subTest(name):
                self.check(east, name)
                good.add(name)
            self.swan.swanctl("--terminate", "--ike", name, check=False)
        self.assertTrue(self.west.run("uname -r").stdout.startswith("6.1."), "the documentation speaks of Linux 6.1")
        self.assertEqual([name for name in names if not any(re.fullmatch(row, name) for row in ROWS.values())], [])
        self.assertEqual(documented(), found(good, names))

    def test_bulk_tcp(self):
        east = self.stop_after(east_gateway(self.net.east, east_tunnel(ike=[IKE], esp=["aes256gcm16"]))).start()
        self.swan.start({"east": west_kernel_connection(ike=IKE, esp="aes256gcm16")}, WEST_SECRETS)
        self.addCleanup(self.swan.stop)
        east.wait_up("west", seconds=40)
        for destination in ("10.2.0.10", "fd00:2::10"):
            for direction in ([], ["--reverse"]):
                bulk_tcp(self.net.lan_e, self.net.lan_w, destination, "5M", *direction)
        self.check_drops(east)
        self.assertNotIn("too-big", east.drops(), "Linux lowers no MSS, espgate does so for both directions")

    def check(self, east, name):
        self.swan.initiate(name)
        wait_until(lambda: name in str(east.json("show", "ipsec", "sa")), 10, f"an SA of {name}")
        self.check_traffic()
        self.check_drops(east)


if __name__ == "__main__":
    unittest.main()
