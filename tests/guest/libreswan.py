"""Libreswan in the guest: another IKE daemon that is not ours, its ESP in the guest's kernel. Debian's package, unpacked
and never installed: it and strongSwan exclude each other."""
import os
import re
import shutil

from lab import run, wait_until
import packages

TOOLS = "/usr/libexec/ipsec"
LOG = "/run/pluto.log"
# Of NSS, which loads them when it is used.
NSS = ["/usr/lib/x86_64-linux-gnu/lib" + name for name in ("softokn3.so", "softokn3.chk", "freebl3.so", "freebl3.chk",
                                                          "freeblpriv3.so", "freeblpriv3.chk", "nssdbm3.so")]


def why_not():
    """In words; None when it can be had. Downloads it."""
    if not shutil.which("certutil"):
        return "certutil is not here (package libnss3-tools)"
    return packages.why_not("libreswan", programs)


def programs():
    """What the guest needs beside what it has: path there -> path here."""
    folder = packages.unpacked("libreswan", lambda: "libreswan")
    tools = {f"{TOOLS}/{name}": f"{folder}{TOOLS}/{name}" for name in ("pluto", "addconn", "whack")}
    return tools | {path: path for path in NSS if os.path.exists(path)}


class Database:
    """NSS's, where Libreswan has its certificates and private keys."""

    def __init__(self, directory):
        self.directory = directory
        os.makedirs(directory)
        self._certutil("-N", "--empty-password")

    def _certutil(self, *argv):
        run(["certutil", *argv, "-d", f"sql:{self.directory}"])

    def trust(self, name, certificate):
        self._certutil("-A", "-n", name, "-t", "CT,,", "-i", certificate)

    def take(self, name, certificate, key):
        """Libreswan's own."""
        path = os.path.join(self.directory, "..", f"{name}.p12")
        run(["openssl", "pkcs12", "-export", "-in", certificate, "-inkey", key, "-name", name, "-out", path,
             "-passout", "pass:"])
        run(["pk12util", "-i", path, "-d", f"sql:{self.directory}", "-W", "", "-K", ""])

    def files(self):
        """For Machine."""
        return {f"/var/lib/ipsec/nss/{name}": os.path.join(self.directory, name) for name in os.listdir(self.directory)}


def connection(name, **values):
    """A `conn` of ipsec.conf; `_` of a keyword is `-` there."""
    lines = [f"\t{key.replace('_', '-')}={value}\n" for key, value in values.items()]
    return f"conn {name}\n" + "".join(lines)


class Pluto:
    """Libreswan's daemon, told what to do by its `whack`."""

    def __init__(self, machine):
        self.machine = machine

    def start(self, secrets, *connections):
        """`connections`: of `connection`; they wait until they are initiated, from here or there."""
        text = f"config setup\n\tlogfile={LOG}\n\tdnssec-enable=no\n\n" + "\n".join(connections)
        self.machine.write("/etc/ipsec.conf", text)
        self.machine.write("/etc/ipsec.secrets", secrets)
        self.machine.run(f"mkdir -p /run/pluto /etc/ipsec.d; : >{LOG}; : >/etc/resolv.conf\n"
                         f"{TOOLS}/pluto --config /etc/ipsec.conf --nofork </dev/null >/run/pluto.out 2>&1 &")
        wait_until(lambda: "loading secrets" in self.log(), 30, lambda: f"pluto runs: {self.log()[-2000:]}")
        return self

    def whack(self, *argv, seconds=30, check=True):
        return self.machine.run(f"{TOOLS}/whack --ctlsocket /run/pluto/pluto.ctl {' '.join(argv)}", seconds, check).stdout

    def initiate(self, name):
        return self.whack("--name", name, "--initiate", check=False)

    def established(self):
        """The connections that have a child SA."""
        return re.findall(r'^006 #\d+: "(\S+)", type=ESP', self.whack("--trafficstatus"), re.MULTILINE)

    def log(self):
        return self.machine.run(f"cat {LOG} /run/pluto.out", check=False).stdout

    def stop(self):
        """Its SAs are deleted at the peer, and in the kernel; unless it waits for somebody else."""
        self.machine.run(f"timeout 3 {TOOLS}/whack --ctlsocket /run/pluto/pluto.ctl --shutdown\n"
                         "for tenth in $(seq 30); do pidof pluto >/dev/null || exit 0; sleep 0.1; done\n"
                         "kill -KILL $(pidof pluto); ip xfrm state flush; ip xfrm policy flush", check=False)
