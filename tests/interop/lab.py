"""Networks of namespaces, processes in them, and their guaranteed end.

A Lab owns every namespace whose name begins with its prefix and a directory for logs and sockets. Nothing is ever
started outside such a namespace, so ending a lab is: end the processes that live in its namespaces, by pid, then
delete the namespaces. That also works for what a killed run left behind (`sweep`), whose directory goes as well.
"""
import contextlib
import ctypes
import fcntl
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("ESPGATE_BUILD", os.path.join(ROOT, "build"))
# Linux's numbers that Python has no names for.
SO_RCVBUFFORCE = 33
PIDFD_GETFD = 438
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000  # waitpid: whatever thread it is


class LabError(AssertionError):
    """Something that should have happened in the lab did not; the words say what."""


def run(argv, check=True, timeout=60, **more):
    """Runs a command to its end; its output is in the error if it fails."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                          timeout=timeout, text=True, errors="replace", **more)
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(map(str, argv))}: exit {done.returncode}\n{done.stdout}")
    return done


def wait_until(condition, seconds, what):
    """Polls until `condition()` gives something true, which it returns; LabError with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise LabError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.05)


def why_not():
    """Why labs can't be made on this machine, in words; None when they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "iproute2 is not installed"
    name = f"espgate-try-{os.getpid()}"
    tried = run(["ip", "netns", "add", name], check=False)
    if tried.returncode != 0:
        return f"no network namespaces here: {tried.stdout.strip()}"
    try:
        veth = run(["ip", "-n", name, "link", "add", "v0", "type", "veth", "peer", "name", "v1"], check=False)
        return None if veth.returncode == 0 else f"no veth interfaces here: {veth.stdout.strip()}"
    finally:
        run(["ip", "netns", "del", name], check=False)


def namespaces(prefix):
    listed = run(["ip", "netns", "list"], check=False).stdout
    return [line.split()[0] for line in listed.splitlines() if line.startswith(prefix)]


def _pids(name):
    return [int(pid) for pid in run(["ip", "netns", "pids", name], check=False).stdout.split() if pid.isdigit()]


def _end_processes(names, patience):
    def living():
        return [pid for name in names for pid in _pids(name)]

    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5)):
        for pid in living():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        end = time.monotonic() + seconds
        while living() and time.monotonic() < end:
            time.sleep(0.05)


def sweep(prefix, patience=3):
    """Ends what lives in namespaces of this prefix, and deletes them. Returns how many there were."""
    names = namespaces(prefix)
    _end_processes(names, patience)
    for name in names:
        run(["ip", "netns", "del", name], check=False)
    return len(names)


def _exclusive(prefix):
    """An open, locked file: two runs with one prefix would sweep each other away."""
    lock = open(os.path.join("/run/lock", prefix + "lock"), "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise LabError(f"another run with namespaces {prefix}* is going on") from None
    return lock


def stat_fields(path):
    """Of /proc/PID/stat or a thread's, from the state on (proc(5))."""
    with open(path, encoding="ascii", errors="replace") as stat:
        return stat.read().rsplit(")", 1)[1].split()


def seconds_of_cpu(pid):
    fields = stat_fields(f"/proc/{pid}/stat")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024


def _call(name, *arguments):
    """A function of the C library that Python has no other for."""
    done = getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments)
    if done < 0:
        raise OSError(ctypes.get_errno(), f"{name}{arguments}: {os.strerror(ctypes.get_errno())}")
    return done


def _udp_sockets(pid):
    """Those of that process, by descriptors of our own."""
    process = os.pidfd_open(pid)
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):  # it was closed meanwhile
            if os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:"):
                found.append(socket.socket(fileno=_call("syscall", PIDFD_GETFD, process, int(number), 0)))
    os.close(process)
    return [each for each in found if each.type == socket.SOCK_DGRAM and each.family in (socket.AF_INET, socket.AF_INET6)]


def threads_named(pid, name):
    found = []
    for thread in map(int, os.listdir(f"/proc/{pid}/task")):
        with open(f"/proc/{pid}/task/{thread}/comm", encoding="ascii") as comm:
            if comm.read().startswith(name):
                found.append(thread)
    return found


