"""espgate in a namespace: its configuration, its processes, and its shell with --json."""
import json
import os
import signal
import subprocess
import time

from lab import BUILD, ROOT, LabError, run, wait_until


def program(name):
    """The path of one of the built programs."""
    for folder in ("", "control", "control/shell", "dataplane"):
        path = os.path.join(BUILD, folder, name)
        if os.path.isfile(path):
            return path
    raise LabError(f"{name} is not built in {BUILD}")


def tunnel(name, local, remote, local_id, remote_id, psk, ike=("aes256-sha384-ecp384",),
           esp=("aes256gcm16-ecp384",), **more):
    """One tunnel of the configuration. `more`: `start`, `selectors`, `encapsulation`, ... at the tunnel's level."""
    return {"name": name, "local": {"address": local, "id": local_id}, "remote": {"address": remote, "id": remote_id},
            "psk": psk, "ike": {"proposals": list(ike), **more.pop("ike_more", {})},
            "esp": {"proposals": list(esp), **more.pop("esp_more", {})}, **more}


def configuration(name, ports, tunnels, routes, groups=(), **dataplane):
    """`ports`: (name, interface of the namespace, addresses) each."""
    return {"name": name,
            "dataplane": {"hugepages": "never", **dataplane},
            "ports": [{"name": port, "device": f"af_packet:{interface}", "addresses": list(addresses)}
                      for port, interface, addresses in ports],
            "routes": list(routes), "tunnels": list(tunnels), "groups": list(groups)}


class Gateway:
    def __init__(self, space, config):
        self.space = space
        self.directory = os.path.join(space.lab.directory, f"espgate-{space.short}")
        self.runtime = os.path.join(self.directory, "run")
        self.file = os.path.join(self.directory, "gateway.yaml")
        self.process = None
        os.makedirs(self.directory, exist_ok=True)
        self.configure(config)

    def configure(self, config):
        """Writes the configuration; JSON is YAML."""
        self.config = {**config, "runtime-directory": self.runtime}
        with open(self.file, "w") as out:
            json.dump(self.config, out, indent=1 if len(self.config["tunnels"]) < 1000 else None)
        os.chmod(self.file, 0o600)

    def start(self):
        self.process = self.space.start(f"espgate-{self.space.short}", program("espgate"), "run", self.file,
                                        "--runtime", self.runtime)
        wait_until(lambda: not self.process.running() or self.answers(), 30,
                   lambda: f"the shell of {self.space.short} answers: {self.process.output()[-3000:]}")
        if not self.process.running():
            raise LabError(f"espgate run ended with {self.process.popen.returncode}:\n{self.process.output()[-3000:]}")
        return self

    def answers(self):
        return self.shell("show", "tunnels", check=False).returncode == 0

    def shell(self, *argv, check=True, timeout=20):
        return run([program("espgate"), "--runtime", self.runtime, *argv], check=check, timeout=timeout)

    def json(self, *argv):
        done = subprocess.run([program("espgate"), "--runtime", self.runtime, "--json", *argv], timeout=20,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise LabError(f"espgate {' '.join(argv)} --json: exit {done.returncode}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def tunnels(self):
        return {row["name"]: row for row in self.json("show", "tunnels")}

    def settled_tunnels(self):
        """With what they have carried up to now: the dataplane brings it up to date four times a second."""
        self.settle()
        return self.tunnels()

    def settle(self):
        time.sleep(0.8)
        wait_until(lambda: self.json("show", "version")["dataplane_heartbeat_ms"] < 300, 20,
                   "the dataplane's main thread has had a CPU meanwhile")

    def kept_from_work(self):
        """Seconds: the longest pauses that the dataplane's threads have had, which had no CPU then or much to do."""
        shown = self.json("show", "version")
        return sum(thread["longest_pause_ms"] for thread in (shown["main_thread"], *shown["workers"])) / 1000

    def up(self, name):
        return self.tunnels()[name]["state"] == "up"

    def wait_up(self, *names, seconds=20):
        for name in names:
            wait_until(lambda name=name: self.up(name), seconds,
                       lambda name=name: f"tunnel {name} of {self.space.short} is up: {self.tunnels()[name]}\n"
                                         f"{self.shell('show', 'log', check=False).stdout[-3000:]}")

    def wait_down(self, name, seconds=20):
        wait_until(lambda: not self.up(name), seconds, f"tunnel {name} is down")

    def drops(self):
        """Every drop reason that counted something."""
        return {row["name"]: row["count"] for row in self.json("show", "drops") if row["count"]}

    def pids(self, name):
        """Pids of the processes of this gateway with this program name, in whatever network namespace they are by now: by
        the runtime directory that each is told."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline") as cmdline:
                    words = cmdline.read().split("\0")
            except OSError:
                continue
            if os.path.basename(words[0]) == name and self.runtime in words:
                found.append(int(pid))
        return found

    def kill(self, name, number=signal.SIGKILL, seconds=30):
        """Ends its process with this program name; over when another one is in its place and the shell answers (a process
        that is there does not listen yet)."""
        old, = self.pids(name)
        os.kill(old, number)
        wait_until(lambda: self.pids(name) and old not in self.pids(name) and self.answers(), seconds,
                   f"another {name} in {self.space.short}")

    def stop(self, number=signal.SIGINT, seconds=15):
        return self.process.stop(number, seconds)


class Example(Gateway):
    """The gateway of a file of conf/examples, on a lab's interfaces. `instead`: what else the file says that the lab
    has otherwise, and what it is to say. `secrets`: what is in the files that it names."""

    CARDS = {'"0000:01:00.0"': '"af_packet:lan"', '"0000:01:00.1"': '"af_packet:wan"'}

    def __init__(self, space, name, instead=None, secrets=None):
        with open(os.path.join(ROOT, "conf", "examples", f"{name}.yaml")) as example:
            self.text = example.read()
        for theirs, ours in {**self.CARDS, **(instead or {})}.items():
            if theirs not in self.text:
                raise LabError(f"{name}.yaml does not say {theirs}")
            self.text = self.text.replace(theirs, ours)
        super().__init__(space, None)
        for file, secret in (secrets or {}).items():
            self._write(file, secret)

    def configure(self, _):
        self._write(self.file, self.text)

    def _write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as out:
            out.write(text)
        os.chmod(path, 0o600)
