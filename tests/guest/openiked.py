"""OpenIKED in the guest: OpenBSD's IKE daemon, its ESP in the guest's kernel, by PF_KEY. Debian's package, unpacked and
never installed."""
from lab import wait_until
import packages

LOG = "/run/iked.log"
LEGACY = "/usr/lib/x86_64-linux-gnu/ossl-modules/legacy.so"  # of OpenSSL, without which it does not start
FOLDERS = " ".join(f"/etc/iked/{name}" for name in ("ca", "certs", "crls", "private", "pubkeys/fqdn"))


def why_not():
    """In words; None when it can be had. Downloads it."""
    return packages.why_not("openiked", programs)


def programs():
    """What the guest needs beside what it has: path there -> path here."""
    folder = packages.unpacked("openiked", lambda: "openiked")
    return {"/usr/sbin/iked": f"{folder}/usr/sbin/iked", LEGACY: LEGACY}


class Iked:
    """The daemon."""

    def __init__(self, machine):
        self.machine = machine

    def start(self, *policies):
        """`policies`: of iked.conf, as text. One that is active begins at once."""
        self.machine.write("/etc/iked.conf", "\n".join(policies) + "\n")
        self.machine.run(f"chmod 600 /etc/iked.conf; mkdir -p {FOLDERS} /var/empty\n"
                         "grep -q _iked /etc/passwd || echo '_iked:x:99:99::/var/empty:/bin/false' >>/etc/passwd\n"
                         "grep -q _iked /etc/group || echo '_iked:x:99:' >>/etc/group\n"
                         f"iked -dvv </dev/null >{LOG} 2>&1 &")
        wait_until(lambda: "config_getstatic: " in self.log(), 90,
                   lambda: f"iked runs: {self.log()[-3000:]}")
        return self

    def log(self):
        return self.machine.run(f"cat {LOG}", check=False).stdout

    def stop(self):
        """The peer is not told."""
        self.machine.run("kill $(pidof iked)\nfor tenth in $(seq 50); do pidof iked >/dev/null || break; sleep 0.1; done\n"
                         "kill -KILL $(pidof iked) 2>/dev/null; ip xfrm state flush; ip xfrm policy flush", check=False)
