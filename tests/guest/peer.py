"""strongSwan in the guest: IKE in userspace, ESP in the guest's kernel. swanctl runs on this side: in the guest, which
is slow, it would take longer than the IKE exchanges."""
import os

import image
import swan
from lab import run, wait_until

LOG = "/run/charon.log"
PORT = 4502


class KernelSwan(swan.Swanctl):
    """`address`: one of the machine's, that can be reached from the namespace `space` whatever the tunnels are."""

    def __init__(self, machine, space, address):
        self.machine = machine
        super().__init__(os.path.join(machine.directory, "swan-guest"), f"tcp://{address}:{PORT}",
                         lambda argv, **more: run(["ip", "netns", "exec", space.name, *argv], **more))

    def start(self, connections, secrets, settings=None, ppks=()):
        settings = {"plugins": {"vici": {"socket": f"tcp://0.0.0.0:{PORT}"}}, **(settings or {})}
        self.machine.write("/etc/strongswan.conf", swan.daemon_text(image.PLUGINS, LOG, settings))
        self.machine.run("charon-systemd </dev/null >/run/charon.out 2>&1 &")
        self.configure(connections, secrets, ppks)
        wait_until(lambda: self.load(check=False), 20, lambda: f"swanctl --load-all works: {self.log()[-2000:]}")
        return self

    def log(self):
        return self.machine.run(f"cat {LOG} /run/charon.out", check=False).stdout

    def stop(self):
        """Its SAs are deleted at the peer, and in the kernel."""
        self.machine.run("kill $(pidof charon-systemd)\nwhile pidof charon-systemd >/dev/null; do sleep 0.1; done")
