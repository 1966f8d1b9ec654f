"""The build folders of a test run: release, and sanitizers with the fuzzers."""
import contextlib
import os
import re
import shutil
import subprocess
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LOGS = os.path.join(ROOT, "build", "test-logs")


CHILDREN = set()  # that run now


def stand_back(pid):
    """Where the kernel groups processes by session, it is the session's niceness that counts."""
    os.setpriority(os.PRIO_PROCESS, pid, 19)
    with contextlib.suppress(OSError), open(f"/proc/{pid}/autogroup", "w") as group:
        group.write("19")


@contextlib.contextmanager
def running(argv, out=subprocess.PIPE, environment=None, behind=False):
    """A child, whose output is read line by line unless it goes to the file `out`. It ends when whoever waits for it is
    asked to stop, or by `end_children`. One that runs `behind` gets what CPU others leave."""
    child = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=ROOT, text=True,
                             env={**os.environ, **(environment or {})}, start_new_session=behind)
    if behind:
        stand_back(child.pid)
    CHILDREN.add(child)
    try:
        yield child
    except BaseException:
        child.terminate()
        raise
    finally:
        child.wait()
        CHILDREN.discard(child)


def end_children():
    for child in list(CHILDREN):
        child.terminate()


class BuildFailed(Exception):
    """What failed, and the path of the log."""

    def __init__(self, words, log):
        super().__init__(words)
        self.log = log


class Folder:
    """One build folder. `prepare` is slow the first time and quick after."""

    def __init__(self, name, compiler=None, options=()):
        self.path = os.path.join(ROOT, name)
        self.name = name
        self.compiler = compiler
        self.options = list(options)
        self.built = set()
        self.lock = threading.Lock()

    def prepare(self, targets=(), behind=False):
        """Configures and builds `targets` (all when empty); once for each list of targets. From any thread; waits for
        another that does so. `behind`: see `running`."""
        with self.lock:
            if tuple(targets) in self.built:
                return
            os.makedirs(LOGS, exist_ok=True)
            log = os.path.join(LOGS, f"{self.name}.build.log")
            with open(log, "w") as out:
                if not os.path.exists(os.path.join(self.path, "build.ninja")):
                    self._configure(out, log)
                self._compile(out, log, targets, behind)
            self.built.add(tuple(targets))

    def _configure(self, out, log):
        environment = dict(os.environ)
        if self.compiler:
            ccache = "ccache " if shutil.which("ccache") else ""
            environment["CXX"] = ccache + self.compiler
        print(f"build: configuring {self.name}", flush=True)
        done = subprocess.run(["/usr/bin/meson", "setup", self.path, ROOT, *self.options], stdout=out,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment, check=False)
        if done.returncode != 0:
            raise BuildFailed(f"{self.name} could not be configured", log)

    def _compile(self, out, log, targets, behind):
        began, told = time.monotonic(), time.monotonic()
        with running(["ninja", "-C", self.path, *targets], behind=behind) as ninja:
            for line in ninja.stdout:
                out.write(line)
                step = re.match(r"\[(\d+)/(\d+)\]", line)
                if step and time.monotonic() - told > 10:
                    told = time.monotonic()
                    print(f"build: {self.name} {step.group(1)} of {step.group(2)}", flush=True)
        if ninja.returncode != 0:
            raise BuildFailed(f"{self.name} does not build", log)
        print(f"build: {self.name} is built ({time.monotonic() - began:.0f} s)", flush=True)


# One folder for the sanitized unit tests and for the fuzzers, which want everything instrumented anyway. clang at -O1:
# g++ with sanitizers takes ten times as long to compile. Warnings are the release build's business.
RELEASE = Folder("build")
# DPDK's rings have to be atomics in C++'s eyes, too.
THREADS = Folder("build-tsan", None, ["-Db_sanitize=thread", "-Dcpp_args=-DRTE_USE_C11_MEM_MODEL", "-Doptimization=1",
                                      "-Ddebug=true", "-Db_lundef=false", "-Dwerror=false"])
SANITIZED = Folder("build-asan", "clang++-14", ["-Dfuzzers=true", "-Doptimization=1", "-Ddebug=true",
                                                "-Db_ndebug=false", "-Db_lundef=false", "-Dwerror=false"])
