#!/usr/bin/python3
"""
Libreswan 4.10, with a Linux kernel's ESP, in both roles: what its users configure. The network is in guest_case.py.
"""
import os
import tempfile
import unittest

from guest_case import EAST6, EAST_NETS, GuestCase, WEST_NETS, east_gateway
import libreswan
import pki
from base import EAST, PSK, WEST, east_tunnel
from lab import Ping, ping, stop_all, wait_until

ALONE = "the guest is a machine in software, which takes a CPU"

EAST_NET, WEST_NET = EAST_NETS.split(",")[0], WEST_NETS.split(",")[0]
SELECTORS = {"local": [EAST_NET], "remote": [WEST_NET]}
# aes256-sha384-ecp384 and aes256gcm16-ecp384, which espgate has in these tests unless told.
SAME = {"ike": "aes_cbc256-sha2_384;dh20", "esp": "aes_gcm256;dh20"}
SECRETS = f'@west.example @east.example : PSK "{PSK}"\n'


def tunnel(**more):
    """East's."""
    return east_tunnel(selectors=SELECTORS, **more)


def connection(name="east", **more):
    """West's, as its users write it."""
    return libreswan.connection(name, **{
        "left": WEST, "leftid": "@west.example", "leftsubnet": WEST_NET, "right": EAST, "rightid": "@east.example",
        "rightsubnet": EAST_NET, "ikev2": "insist", "authby": "secret", "leftupdown": "%disabled", "auto": "add", **more})


class LibreswanCase(GuestCase):
    @classmethod
    def why_not(cls):
        return super().why_not() or libreswan.why_not()

    @classmethod
    def programs(cls):
        folder = tempfile.mkdtemp(dir=cls.lab.directory)
        cls.authority = pki.Authority(folder, "root")
        database = libreswan.Database(os.path.join(folder, "nss"))
        database.trust("root", cls.authority.certificate)
        for kind in ("rsa", "p256"):
            database.take(f"west-{kind}", *cls.authority.issue(f"west-{kind}", kind))  # one for each name
        return libreswan.programs() | database.files()

    @classmethod
    def build(cls):
        super().build()
        cls.west.batch([f"route add {EAST_NET} via {EAST} dev wan", f"route add {EAST_NETS.split(',')[1]} via {EAST6} dev wan"])
        cls.swan = libreswan.Pluto(cls.west)

    def gateway(self, *tunnels, routes=()):
        return self.stop_after(east_gateway(self.net.east, *tunnels, routes=[{"to": WEST_NET, "tunnel": "west"}, *routes]))

    def pluto(self, *connections, secrets=SECRETS):
        self.addCleanup(self.swan.stop)
        return self.swan.start(secrets, *connections)

    def bring_up(self, initiator, ours, theirs, secrets=SECRETS):
        """espgate, with the tunnel `ours` up, begun by "east" or "west"."""
        west = self.pluto(connection(**theirs), secrets=secrets)
        east = self.gateway({**ours, "start": "initiate" if initiator == "east" else "wait"}).start()
        if initiator == "west":
            west.initiate("east")
        east.wait_up("west")
        wait_until(lambda: west.established() == ["east"], 20, west.log)
        [row] = east.json("show", "ike", "sa")
        self.assertEqual(row["role"], "initiator" if initiator == "east" else "responder")
        return east

    def both_roles(self, ours, theirs, secrets=SECRETS):
        for initiator in ("east", "west"):
            with self.subTest(initiator=initiator):
                east = self.bring_up(initiator, ours, theirs, secrets)
                self.assertTrue(ping(self.net.lan_e, "10.2.0.10"))
                self.check_drops(east)
                self.swan.stop()
                east.stop()