@contextlib.contextmanager
def standing_still(thread):
    """One thread of a process does nothing meanwhile, while the others go on."""
    _call("ptrace", PTRACE_SEIZE, thread, None, None)
    try:
        _call("ptrace", PTRACE_INTERRUPT, thread, None, None)
        os.waitpid(thread, WALL)
        yield
    finally:
        _call("ptrace", PTRACE_DETACH, thread, None, None)


class Process:
    """One program in a namespace. Its output goes to a file in the lab's directory."""

    def __init__(self, lab, name, argv, namespace, env=None):
        self.name = name
        self.log = os.path.join(lab.directory, f"{name}.log")
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen(["ip", "netns", "exec", namespace.name, *argv], stdout=log, stderr=log,
                                          stdin=subprocess.DEVNULL, start_new_session=True,
                                          env={**os.environ, **(env or {})})

    @property
    def pid(self):
        return self.popen.pid  # `ip netns exec` replaces itself with the program

    def waits(self):
        """It has nothing to do: neither has it a CPU, nor would it take one (nor is it stopped)."""
        return stat_fields(f"/proc/{self.pid}/stat")[0] == "S"

    def comes_first(self):
        """It has a CPU when it wants one, as if it had one of its own: where the kernel shares CPUs between sessions."""
        try:
            with open(f"/proc/{self.pid}/autogroup", "w") as group:
                group.write("-15")
        except OSError:
            pass
        return self

    def keeps_datagrams(self, size):
        """Its UDP sockets hold so many bytes, with what the kernel adds to each datagram, until it has time for them."""
        held = _udp_sockets(self.pid)
        if not held:
            raise LabError(f"{self.name} has no UDP socket that can be had")
        for each in held:
            with each:
                each.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)

    def running(self):
        return self.popen.poll() is None

    def output(self):
        with open(self.log, errors="replace") as log:
            return log.read()

    def stop(self, number=signal.SIGTERM, seconds=10):
        """Asks it to end and returns its exit status; kills it, and says so, when it does not."""
        if self.running():
            self.popen.send_signal(number)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(5)
            raise LabError(f"{self.name} did not end within {seconds} s of signal {number}") from None


class Namespace:
    def __init__(self, lab, name):
        self.lab = lab
        self.short = name
        self.name = lab.prefix + name

    def run(self, *argv, **more):
        return run(["ip", "netns", "exec", self.name, *argv], **more)

    def ip(self, *argv, **more):
        return run(["ip", "-n", self.name, *argv], **more)

    def start(self, name, *argv, env=None):
        return self.lab.start(name, argv, self, env)

    def address(self, interface, *addresses):
        for address in addresses:
            self.ip("addr", "add", address, "dev", interface)

    def pids(self):
        return _pids(self.name)

    def nft(self, rules):
        subprocess.run(["ip", "netns", "exec", self.name, "nft", "-f", "-"], input=rules, text=True, check=True)


KERNEL_SETTINGS = ["net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
                   "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.default.send_redirects=0",
                   "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0",
                   "net.ipv6.conf.default.accept_ra=0"]


