#!/usr/bin/python3
"""
The shell against a running gateway: every command, its --json, exit status, widths; and clean starts and ends.

  lan-e --- east 192.0.2.1 ---wan--- west
            espgate
"""
import contextlib
import json
import os
import signal
import subprocess
import time
import unittest

from base import LabCase, east_configuration, east_gateway, east_tunnel
from gateway import Gateway, program
from lab import run, stat_fields, wait_until
from topologies import Single

SHOWS = [["show", "tunnels"], ["show", "ike", "sa"], ["show", "ipsec", "sa"], ["show", "interfaces"],
         ["show", "routes"], ["show", "groups"], ["show", "drops"], ["show", "log"], ["show", "version"], ["help"],
         ["show", "ike", "counters"], ["explain", "tunnel", "west"]]


class Shell(LabCase):
    needs_swan = False

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab)
        cls.east = east_gateway(cls.net.east, east_tunnel(start="wait")).start()

    def test_every_command_as_text(self):
        for words in SHOWS:
            with self.subTest(words=words):
                text = self.east.shell(*words).stdout
                self.assertTrue(text.strip() or words[1] in ("ike", "ipsec", "groups"))
                wide = [line for line in text.splitlines() if len(line) > 80]
                if words[-1] != "log":
                    self.assertEqual(wide, [], "at most 80 columns")

    def test_every_command_as_json(self):
        for words in SHOWS:
            with self.subTest(words=words):
                json.dumps(self.east.json(*words))

    def test_every_drop_reason_has_a_help_text(self):
        rows = self.east.json("show", "drops")
        self.assertGreater(len(rows), 30)
        self.assertTrue(all(row["help"] for row in rows))

    def test_errors_have_words_and_a_status(self):
        for words, expected in ((["show", "nonsense"], "nonsense"), (["reset", "tunnel", "nobody"], "nobody"),
                                (["reset", "tunnel"], "name")):
            with self.subTest(words=words):
                done = self.east.shell(*words, check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(expected, done.stdout.lower())

    def test_threads_that_had_no_cpu_are_seen(self):
        pid = self.east.pids("espgate-dataplane")[0]

        def stands():
            threads = os.listdir(f"/proc/{pid}/task")
            return {stat_fields(f"/proc/{pid}/task/{thread}/stat")[0] for thread in threads} == {"T"}
        os.kill(pid, signal.SIGSTOP)
        # A thread goes on until the one that has the signal, which may have to wait for a CPU, stops them all.
        wait_until(stands, 10, "all its threads stand still")
        time.sleep(0.2)
        os.kill(pid, signal.SIGCONT)

        def late():
            version = self.east.json("show", "version")
            return [thread for thread in (version["main_thread"], *version["workers"])
                    if thread["longest_pause_ms"] >= 200 and thread["long_pauses"] >= 1]
        wait_until(lambda: len(late()) == 2, 10, lambda: str(self.east.json("show", "version")))
        self.assertIn("main thread: longest pause", self.east.shell("show", "version").stdout)

    def test_nobody_there(self):
        done = run([program("espgate"), "--runtime", os.path.join(self.lab.directory, "empty"), "show", "tunnels"],
                   check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("espgate", done.stdout)

    def test_prompt_reads_commands(self):
        done = subprocess.run([program("espgate"), "--runtime", self.east.runtime], input="show tunnels\nexit\n",
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("west", done.stdout)

    def test_secrets_do_not_show(self):
        everything = "".join(self.east.shell(*words).stdout for words in SHOWS) + self.east.process.output()
        self.assertNotIn("correct horse", everything)
        for pid in self.net.east.pids():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as line:  # some are over by now
                self.assertNotIn(b"correct horse", line.read())


class Check(LabCase):
    """`espgate check` and a refused start."""
    needs_swan = False

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab)

    def check(self, change):
        config = json.loads(json.dumps(east_configuration()))
        change(config)
        gateway = Gateway(self.net.east, config)
        return gateway, run([program("espgate"), "check", gateway.file], check=False)

    def refused(self, change, *words):
        gateway, done = self.check(change)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertRegex(done.stdout, rf"{gateway.file}:\d+:\d+: ")
        for word in words:
            self.assertIn(word, done.stdout)
        process = self.net.east.start("espgate-refused", program("espgate"), "run", gateway.file)
        wait_until(lambda: not process.running(), 30, "espgate run ends")
        self.assertNotEqual(process.popen.returncode, 0)
        self.assertEqual(self.net.east.pids(), [], "nothing was started")

    def test_good(self):
        self.assertEqual(self.check(lambda config: None)[1].returncode, 0)

    def test_explain_tells_every_value_and_where_it_comes_from(self):
        def change(config):
            config["tunnels"][0].update(profile="oci", dpd="7s", ike={}, esp={"lifetime": "20m"})
        gateway, done = self.check(change)
        self.assertIn("warning: legacy algorithms are allowed: modp1536 for west.", done.stdout)
        explained = run([program("espgate"), "check", "--explain", gateway.file], check=False).stdout
        for row in (r"line \d+ +dpd: 7s", r"line \d+ +esp.lifetime: 20m", "default +keepalive: 20s",
                    r"profile oci +ike.proposals: \[aes256-sha384-ecp384\]", r"line \d+ +psk: \(not shown\)"):
            self.assertRegex(explained, row)

    def test_legacy_must_be_said(self):
        def weak(config):
            config["tunnels"][0]["ike"].update(proposals=["aes128-sha1-modp1024"])
        self.refused(weak, "too weak by now: modp1024, sha1", "legacy: true")
        self.refused(lambda config: config["tunnels"][0].update(legacy=True, esp={"proposals": ["3des-sha1"]}),
                     "3des", "is refused")

    def test_unknown_key(self):
        self.refused(lambda config: config["tunnels"][0].update(colour="green"), "colour")

    def test_missing_secret(self):
        self.refused(lambda config: config["tunnels"][0].pop("psk"), "psk")

    def test_bad_proposal(self):
        self.refused(lambda config: config["tunnels"][0]["ike"].update(proposals=["rot13-md5"]), "rot13")

    def test_bad_address(self):
        self.refused(lambda config: config["ports"][0].update(addresses=["10.1.0.300/24"]), "10.1.0.300")


class Life(LabCase):
    """Starts and ends leave nothing behind."""
    needs_swan = False

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab)

    @staticmethod
    def hugepages():
        with open("/proc/meminfo") as memory:
            return [line.split()[1] for line in memory if line.startswith(("HugePages_Total", "HugePages_Free"))]

    def ended(self, number):
        pages = self.hugepages()
        gateway = self.stop_after(east_gateway(self.net.east)).start()
        self.assertEqual(len(gateway.pids("espgate-dataplane")), 1)
        self.assertEqual(gateway.stop(number), 0, gateway.process.output()[-2000:])
        self.assertEqual(self.net.east.pids(), [], "no process is left")
        self.assertEqual(self.hugepages(), pages)
        left = [name for name in os.listdir(gateway.runtime)] if os.path.isdir(gateway.runtime) else []
        self.assertEqual([name for name in left if name.endswith(".sock")], [], "no socket is left")

    def test_interrupted(self):
        self.ended(signal.SIGINT)

    def test_terminated(self):
        self.ended(signal.SIGTERM)

    def test_second_gateway_in_one_runtime_directory_is_refused(self):
        gateway = self.stop_after(east_gateway(self.net.east)).start()
        other = self.net.east.start("espgate-second", program("espgate"), "run", gateway.file)
        wait_until(lambda: not other.running(), 30, "the second one ends")
        self.assertNotEqual(other.popen.returncode, 0)
        self.assertTrue(gateway.answers(), "the first one goes on")


if __name__ == "__main__":
    unittest.main()
