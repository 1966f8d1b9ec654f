#!/usr/bin/python3
"""
One tunnel for many peers (`remote: any`), as conf/examples/branches.yaml has it, with strongSwan as the branches:

                                              b1 192.0.2.11 (10.64.1.0/24)
  lan-e 10.1.0.10 --- hub 192.0.2.1 --- net < b2 192.0.2.12 (10.64.2.0/24)
                      (espgate)               nat 192.0.2.13 --- b3 10.9.0.3 (10.64.3.0/24)
"""
import os
import shutil
import signal
import unittest

import pki
import topologies
from base import LabCase
from gateway import Example
from lab import Lab, ping, wait_until
from swan import Swan, connection

HUB = "192.0.2.1"


class Branches(LabCase):
    @classmethod
    def build(cls):
        lab = cls.lab
        cls.lan_e, cls.hub_space = topologies.east(lab)
        cls.net = lab.namespace("net")
        lab.link(cls.hub_space, "wan", cls.net, "to-hub")
        Lab.for_dpdk(cls.hub_space, "wan")
        cls.spaces = {}
        for number in (1, 2):
            cls.spaces[number] = lab.namespace(f"b{number}")
            lab.link(cls.spaces[number], "wan", cls.net, f"to-b{number}")
            cls.spaces[number].address("wan", f"192.0.2.{10 + number}/24")
        nat = lab.namespace("nat", forwarding=True)
        lab.link(nat, "out", cls.net, "to-nat")
        cls.spaces[3] = lab.namespace("b3")
        lab.link(cls.spaces[3], "wan", nat, "inside")
        nat.address("out", "192.0.2.13/24")
        nat.address("inside", "10.9.0.1/24")
        nat.nft("table ip nat { chain post { type nat hook postrouting priority srcnat; "
                "oifname out masquerade random; }; }")
        cls.spaces[3].address("wan", "10.9.0.3/24")
        cls.spaces[3].ip("route", "add", "default", "via", "10.9.0.1")
        lab.bridge(cls.net, "br0", "to-hub", "to-b1", "to-b2", "to-nat")
        for number, space in cls.spaces.items():
            space.address("lo", f"10.64.{number}.1/24")
        cls.root = pki.Authority(os.path.join(lab.directory, "pki"), "root")

    def hub(self, instead=None, secrets=None):
        certificate, key = self.root.issue("hub", "p256")
        files = {"hub.pem": pki.read(certificate), "hub.key": pki.read(key), "root.pem": pki.read(self.root.certificate)}
        return self.stop_after(Example(self.hub_space, "branches", instead, {**files, **(secrets or {})})).start()

    def branch(self, number, *others, secrets=(), **more):
        """A branch with its own connection `hub`, and others: (name, identity, network)."""
        address = "10.9.0.3" if number == 3 else f"192.0.2.{10 + number}"
        swan = self.stop_after(Swan(self.spaces[number], {}, []))
        folder = os.path.join(swan.directory, "swanctl")
        for name in ("x509", "x509ca", "private"):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
            os.makedirs(os.path.join(folder, name))
        shutil.copy(self.root.certificate, os.path.join(folder, "x509ca"))
        own = ("hub", f"b{number}.branches", f"10.64.{number}.0/24")
        connections = {}
        for name, identity, network in (own, *others):
            made = connection(address, HUB, f"{identity}.example", "hub.example", local_ts=network,
                              remote_ts="10.1.0.0/24", **more)
            if not secrets:
                certificate, key = self.root.issue(identity, "p256")
                shutil.copy(certificate, os.path.join(folder, "x509"))
                shutil.copy(key, os.path.join(folder, "private"))
                made["local"] = {"id": f"{identity}.example", "auth": "pubkey", "certs": os.path.basename(certificate)}
                made["remote"] = {"id": "hub.example", "auth": "pubkey"}
            connections[name] = made
        swan.configure(connections, secrets)
        return swan.start()

    def carried(self, hub):
        """By identity, the tunnels that are up."""
        return {row["peer"]: row for row in hub.json("show", "tunnels") if row["state"] == "up"}

    def wait_carried(self, hub, *numbers):
        names = {f"b{number}.branches.example" for number in numbers}
        wait_until(lambda: set(self.carried(hub)) == names, 20,
                   lambda: f"{names} are up: {hub.shell('show', 'tunnels').stdout}{hub.process.output()[-3000:]}")
        return self.carried(hub)

    def wait_ping(self, number):
        wait_until(lambda: ping(self.lan_e, f"10.64.{number}.1", count=1), 20, f"a ping to branch {number}")

    def test_three_branches_of_one_tunnel_and_one_that_is_none(self):
        hub = self.hub()
        thief = ("thief", "b4.branches", "10.64.1.128/25")
        branches = {1: self.branch(1), 2: self.branch(2, ("intruder", "intruder", "10.64.9.0/24"), thief),
                    3: self.branch(3)}
        for branch in branches.values():
            branch.initiate("hub")
        rows = self.wait_carried(hub, 1, 2, 3)
        self.assertEqual({row["name"] for row in rows.values()}, {"branch/1", "branch/2", "branch/3"})
        self.assertEqual([rows[f"b{number}.branches.example"]["remote"] for number in (1, 2, 3)],
                         ["192.0.2.11", "192.0.2.12", "192.0.2.13"])
        self.assertEqual(len(hub.json("show", "tunnels")), 3)
        for number in branches:
            self.wait_ping(number)

        # An identity that the pattern does not have; and one that it has, which wants what is another's.
        branches[2].initiate("intruder", seconds=5, check=False)
        wait_until(lambda: '192.0.2.12 says it is "intruder.example"' in hub.process.output(), 10, "the words about it")
        branches[2].initiate("thief", seconds=5, check=False)
        wait_until(lambda: "offers 10.64.1.128/25, of which" in hub.process.output(), 10, "the words about it")
        self.assertIn('the tunnel of "b1.branches.example", has a part already', hub.process.output())
        branches[2].swanctl("--terminate", "--ike", "thief", check=False)
        self.wait_carried(hub, 1, 2, 3)
        self.wait_ping(1)

        # The control process dies: the branches' networks stay reachable, and a branch that begins anew has its tunnel.
        before = rows["b1.branches.example"]["name"]
        hub.kill("espgate-control")
        wait_until(lambda: any(row["adopted"] for row in hub.json("show", "tunnels")), 20, "the SAs are taken over")
        for number in branches:
            self.assertTrue(ping(self.lan_e, f"10.64.{number}.1"))
        branches[1].stop(signal.SIGKILL)
        self.branch(1).initiate("hub")
        row = wait_until(lambda: self.carried(hub).get("b1.branches.example"), 20, "branch 1 is back")
        self.assertEqual(row["name"], before)
        self.wait_ping(1)

        # The operator ends it, and its route with it.
        hub.shell("reset", "tunnel", before)
        wait_until(lambda: "b1.branches.example" not in self.carried(hub), 10, "branch 1 is gone")
        self.assertFalse(ping(self.lan_e, "10.64.1.1", count=1, seconds=2))

    def test_branches_by_secrets_of_their_own(self):
        hub = self.hub({", certificate: hub.pem, key: hub.key}": "}\n    psks-file: branches.psks",
                        '{address: any, id: "*.branches.example", authorities: [root.pem]}': "any"},
                       {"branches.psks": "b2.branches.example: two of them\nb1.branches.example: one\n"})
        right = self.branch(1, secrets=[("b1.branches.example", "hub.example", "one")])
        right.initiate("hub")
        self.assertEqual(self.wait_carried(hub, 1)["b1.branches.example"]["name"], "branch/2")
        self.wait_ping(1)
        wrong = self.branch(2, secrets=[("b2.branches.example", "hub.example", "one")])
        wrong.initiate("hub", seconds=5, check=False)
        wait_until(lambda: 'the pre-shared key of "b2.branches.example" is not the one' in hub.process.output(), 10,
                   "the words about it")
        self.wait_carried(hub, 1)


if __name__ == "__main__":
    unittest.main()
