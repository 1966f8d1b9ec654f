#!/usr/bin/python3
"""
What the running processes may do and what they have in memory, looked at from outside, while they carry a tunnel.

  lan-e --- east 192.0.2.1 ---wan--- 192.0.2.2 west --- lan-w
            espgate                     espgate
"""
import base64
import os
import pwd
import signal
import unittest

import pki
from base import EAST, LabCase, east_gateway, east_tunnel, west_gateway, west_tunnel
from gateway import tunnel
from lab import ping, wait_until
from topologies import Single

KEPT = 0x7000  # NET_ADMIN, NET_RAW, IPC_LOCK


def status_of(path):
    with open(f"{path}/status") as status:
        return dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)


def holds(pid, secret):
    """Whether the bytes are anywhere in the process's own memory. Root may read it, whoever else may not."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            begin, end, mode = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line).groups()
            if "r" not in mode or line.rstrip().endswith(("[vvar]", "[vsyscall]")):
                continue
            begin, end = int(begin, 16), int(end, 16)
            try:
                memory.seek(begin)
                if secret in memory.read(end - begin):
                    return True
            except OSError:  # what was made known and never used
                continue
    return False


def memory_of(pid):
    """All that the process has in memory of its own, piece by piece. Root may read it; whoever else may not."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, mode = line.split()[:2]
            begin, end = (int(number, 16) for number in span.split("-"))
            if "r" not in mode or line.rstrip().endswith(("[vvar]", "[vvar_vclock]", "[vsyscall]")):
                continue
            memory.seek(begin)
            piece = b""
            while len(piece) < end - begin:
                try:
                    more = memory.read(end - begin - len(piece))
                except OSError:  # behind the end of a file
                    break
                if not more:
                    break
                piece += more
            yield piece


def found_in(pid, secrets):
    """The names of those secrets that are in the process's memory."""
    return {name for piece in memory_of(pid) for name, secret in secrets.items() if secret in piece}