class Lab:
    def __init__(self, prefix, directory=None):
        self.prefix = prefix
        self._lock = _exclusive(prefix)
        sweep(prefix)
        for left in glob.glob(f"/tmp/{prefix}*"):
            shutil.rmtree(left, ignore_errors=True)
        self.directory = directory or tempfile.mkdtemp(prefix=prefix, dir="/tmp")
        os.makedirs(self.directory, exist_ok=True)
        self.processes = []
        self.members = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def namespace(self, name, forwarding=False):
        space = Namespace(self, name)
        run(["ip", "netns", "add", space.name])
        space.ip("link", "set", "lo", "up")
        settings = KERNEL_SETTINGS + (["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] if forwarding else [])
        space.run("sysctl", "-q", "-w", *settings)
        self.members[name] = space
        return space

    def link(self, space_a, name_a, space_b, name_b, mtu=1500):
        """A veth pair. A veth sender leaves checksums unfinished; both ends are told not to."""
        run(["ip", "link", "add", name_a, "netns", space_a.name, "mtu", str(mtu), "type", "veth",
             "peer", "name", name_b, "netns", space_b.name, "mtu", str(mtu)])
        for space, name in ((space_a, name_a), (space_b, name_b)):
            space.run("ethtool", "-K", name, "tx", "off")
            space.ip("link", "set", name, "up")

    @staticmethod
    def for_dpdk(space, *interfaces):
        """The kernel must not answer on what a DPDK port reads: no address of any kind."""
        for interface in interfaces:
            space.run("sysctl", "-q", "-w", f"net.ipv6.conf.{interface}.disable_ipv6=1")
            space.ip("addr", "flush", "dev", interface)

    @staticmethod
    def bridge(space, name, *ports):
        space.ip("link", "add", name, "type", "bridge", "mcast_snooping", "0")
        space.run("sysctl", "-q", "-w", f"net.ipv6.conf.{name}.accept_dad=0")
        space.ip("link", "set", name, "up")
        for port in ports:
            space.ip("link", "set", port, "master", name)

    def start(self, name, argv, space, env=None):
        process = Process(self, name, list(argv), space, env)
        self.processes.append(process)
        return process

    def close(self, keep_directory=False):
        _end_processes([space.name for space in self.members.values()], 5)
        for process in self.processes:
            process.popen.poll()
        for space in self.members.values():
            run(["ip", "netns", "del", space.name], check=False)
        self.members = {}
        self._lock.close()
        if not keep_directory:
            shutil.rmtree(self.directory, ignore_errors=True)


class Ping:
    """A paced flood of pings whose losses are counted by sequence number."""

    def __init__(self, space, destination, interval=0.01, size=56, name="ping", source=None):
        # A gateway keeps some packets only for a host that it does not know yet: what is lost to that is not what counts.
        wait_until(lambda: ping(space, destination, count=1, source=source), 30, f"{space.short} reaches {destination}")
        flags = ["-I", source] if source else []
        self.process = space.start(f"{name}-{space.short}-{time.monotonic_ns()}", "ping", "-n", "-i", str(interval),
                                   "-s", str(size), "-W", "2", *flags, destination)

    def seen(self):
        """The sequence numbers that were answered."""
        return [int(number) for number in re.findall(r"bytes from .*icmp_seq=(\d+)", self.process.output())]

    def wait_answered(self):
        wait_until(self.seen, 30, lambda: f"a first answer: {self.process.output()}")
        return self

    def _sent(self):
        """How many it has sent by now, as it says itself when it is asked."""
        def told():
            return re.findall(r"\d+/(\d+) packets, \d+% loss", self.process.output())
        before = len(told())
        self.process.popen.send_signal(signal.SIGQUIT)
        wait_until(lambda: len(told()) > before or not self.process.running(), 10, "ping says how many it has sent")
        return int(told()[-1]) if told() else 0

    def stop(self, settle=0.5):
        """Returns (sent, missing sequence numbers). It ends when what it had sent so far is answered, or some seconds later:
        who has no CPU at this very moment answers after that. What was sent in the last moments is not counted."""
        time.sleep(settle)
        sent = self._sent()
        end = time.monotonic() + 3
        while max(self.seen(), default=0) < sent and time.monotonic() < end:
            time.sleep(0.02)
        self.process.stop(signal.SIGINT)
        seen, text = self.seen(), self.process.output()
        sent = int(re.search(r"(\d+) packets transmitted", text).group(1))
        if not seen:
            return sent, list(range(1, sent + 1))
        missing = sorted(set(range(1, max(seen) + 1)) - set(seen))
        # ping stops sending when it is told to; only what was in flight then may be without an answer
        if sent - max(seen) > 20:
            missing += list(range(max(seen) + 1, sent + 1))
        return sent, missing


def stop_all(pings, settle=0.5):
    """`Ping.stop` of each, with one wait for all."""
    time.sleep(settle)
    return [flow.stop(settle=0) for flow in pings]


def ping(space, destination, count=3, size=56, dont_fragment=False, seconds=10, interval=0.2, source=None):
    """True when `count` pings were answered within `seconds`. When an answer takes longer than `interval`, more are sent,
    and answered. An ICMP error ends it."""
    flags = (["-M", "do"] if dont_fragment else []) + (["-I", source] if source else [])
    done = space.run("ping", "-n", "-q", "-c", str(count), "-i", str(interval), "-W", "2", "-w", str(seconds), "-s",
                     str(size), *flags, destination, check=False, timeout=seconds + 10)
    return pings_answered(done.stdout) >= count


def pings_answered(text):
    """How many pings were, by what ping has said in the end."""
    found = re.search(r" (\d+) received", text)
    return int(found.group(1)) if found else 0


def forget_mtus(space):
    """A host's kernel remembers for minutes which sizes it was told, and then says so itself."""
    space.ip("route", "flush", "cache")
    space.ip("-6", "route", "flush", "cache")


def told_mtu(space, destination, size=1500, by=r"\S+"):
    """The MTU that the gateway `by` tells a host whose packet with DF, of `size` bytes with its IP header, is too large."""
    headers = 48 if ":" in destination else 28

    def told():
        forget_mtus(space)
        done = space.run("ping", "-n", "-c", "1", "-W", "2", "-M", "do", "-s", str(size - headers), destination, check=False)
        return re.search(rf"From {by}:? .*([Ff]rag needed|Packet too big).*mtu ?= ?(\d+)", done.stdout)
    return int(wait_until(told, 20, f"{space.short} is told an MTU").group(2))


def iperf3_server(space, *more):
    """Listens when this returns."""
    server = space.start(f"iperf3-{time.monotonic_ns()}", "iperf3", "-s", *more)
    wait_until(lambda: ":5201" in space.run("ss", "-Htln").stdout, 30, "iperf3 listens")
    return server


def bulk_tcp(client, space, destination, amount, *more):
    """`amount` bytes ("20M") from `client` to `destination`, which is in `space`. LabError unless all arrive."""
    server = iperf3_server(space, "-1")
    client.run("iperf3", "-c", destination, "-n", amount, *more, timeout=60)
    server.stop()


class Capture:
    """tcpdump on one interface, whole packets, to a file that scapy can read. What a DPDK port sends passes the kernel
    unseen: it is seen where it is received."""

    def __init__(self, space, interface, *expression):
        self.path = os.path.join(space.lab.directory, f"{space.short}-{interface}-{time.monotonic_ns()}.pcap")
        self.process = space.start(f"tcpdump-{space.short}-{interface}-{time.monotonic_ns()}", "tcpdump", "-U",
                                   "--immediate-mode", "-n", "-i", interface, "-s", "0", "-w", self.path, *expression)
        wait_until(lambda: "listening on" in self.process.output(), 30, "tcpdump listens")

    def stop(self):
        time.sleep(0.3)
        # What the kernel holds for it when it is told to end it does not take any more.
        wait_until(lambda: not self.process.running() or self.process.waits(), 20, "tcpdump has taken all")
        self.process.stop(signal.SIGINT)
        return self.path

    def count(self, *expression):
        return len(self.packets(*expression))

    def packets(self, *expression):
        """A line for each, without its time. Two of an echo are the same only when it was seen twice."""
        done = run(["tcpdump", "-n", "-r", self.path, *expression], check=False)
        return [line.split(" ", 1)[1] for line in done.stdout.splitlines() if line[:2].isdigit()]

    def wait_count(self, fewest, *expression):
        """Until there are so many: for what a process of the gateway hands on."""
        wait_until(lambda: self.count(*expression) >= fewest, 10, lambda: f"{fewest} packets: {self.packets(*expression)}")

    def lengths(self, *expression):
        """Of the frames, in bytes."""
        done = run(["tcpdump", "-n", "-e", "-r", self.path, *expression], check=False)
        return [int(length) for length in re.findall(r"^\d\S+ \S+ > \S+ .*?, length (\d+):", done.stdout, re.M)]


class BothEnds:
    """Captures at both ends of a link between two DPDK ports."""

    def __init__(self, *ends):
        self.captures = [Capture(space, interface) for space, interface in ends]

    def stop(self):
        for capture in self.captures:
            capture.stop()

    def count(self, *expression):
        return sum(capture.count(*expression) for capture in self.captures)
