"""Debian's kernel for the guest: downloaded and unpacked below build/, never installed."""
import glob
import os
import platform
import re
import shutil
import tempfile

from lab import BUILD, LabError, run

PACKAGE = "linux-image-cloud-amd64"
CACHE = os.path.join(BUILD, "guest")


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
    folder = os.path.join(CACHE, "kernel")
    if not os.path.isdir(folder):
        os.makedirs(CACHE, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            _unpack(_download(work), os.path.join(work, "kernel"))
            os.rename(os.path.join(work, "kernel"), folder)
    return Kernel(folder)


def _download(work):
    """PACKAGE itself is empty: it depends on the package of the newest kernel."""
    depends = run(["apt-cache", "depends", PACKAGE], check=False).stdout
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if not found:
        raise LabError(f"apt knows no {PACKAGE}: {depends.strip()}")
    done = run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", found.group(1)], check=False,
               timeout=300, cwd=work)
    files = glob.glob(os.path.join(work, "*.deb"))
    if done.returncode != 0 or not files:
        raise LabError(f"{found.group(1)} can't be downloaded: {done.stdout.strip()[-300:]}")
    return files[0]


def _unpack(package, folder):
    run(["dpkg-deb", "-x", package, folder], timeout=120)
    os.unlink(package)
    Kernel(folder)
