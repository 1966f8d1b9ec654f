"""Debian's kernel for the guest: downloaded and unpacked below build/, never installed."""
import glob
import os
import platform
import re
import shutil

from lab import LabError, run
from packages import unpacked

PACKAGE = "linux-image-cloud-amd64"


def why_not():
    """Why there can be no guest on this machine, in words; None when there can. Downloads nothing."""
    if platform.machine() != "x86_64":
        return f"the guest is for x86_64, this machine is {platform.machine()}"
    for program, package in (("qemu-system-x86_64", "qemu-system-x86"), ("busybox", "busybox-static"),
                             ("dpkg-deb", "dpkg"), ("apt-get", "apt"), ("ldd", "libc-bin"), ("setpriv", "util-linux")):
        if not shutil.which(program):
            return f"{program} is not here (package {package})"
    return None


class Kernel:
    """`image`: the file that QEMU starts. `modules`: the folder lib/modules/RELEASE."""

    def __init__(self, folder):
        self.image = glob.glob(os.path.join(folder, "boot", "vmlinuz-*"))[0]
        self.release = os.path.basename(self.image)[len("vmlinuz-"):]
        self.modules = os.path.join(folder, "lib", "modules", self.release)


def fetch():
    """The cached kernel, or the newest that apt has; LabError says why there is none."""
    return Kernel(unpacked("kernel", _newest))


def _newest():
    """PACKAGE itself is empty: it depends on the package of the newest kernel."""
    depends = run(["apt-cache", "depends", PACKAGE], check=False).stdout
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if not found:
        raise LabError(f"apt knows no {PACKAGE}: {depends.strip()}")
    return found.group(1)
