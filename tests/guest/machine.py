"""A Linux kernel of its own in QEMU (no KVM), with two network cards, which does as it is told."""
import base64
import os
import socket
import subprocess

import image
import kernel
from lab import LabError, wait_until

# No offloads: what the guest sends is whole packets with whole checksums, as from a real card.
CARD = ("csum=off,guest_csum=off,gso=off,host_tso4=off,host_tso6=off,host_ufo=off,guest_tso4=off,guest_tso6=off,"
        "guest_ufo=off,mrg_rxbuf=off")
BOOT_SECONDS = 60
LONGEST_OUTPUT = 1 << 24


class Machine:
    """QEMU in `space`, whose interfaces `tap-wan` and `tap-lan` (which it makes) are the guest's `wan` and `lan`. `programs`:
    what is to be there beside those of image.py, path there -> path here."""

    def __init__(self, space, programs=None):
        self.space = space
        self.programs = programs or {}
        self.directory = space.lab.directory
        self.kernel = kernel.fetch()
        self.console = os.path.join(self.directory, "guest-console.log")
        self.process = self.port = None
        for name in ("tap-wan", "tap-lan"):
            space.ip("tuntap", "add", name, "mode", "tap")
            space.run("sysctl", "-q", "-w", f"net.ipv6.conf.{name}.disable_ipv6=1")
            space.ip("link", "set", name, "up")

    def start(self):
        archive = os.path.join(self.directory, "guest.cpio")
        image.build(self.kernel, archive, self.programs)
        with socket.socket(socket.AF_UNIX) as listener:
            path = os.path.join(self.directory, "guest-port")
            listener.bind(path)
            listener.listen(1)
            listener.settimeout(0)
            self.process = self.space.start("guest", *self._argv(archive, path))
            wait_until(lambda: self._accept(listener) or not self.process.running(), 20, "QEMU has started")
        if not self.process.running():
            raise LabError(f"QEMU ended with {self.process.popen.returncode}: {self.process.output()[-2000:]}")
        if self._line(BOOT_SECONDS) != "ready":
            raise LabError("the guest spoke before it was ready")
        return self

    def _accept(self, listener):
        try:
            self.port = listener.accept()[0]
        except BlockingIOError:
            pass
        return self.port

    def _argv(self, archive, port):
        # QEMU ends with this process, whatever ends it.
        argv = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-machine", "q35",
                "-accel", "tcg,thread=single,tb-size=256", "-cpu", "max", "-smp", "1", "-m", "384", "-nodefaults",
                "-no-user-config", "-display", "none", "-no-reboot", "-serial", f"file:{self.console}",
                "-device", "virtio-rng-pci", "-device", "virtio-serial-pci", "-chardev", f"socket,id=port,path={port}",
                "-device", "virtserialport,chardev=port,nr=1"]
        for number, name in enumerate(("wan", "lan"), 1):
            argv += ["-netdev", f"tap,id={name},ifname=tap-{name},script=no,downscript=no",
                     "-device", f"virtio-net-pci,netdev={name},mac=02:47:00:00:00:0{number},{CARD}"]
        return argv + ["-kernel", self.kernel.image, "-initrd", archive, "-append",
                       "console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off"]

    def run(self, script, seconds=30, check=True):
        """A shell script's end, its output in `stdout`. LabError when it fails or takes longer, unless `check` is False
        (143: it was ended for taking longer), and when the guest is gone."""
        encoded = base64.b64encode(script.encode()).decode()
        self.port.settimeout(seconds)
        self.port.sendall(f"{seconds} {encoded}\n".encode())
        status, length = (int(word) for word in self._line(seconds + 10).split())
        if length > LONGEST_OUTPUT:
            raise LabError(f"the guest has {length} bytes of output")
        output = self._exactly(length).decode(errors="replace")
        if check and status != 0:
            raise LabError(f"in the guest: exit {status}: {script.strip()[:300]}\n{output[-3000:]}")
        return subprocess.CompletedProcess(script, status, output)

    def batch(self, commands):
        """Commands of iproute2, without `ip`."""
        lines = "\n".join(commands)
        self.run(f"ip -batch - <<'END-OF-THE-BATCH'\n{lines}\nEND-OF-THE-BATCH\n", seconds=60)

    def write(self, path, text):
        self.run(f"mkdir -p $(dirname {path})\ncat >{path} <<'END-OF-THE-FILE'\n{text}\nEND-OF-THE-FILE\n")

    def _exactly(self, length):
        found = b""
        while len(found) < length:
            try:
                part = self.port.recv(min(length - len(found), 65536))
            except TimeoutError:
                raise LabError(f"the guest is silent; its console:\n{self.boot_log()}") from None
            if not part:
                raise LabError(f"the guest is gone; its console:\n{self.boot_log()}")
            found += part
        return found

    def _line(self, seconds):
        self.port.settimeout(seconds)
        line = b""
        while not line.endswith(b"\n"):
            line += self._exactly(1)
        return line.decode().strip()

    def boot_log(self):
        with open(self.console, errors="replace") as log:
            return log.read()[-4000:]

    def close(self):
        """The guest powers off when its port is closed; who waits longer ends it."""
        if self.port:
            self.port.close()
