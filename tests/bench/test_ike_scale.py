#!/usr/bin/python3
"""
bench/ike/scale.py, with fewer tunnels than in docs/performance.md: what a tunnel costs does not grow with their number, and
the shell answers while they are set up. Two real control processes; the wire between them is memory.
"""
import argparse
import os
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench", "ike"))
import scale  # noqa: E402

ALONE = "it measures time"

FEW, MANY = 500, 5000
OPTIONS = argparse.Namespace(ike="aes256gcm16-prfsha256-x25519", esp="aes256gcm16", limit=240)


class Scale(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory(prefix="espgate-ike-") as folder, \
                open(os.path.join(folder, "log"), "w", encoding="utf-8") as log:
            cls.few, cls.many = (scale.measure(count, OPTIONS, folder, log) for count in (FEW, MANY))
        print("\n".join(scale.table([cls.few, cls.many])))

    def test_cpu_is_linear(self):
        """CPU time, as a busy machine stretches seconds; with room for what it does to caches."""
        for side in ("west", "east"):
            self.assertLess(self.many[side]["cpu_us_per_tunnel"], 1.5 * self.few[side]["cpu_us_per_tunnel"])

    def test_memory_is_bounded(self):
        for side in ("west", "east"):
            self.assertLess(self.many[side]["memory_after"] - self.few[side]["memory_after"], 8192 * (MANY - FEW))

    def test_hardly_a_message_had_to_be_sent_again(self):
        """Four messages for a tunnel, six when the responder asks for a cookie."""
        self.assertLess(self.many["datagrams"], 7 * MANY)

    def test_the_shell_answers_meanwhile(self):
        for side in ("west", "east"):
            self.assertGreater(self.many[side]["shell"]["commands"], 10)
            self.assertLess(self.many[side]["shell"]["p99_ms"], 250)


if __name__ == "__main__":
    unittest.main()