class Privileges(LabCase):
    needs_swan = False

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab, dpdk_west=True)

    def test_every_thread_of_the_dataplane_has_what_it_needs(self):
        west = self.stop_after(west_gateway(self.net.west, west_tunnel(start="wait"))).start()
        east = self.stop_after(east_gateway(self.net.east)).start()
        east.wait_up("west")
        west.wait_up("east")
        wait_until(lambda: ping(self.net.lan_e, "10.2.0.10"), 20, "the tunnel carries")
        pid, = east.pids("espgate-dataplane")
        threads = os.listdir(f"/proc/{pid}/task")
        self.assertGreater(len(threads), 1)
        for thread in threads:
            status = status_of(f"/proc/{pid}/task/{thread}")
            self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
            kept = {kind: int(status[kind], 16) for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
            self.assertEqual(kept, {"CapInh": 0, "CapPrm": KEPT, "CapEff": KEPT, "CapBnd": KEPT, "CapAmb": 0})
        with open(f"/proc/{pid}/limits") as limits:
            self.assertRegex(limits.read(), r"Max core file size +0 +0 ")

    def test_the_control_process_and_the_signer_have_given_up_all(self):
        east = self.stop_after(east_gateway(self.net.east)).start()
        wait_until(lambda: east.pids("espgate-signer"), 30, "a signer")
        uid = str(pwd.getpwnam("espgate").pw_uid)
        for name in ("espgate-control", "espgate-signer"):
            pid, = east.pids(name)
            wait_until(lambda pid=pid: status_of(f"/proc/{pid}")["Seccomp"] == "2", 30, f"{name} is confined")
            status = status_of(f"/proc/{pid}")
            self.assertEqual((status["Uid"], status["Groups"].strip()), ("\t".join([uid] * 4), ""))
            self.assertEqual((status["NoNewPrivs"], status["Threads"]), ("1", "1"))
            for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                self.assertEqual(int(status[kind], 16), 0)
            self.assertGreater(int(status["VmLck"].split()[0]), 1000)
            self.assertNotEqual(os.readlink(f"/proc/{pid}/ns/net"), os.readlink(f"/proc/{east.process.pid}/ns/net"))
        control, = east.pids("espgate-control")
        self.assertEqual(os.readlink(f"/proc/{control}/root"), east.runtime)
        short = [line for line in east.process.output().splitlines() if "not confined" in line]
        self.assertTrue(all("RLIMIT_MEMLOCK" in line for line in short), short)  # which this machine may not raise

    def file(self, name, text):
        path = os.path.join(self.lab.directory, name)
        with open(path, "w", opener=lambda where, flags: os.open(where, flags, 0o600)) as out:
            out.write(text)
        return path

    def with_every_secret(self):
        """An east with a secret of each kind, a west that shares those of one tunnel, and the secrets' bytes."""
        secrets = {"psk": "a shared secret of these two alone", "psk-file": "another one, in a file of its own",
                   "ppk": "a PPK of these two, with more than 32 bytes"}
        key = pki.private_key(os.path.join(self.lab.directory, "east.key"), "ed25519")
        ppks = {"ppks": [{"id": "a", "file": self.file("a.ppk", secrets["ppk"])}]}
        by_file = tunnel("by-file", EAST, "192.0.2.77", "east.example", "third.example", None, start="wait")
        by_file["psk-file"] = self.file("a.psk", secrets["psk-file"])
        del by_file["psk"]
        by_key = tunnel("by-key", EAST, "192.0.2.78", "east.example", "fourth.example", None, start="wait")
        del by_key["psk"]
        by_key["local"]["key"] = key
        by_key["remote"]["public-key"] = pki.public_key(key)
        east = east_gateway(self.net.east, east_tunnel(psk=secrets["psk"], **ppks), by_file, by_key)
        west = west_gateway(self.net.west, west_tunnel(psk=secrets["psk"], start="wait", **ppks))
        in_memory = {name: secret.encode() for name, secret in secrets.items()}
        with open(key) as pem:  # the last 32 bytes (RFC 8410 section 7)
            in_memory["key"] = base64.b64decode("".join(pem.read().splitlines()[1:-1]))[-32:]
        return east, west, in_memory

    def test_keys_are_in_the_signer_and_nowhere_else(self):
        east, west, secrets = self.with_every_secret()
        self.stop_after(west.start())
        self.stop_after(east.start())
        east.wait_up("west")
        west.wait_up("east")
        signer, = east.pids("espgate-signer")
        control, = east.pids("espgate-control")
        self.assertEqual(found_in(signer, secrets), set(secrets))
        self.assertEqual(found_in(control, {**secrets, "name": b"third.example"}), {"name"})
        for pid in (east.process.pid, *east.pids("espgate-dataplane")):
            self.assertEqual(found_in(pid, secrets), set())

    def test_a_signer_that_dies_or_hangs_takes_nothing_along(self):
        west = self.stop_after(west_gateway(self.net.west, west_tunnel(start="wait"))).start()
        east = self.stop_after(east_gateway(self.net.east)).start()
        east.wait_up("west")
        west.wait_up("east")
        wait_until(lambda: ping(self.net.lan_e, "10.2.0.10", count=1), 20, "the tunnel carries")
        control = east.pids("espgate-control")
        east.kill("espgate-signer")
        self.assertTrue(ping(self.net.lan_e, "10.2.0.10"))
        east.shell("reset", "tunnel", "west")
        east.wait_up("west", seconds=40)

        signer, = east.pids("espgate-signer")
        os.kill(signer, signal.SIGSTOP)
        east.shell("reset", "tunnel", "west")
        wait_until(lambda: "espgate-signer" in east.shell("explain", "tunnel", "west").stdout, 40,
                   lambda: east.shell("explain", "tunnel", "west").stdout)
        os.kill(signer, signal.SIGCONT)
        east.wait_up("west", seconds=60)
        self.assertEqual(east.pids("espgate-control"), control)

    def test_a_responder_whose_signer_is_away_is_silent_until_it_is_back(self):
        west = self.stop_after(west_gateway(self.net.west, west_tunnel(start="wait"))).start()
        signer, = wait_until(lambda: west.pids("espgate-signer"), 30, "a signer")
        os.kill(signer, signal.SIGSTOP)
        east = self.stop_after(east_gateway(self.net.east)).start()
        wait_until(lambda: "espgate-signer" in west.shell("show", "log").stdout, 40,
                   lambda: west.shell("show", "log").stdout)
        os.kill(signer, signal.SIGCONT)
        east.wait_up("west", seconds=60)
        self.assertNotIn("AUTHENTICATION_FAILED", east.shell("show", "log").stdout)


if __name__ == "__main__":
    unittest.main()