class Agreed(LibreswanCase):
    def test_clouds_proposals(self):
        """Oracle's: AES-CBC with SHA-384 and a group of curves, PFS with group 5."""
        ours = {key: value for key, value in tunnel(profile="oci").items() if key not in ("ike", "esp")}
        self.both_roles(ours, {"ike": "aes_cbc256-sha2_384;dh20", "esp": "aes_gcm256;modp1536", "pfs": "yes"})

    def test_its_defaults(self):
        """Libreswan's proposals as they are when nobody says anything."""
        self.both_roles(tunnel(ike=["aes256gcm16-prfsha512-modp2048"], esp=["aes256gcm16"]), {})

    def test_in_udp(self):
        self.both_roles(tunnel(encapsulation="udp"), {"encapsulation": "yes", **SAME})

    def test_ppk(self):
        path = os.path.join(self.lab.directory, "ppk")
        with open(path, "w", encoding="ascii") as out:
            out.write("0x" + bytes(range(32)).hex())
        os.chmod(path, 0o600)
        self.both_roles(tunnel(ppks=[{"id": "ppk-1", "file": path}], **{"ppk-use": "required"}), {"ppk": "insist", **SAME},
                        SECRETS + f'@west.example @east.example : PPKS "ppk-1" 0x{bytes(range(32)).hex()}\n')

    def test_both_families(self):
        """A child SA for each: it has one pair of networks in a connection."""
        six = {"leftsubnet": WEST_NETS.split(",")[1], "rightsubnet": EAST_NETS.split(",")[1]}
        ours = [tunnel(), {"name": "west-6", "parent": "west",
                           "selectors": {"local": [six["rightsubnet"]], "remote": [six["leftsubnet"]]}}]
        for initiator in ("east", "west"):
            with self.subTest(initiator=initiator):
                west = self.pluto(connection(**SAME), connection("east-6", **SAME, **six))
                east = self.gateway({**ours[0], "start": "initiate" if initiator == "east" else "wait"}, ours[1],
                                    routes=[{"to": six["leftsubnet"], "tunnel": "west-6"}]).start()
                for name in ("east", "east-6") if initiator == "west" else ():
                    west.initiate(name)
                east.wait_up("west", "west-6")
                wait_until(lambda west=west: sorted(west.established()) == ["east", "east-6"], 20, west.log)
                for destination in ("10.2.0.10", "fd00:2::10"):
                    self.assertTrue(ping(self.net.lan_e, destination))
                west.stop()
                east.stop()

    def test_rsa(self):
        self.by_certificates("rsa", "rsasig")

    def test_ecdsa(self):
        self.by_certificates("p256", "ecdsa")

    def by_certificates(self, kind, authby):
        certificate, key = self.authority.issue("east", kind)
        ours = tunnel(remote_id=f"west-{kind}.example")
        del ours["psk"]
        ours["local"] |= {"certificate": certificate, "key": key}
        ours["remote"] |= {"authorities": [self.authority.certificate]}
        self.both_roles(ours, {"authby": authby, "leftcert": f"west-{kind}", "leftid": f"@west-{kind}.example",
                               "rightca": "%same", "rightsendcert": "always", **SAME}, "\n")


class Rekey(LibreswanCase):
    """By either side, under pings: none is lost, and one SA is left."""

    def test_with_pfs(self):
        """Libreswan takes the IKE SA's group, whatever its `esp` says."""
        self.rekeys(tunnel(), {"ike": SAME["ike"], "esp": "aes_gcm256", "pfs": "yes"})

    def test_without_pfs(self):
        self.rekeys(tunnel(esp=["aes256gcm16"]), {"ike": SAME["ike"], "esp": "aes_gcm256", "pfs": "no"})

    def rekeys(self, ours, theirs):
        east = self.bring_up("west", ours, theirs)
        flows = [Ping(self.net.lan_e, "10.2.0.10", interval=0.02), Ping(self.net.lan_w, "10.1.0.10", interval=0.02)]
        for flow in flows:
            flow.wait_answered()
        self.anew(east, "ipsec", lambda: self.swan.whack("--rekey-ipsec", "--name", "east"))
        self.anew(east, "ipsec", lambda: east.shell("rekey", "tunnel", "west"))
        self.anew(east, "ike", lambda: self.swan.whack("--rekey-ike", "--name", "east"))
        for sent, missing in stop_all(flows):
            self.assertGreater(sent, 50)
            self.assertEqual(missing, [], f"lost of {sent} pings; dropped: {east.drops()}")


if __name__ == "__main__":
    unittest.main()
