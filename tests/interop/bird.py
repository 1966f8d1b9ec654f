"""BIRD 2 in a namespace: a router that is not ours, for BFD and BGP, asked by its own birdc."""
import os
import re
import shutil

from lab import run, wait_until


def why_not():
    return None if shutil.which("bird") and shutil.which("birdc") else "BIRD 2 is not installed"


def bfd(interface, local, peer, interval=50, multiplier=3):
    """A session that is there without any routing. `interval`: milliseconds, both ways."""
    return (f'protocol bfd watch {{\n  interface "{interface}" {{ min rx interval {interval} ms; '
            f"min tx interval {interval} ms; idle tx interval 1 s; multiplier {multiplier}; }};\n"
            f'  neighbor {peer} dev "{interface}" local {local};\n}}\n')


def bgp(name, local, remote, numbers, hold=30, more=""):
    """One session for IPv4: `numbers` are our AS and the neighbour's."""
    return f"""
protocol bgp {name} {{
  local {local} as {numbers[0]}; neighbor {remote} as {numbers[1]};
  hold time {hold}; connect delay time 1; connect retry time 1; error wait time 1, 2; {more}
  ipv4 {{ import all; export all; }};
}}
"""


def routes(prefixes):
    """Static ones, to be told to the neighbours; the kernel gets none of them."""
    return "protocol static told { ipv4;\n" + "".join(f"  route {each} blackhole;\n" for each in prefixes) + "}\n"


class Bird:
    """`learns`: what BGP teaches goes into the kernel's routes."""

    def __init__(self, space, router, text, learns=False):
        self.space = space
        self.directory = os.path.join(space.lab.directory, f"bird-{space.short}")
        self.socket = os.path.join(self.directory, "bird.ctl")
        self.file = os.path.join(self.directory, "bird.conf")
        self.process = None
        os.makedirs(self.directory, exist_ok=True)
        kernel = "protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; }\n" if learns else ""
        with open(self.file, "w") as out:
            out.write(f"log stderr all;\nrouter id {router};\nprotocol device {{ scan time 1; }}\n{kernel}{text}")

    def start(self):
        self.process = self.space.start(f"bird-{self.space.short}", "bird", "-f", "-c", self.file, "-s", self.socket)
        wait_until(lambda: os.path.exists(self.socket), 30, lambda: f"BIRD runs: {self.process.output()}")
        return self

    def ask(self, *words):
        return run(["birdc", "-s", self.socket, *words], check=False).stdout

    def sessions(self):
        return self.ask("show", "bfd", "sessions")

    def established(self, name):
        """Since when (seconds of the day) the session is up; None when it is not. BIRD works it out anew each time it is
        asked, so the last digit is not always the same."""
        found = re.search(rf"^{name} +BGP .* (\d+):(\d+):([\d.]+) +Established", self.ask("show", "protocols", name), re.M)
        if not found:
            return None
        hours, minutes, seconds = map(float, found.groups())
        return 3600 * hours + 60 * minutes + seconds

    def wait_established(self, name, seconds=30):
        return wait_until(lambda: self.established(name), seconds,
                          lambda: f"BGP with {name}: {self.ask('show', 'protocols', 'all', name)}")

    def stop(self, *how):
        return self.process.stop(*how)
