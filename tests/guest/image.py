"""The guest's whole file system, as an initramfs: programs of this machine, modules of the guest's kernel, our init."""
import os
import re
import shutil

from lab import run

HERE = os.path.dirname(os.path.abspath(__file__))
PLUGINS = ("random nonce openssl pem pkcs1 pkcs8 x509 pubkey constraints hmac kdf curve25519 gcm ccm ctr aes sha1 sha2 "
           "kernel-netlink socket-default vici updown")
# libgcc is what threads load when they are cancelled.
PROGRAMS = ["/bin/dash", "/bin/ip", "/bin/ping", "/usr/sbin/charon-systemd",
            "/lib/x86_64-linux-gnu/libgcc_s.so.1"] + [
    f"/usr/lib/ipsec/plugins/libstrongswan-{name}.so" for name in PLUGINS.split()]
# Of lib/modules/RELEASE/kernel; the kernel loads what it wants of them, and their dependencies, by itself.
MODULES = ["crypto", "arch/x86/crypto", "lib", "net/ipv4", "net/ipv6", "net/xfrm", "net/key", "net/core",
           "drivers/virtio", "drivers/net/virtio_net.ko", "drivers/net/net_failover.ko", "drivers/char/virtio_console.ko",
           "drivers/char/hw_random"]


def build(kernel, path, more):
    """Writes the archive to `path`. Takes about a second; nothing of it is cached, as all of it may change. `more`:
    programs beside PROGRAMS, their paths there and here."""
    root = path + ".root"
    shutil.rmtree(root, ignore_errors=True)
    _folders(root)
    for program in PROGRAMS + _libraries(PROGRAMS + list(more.values())):
        _copy(program, root + program)
    for there, here in more.items():
        _copy(here, root + there)
    shutil.copy2(shutil.which("busybox"), os.path.join(root, "bin", "busybox"))
    os.symlink("/bin/busybox", os.path.join(root, "sbin", "modprobe"))
    os.symlink("dash", os.path.join(root, "bin", "sh"))
    _modules(kernel, root)
    shutil.copy2(os.path.join(HERE, "init.sh"), os.path.join(root, "init"))
    os.chmod(os.path.join(root, "init"), 0o755)
    run(["sh", "-c", f"find . | busybox cpio -o -H newc -R 0:0 2>/dev/null >'{path}'"], cwd=root)
    shutil.rmtree(root)


def _folders(root):
    for folder in ("usr/bin", "usr/sbin", "usr/lib64", "usr/lib/ipsec", "busybox", "dev", "proc", "sys", "run",
                   "tmp", "etc", "root", "var"):
        os.makedirs(os.path.join(root, folder))
    for name in ("bin", "sbin", "lib", "lib64"):
        os.symlink(f"usr/{name}", os.path.join(root, name))
    os.symlink("/run", os.path.join(root, "var", "run"))
    for name, text in (("passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("group", "root:x:0:\n"),
                       ("hosts", "127.0.0.1 localhost\n"), ("nsswitch.conf", "passwd: files\n")):
        with open(os.path.join(root, "etc", name), "w") as out:
            out.write(text)


def _libraries(programs):
    listed = run(["ldd", *programs], check=False).stdout
    return sorted(set(re.findall(r"(/\S+) \(0x", listed)))


def _copy(path, target):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copy2(os.path.realpath(path), target)


def _modules(kernel, root):
    target = os.path.join(root, "lib", "modules", kernel.release)
    for name in MODULES:
        source = os.path.join(kernel.modules, "kernel", name)
        if os.path.isdir(source):
            shutil.copytree(source, os.path.join(target, "kernel", name))
        else:
            os.makedirs(os.path.dirname(os.path.join(target, "kernel", name)), exist_ok=True)
            shutil.copy2(source, os.path.join(target, "kernel", name))
    run(["busybox", "depmod", "-b", root, kernel.release])
