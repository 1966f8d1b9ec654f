"""BIRD 2 with nothing but BFD, in a namespace: a peer that is not ours."""
import os
import shutil

from lab import run, wait_until


def why_not():
    return None if shutil.which("bird") and shutil.which("birdc") else "BIRD 2 is not installed"


class Bird:
    """BFD with `peer` from `local` over `interface`. `interval`: milliseconds, both ways."""

    def __init__(self, space, interface, local, peer, interval=50, multiplier=3):
        self.space = space
        self.directory = os.path.join(space.lab.directory, f"bird-{space.short}")
        self.socket = os.path.join(self.directory, "bird.ctl")
        self.file = os.path.join(self.directory, "bird.conf")
        self.process = None
        os.makedirs(self.directory, exist_ok=True)
        with open(self.file, "w") as out:
            out.write(f"router id 192.0.2.99;\n"
                      f"protocol device {{ scan time 1; }}\n"
                      f"protocol bfd watch {{\n"
                      f'  interface "{interface}" {{ min rx interval {interval} ms; min tx interval {interval} ms; '
                      f"idle tx interval 1 s; multiplier {multiplier}; }};\n"
                      f'  neighbor {peer} dev "{interface}" local {local};\n}}\n')

    def start(self):
        self.process = self.space.start(f"bird-{self.space.short}", "bird", "-f", "-c", self.file, "-s", self.socket)
        wait_until(lambda: os.path.exists(self.socket), 10, "BIRD's socket")
        return self

    def ask(self, *argv):
        return run(["birdc", "-s", self.socket, *argv], check=False).stdout

    def sessions(self):
        return self.ask("show", "bfd", "sessions")

    def stop(self, *how):
        return self.process.stop(*how)
