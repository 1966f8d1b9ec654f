"""FRR in a namespace: zebra and bgpd, another router that is not ours, asked by its own vtysh."""
import json
import os
import shutil

from lab import run, wait_until

DAEMONS = "/usr/lib/frr"
# Of zebra's netlink sockets, as Debian's own start has it: the kernel tells of more routes than its default holds.
NETLINK_BUFFER = "90000000"


def why_not():
    return None if os.path.exists(f"{DAEMONS}/zebra") and shutil.which("vtysh") else "FRR is not installed"


class Frr:
    """`text`: bgpd's configuration; `zebra`: zebra's. The daemons stay root, whose directory the lab's is."""

    def __init__(self, space, text, zebra=""):
        self.space = space
        self.directory = os.path.join(space.lab.directory, f"frr-{space.short}")
        self.processes = {}
        os.makedirs(self.directory, exist_ok=True)
        for name, content in (("zebra", zebra + "\n"), ("bgpd", text), ("vtysh", "")):
            with open(self._path(f"{name}.conf"), "w") as out:
                out.write(content)

    def _path(self, name):
        return os.path.join(self.directory, name)

    def start(self):
        self._start_daemon("zebra", "-s", NETLINK_BUFFER)
        self._start_daemon("bgpd")
        return self

    def _start_daemon(self, name, *more):
        process = self.space.start(
            f"{name}-{self.space.short}", f"{DAEMONS}/{name}", "-u", "root", "-g", "frrvty", "-A", "127.0.0.1", "-P", "0",
            "-f", self._path(f"{name}.conf"), "-i", self._path(f"{name}.pid"), "-z", self._path("zserv.api"),
            "--vty_socket", self.directory, *more)
        self.processes[name] = process
        wait_until(lambda: self.ask("show memory", daemon=name)[0] == 0, 10, lambda: f"{name} runs: {process.output()}")

    def ask(self, command, daemon="bgpd"):
        """vtysh's exit status, and what it prints."""
        done = run(["vtysh", "--vty_socket", self.directory, "--config_dir", self.directory, "-d", daemon, "-c", command],
                   check=False)
        return done.returncode, done.stdout

    def _neighbour(self, address):
        status, text = self.ask(f"show bgp neighbors {address} json")
        return json.loads(text).get(address, {}) if status == 0 else {}

    def prefixes(self, neighbour):
        """How many it has told us."""
        return self._neighbour(neighbour).get("addressFamilyInfo", {}).get("ipv4Unicast", {}).get("acceptedPrefixCounter")

    def established(self, neighbour):
        """Since when (seconds of an epoch) the session is up; None when it is not."""
        its = self._neighbour(neighbour)
        return its.get("bgpTimerUpEstablishedEpoch") if its.get("bgpState") == "Established" else None

    def wait_established(self, neighbour, seconds=30):
        return wait_until(lambda: self.established(neighbour), seconds,
                          lambda: f"BGP with {neighbour}: {self.ask('show bgp summary')[1]}")

    def stop(self):
        for name in reversed(list(self.processes)):
            self.processes.pop(name).stop()
