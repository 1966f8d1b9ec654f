"""`espgate run` over two stand-in programs that only say what happens to them: order, restarts, ends, the lock.
Usage: run_test.py ESPGATE CONFIGURATION"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ESPGATE, CONFIGURATION = (os.path.abspath(path) for path in sys.argv[1:3])

STAND_IN = """#!{python}
import os, signal, sys, time
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
def end(*_):
    time.sleep({linger})
    say("{name} stopped")
    os._exit(0)
signal.signal(signal.SIGTERM, {handler})
signal.signal(signal.SIGINT, lambda *_: say("{name} interrupted"))
say("{name} started", os.getpid(), *sys.argv[1:])
{body}
while True:
    time.sleep(0.05)
"""


def alive(pid):
    return os.path.exists(f"/proc/{pid}")


class Run(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="espgate-run-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.espgate = shutil.copy(ESPGATE, os.path.join(self.folder, "espgate"))
        self.runtime = os.path.join(self.folder, "runtime")
        self.stand_in("espgate-dataplane")
        self.stand_in("espgate-signer")
        self.stand_in("espgate-control")

    def stand_in(self, name, body="", linger=0, handler="end"):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(STAND_IN.format(python=sys.executable, name=name.removeprefix("espgate-"), body=body,
                                      linger=linger, handler=handler))
        os.chmod(path, 0o755)

    def begin(self):
        path = os.path.join(self.folder, "out")
        if os.path.exists(path):
            os.unlink(path)
        self.out = open(path, "a", encoding="utf-8")
        self.addCleanup(self.out.close)
        self.process = subprocess.Popen([self.espgate, "run", "--runtime", self.runtime, CONFIGURATION],
                                        stdout=self.out, stderr=subprocess.STDOUT)
        self.addCleanup(self.end_all)
        self.wait_for(lambda: all(f"{name} started" in self.text() for name in ("dataplane", "signer", "control")))

    def end_all(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def text(self):
        with open(self.out.name, encoding="utf-8") as read:
            return read.read()

    def pids(self, name):
        return [int(line.split()[2]) for line in self.text().splitlines() if line.startswith(f"{name} started")]

    def wait_for(self, condition, seconds=15):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, self.text())
            time.sleep(0.02)

    def finish(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(30)

    def test_stops_control_first_then_the_dataplane(self):
        self.stand_in("espgate-control", linger=0.3)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(number=number):
                self.begin()
                self.assertEqual(self.finish(number), 0, self.text())
                ends = [line for line in self.text().splitlines() if "stopped" in line]
                self.assertEqual(ends, ["control stopped", "signer stopped", "dataplane stopped"])
                self.assertFalse(any(alive(pid) for pid in self.pids("control") + self.pids("dataplane")))

    def test_both_are_told_the_file_and_the_runtime_directory(self):
        self.begin()
        for name in ("dataplane", "signer", "control"):
            self.assertIn(f"--config {CONFIGURATION} --runtime {self.runtime}",
                          next(line for line in self.text().splitlines() if line.startswith(f"{name} started")))
        self.assertIn(os.stat(self.runtime).st_mode & 0o777, (0o700, 0o710))  # 0710: there is a user espgate

    def test_control_is_started_again_when_it_is_killed(self):
        self.begin()
        os.kill(self.pids("control")[0], signal.SIGKILL)
        self.wait_for(lambda: len(self.pids("control")) == 2)
        self.assertEqual(len(self.pids("dataplane")), 1)
        self.assertTrue(alive(self.pids("dataplane")[0]))
        self.assertEqual(self.finish(), 0, self.text())

    def test_the_signer_is_started_again_when_it_is_killed(self):
        self.begin()
        os.kill(self.pids("signer")[0], signal.SIGKILL)
        self.wait_for(lambda: len(self.pids("signer")) == 2)
        self.assertIn("espgate-signer was killed by signal 9", self.text())
        self.assertEqual((len(self.pids("control")), len(self.pids("dataplane"))), (1, 1))
        self.assertEqual(self.finish(), 0, self.text())

    def test_restarts_become_slower(self):
        self.stand_in("espgate-control", body="sys.exit(1)")
        self.begin()
        time.sleep(3)
        self.assertLess(len(self.pids("control")), 6, self.text())
        self.assertEqual(self.finish(), 0, self.text())

    def test_the_dataplane_is_started_again_when_it_is_killed(self):
        self.begin()
        os.kill(self.pids("dataplane")[0], signal.SIGKILL)
        self.wait_for(lambda: len(self.pids("dataplane")) == 2)
        self.assertIn("espgate-dataplane was killed by signal 9", self.text())
        self.assertEqual(len(self.pids("control")), 1)
        self.assertTrue(alive(self.pids("control")[0]))
        self.assertEqual(self.finish(), 0, self.text())

    def test_a_dataplane_that_gives_up_is_the_end(self):
        self.stand_in("espgate-dataplane", body="time.sleep(0.5); sys.exit(3)")
        self.begin()
        self.assertEqual(self.process.wait(20), 1)
        self.assertIn("espgate-dataplane ended with status 3; stopping", self.text())
        self.assertIn("control stopped", self.text())

    def test_who_does_not_stop_is_killed(self):
        self.stand_in("espgate-control", handler="signal.SIG_IGN")
        self.begin()
        self.assertEqual(self.finish(), 0, self.text())
        self.assertFalse(alive(self.pids("control")[0]))

    def test_children_end_with_their_parent(self):
        self.begin()
        self.process.kill()
        self.process.wait()
        self.wait_for(lambda: not any(alive(pid) for pid in self.pids("control") + self.pids("dataplane")))

    def test_a_second_run_on_the_same_directory_is_refused(self):
        self.begin()
        second = subprocess.run([self.espgate, "run", "--runtime", self.runtime, CONFIGURATION], text=True, timeout=20,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertEqual(second.returncode, 1)
        self.assertIn("another `espgate run` uses", second.stdout)
        self.assertEqual(self.finish(), 0)

    def test_a_wrong_file_starts_nothing(self):
        wrong = os.path.join(self.folder, "wrong.yaml")
        with open(wrong, "w", encoding="utf-8") as out:
            out.write("tunnels: 7\n")
        done = subprocess.run([self.espgate, "run", "--runtime", self.runtime, wrong], text=True, timeout=20,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("wrong.yaml:1:", done.stdout)
        self.assertNotIn("started", done.stdout)

    def test_a_missing_program_is_told(self):
        os.unlink(os.path.join(self.folder, "espgate-dataplane"))
        done = subprocess.run([self.espgate, "run", "--runtime", self.runtime, CONFIGURATION], text=True, timeout=20,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              env={**os.environ, "PATH": "/nonexistent"})
        self.assertEqual(done.returncode, 1)
        self.assertIn("can't start", done.stdout)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
