"""strongSwan 5.9 as a peer with its ESP in userspace: the oracle that is not ours.

Each daemon has its own configuration, vici socket and log, and never runs outside a namespace of the lab. Its ESP
always travels in UDP port 4500 (kernel-libipsec reports a NAT where there is none). See docs/interop.md.
"""
import os
import shutil
import signal

from lab import LabError, run, wait_until

PLUGINS = ("random nonce openssl pem pkcs1 pkcs8 x509 pubkey constraints hmac kdf curve25519 gcm ccm ctr aes sha1 sha2 "
           "kernel-libipsec kernel-netlink socket-default vici updown")

# Bytes. A socket's default is full after 20 ms of ten thousand packets a second, for which it may have no CPU here.
RECEIVE_BUFFER = 8 << 20


def why_not():
    if not os.path.exists("/usr/sbin/charon-systemd"):
        return "strongSwan (charon-systemd) is not installed"
    if not os.path.exists("/dev/net/tun"):
        return "/dev/net/tun is not here, which strongSwan's userspace ESP needs"
    return None if shutil.which("swanctl") else "swanctl is not installed"


def section(name, content, depth=0):
    """A strongswan.conf / swanctl.conf section from nested dictionaries."""
    pad = "  " * depth
    lines = [f"{pad}{name} {{"]
    for key, value in content.items():
        if isinstance(value, dict):
            lines.append(section(key, value, depth + 1))
        else:
            lines.append(f"{pad}  {key} = {value}")
    return "\n".join(lines + [pad + "}"])


def connection(local, remote, local_id, remote_id, ike="aes256-sha384-ecp384", esp="aes256gcm16-ecp384",
               local_ts="0.0.0.0/0,::/0", remote_ts="0.0.0.0/0,::/0", start="none", child=None, **more):
    """One connection with one child named `net`, pre-shared key, no MOBIKE."""
    child = {"local_ts": local_ts, "remote_ts": remote_ts, "esp_proposals": esp, "start_action": start,
             "dpd_action": "clear", "rekey_time": "1h", **(child or {})}
    return {"version": 2, "local_addrs": local, "remote_addrs": remote, "proposals": ike, "mobike": "no",
            "local": {"id": local_id, "auth": "psk"}, "remote": {"id": remote_id, "auth": "psk"}, **more,
            "children": {"net": child}}


def daemon_text(plugins, log, settings):
    """strongswan.conf, as text. Of `settings` "log" is how much is said of what."""
    levels = {"default": 1, "ike": 2, "cfg": 2, **settings.get("log", {})}
    more = {name: value for name, value in settings.items() if name != "log"}
    return section("charon-systemd", {
        "load": plugins, "install_routes": "yes", "retransmit_tries": 3, "retransmit_timeout": "1.0",
        "filelog": {"log": {"path": log, "time_format": "%H:%M:%S", "flush_line": "yes", **levels}},
        "journal": {"default": -1}, **more}) + "\n"


def connections_text(connections, secrets, ppks=()):
    """swanctl.conf, as text. `ppks`: list of (id, key)."""
    keys = {f"ike-{number}": {"id-a": a, "id-b": b, "secret": f'"{psk}"'} for number, (a, b, psk) in enumerate(secrets)}
    keys |= {f"ppk-{number}": {"id": name, "secret": f'"{key}"'} for number, (name, key) in enumerate(ppks)}
    return section("connections", connections) + "\n" + section("secrets", keys) + "\n"


class Swanctl:
    """What swanctl does with a charon, wherever that runs: `uri` is its vici socket, for a swanctl that `run` starts."""

    def __init__(self, directory, uri, run=run):
        self.directory = directory
        self.uri = uri
        self._run = run
        os.makedirs(os.path.join(directory, "swanctl", "conf.d"), exist_ok=True)

    def configure(self, connections, secrets, ppks=()):
        path = os.path.join(self.directory, "swanctl", "swanctl.conf")
        with open(path, "w") as conf:
            conf.write(connections_text(connections, secrets, ppks))
        os.chmod(path, 0o600)

    def load(self, check=True):
        done = self.swanctl("--load-all", "--noprompt", check=check)
        return done.returncode == 0

    def swanctl(self, *argv, check=True, timeout=60):
        return self._run(["swanctl", *argv, "--uri", self.uri], check=check, timeout=timeout,
                         env={**os.environ, "SWANCTL_DIR": os.path.join(self.directory, "swanctl")})

    def initiate(self, ike, seconds=15, check=True):
        return self.swanctl("--initiate", "--ike", ike, "--child", "net", "--timeout", str(seconds), check=check)

    def sas(self):
        return self.swanctl("--list-sas").stdout

    def established(self, ike):
        """True when the connection has an IKE SA and an installed child SA."""
        text = self.sas()
        return f"{ike}: #" in text and "ESTABLISHED" in text and "INSTALLED" in text


class Swan(Swanctl):
    """One charon in `space`. `connections`: name to `connection(...)`. `secrets`: list of (id, id, PSK)."""

    def __init__(self, space, connections, secrets, settings=None):
        self.space = space
        self.name = f"swan-{space.short}"
        directory = os.path.join(space.lab.directory, self.name)
        self.socket = os.path.join(directory, "vici.sock")
        super().__init__(directory, f"unix://{self.socket}")
        self.charon_log = os.path.join(self.directory, "charon.log")
        self.process = None
        self._write_daemon(settings or {})
        self.configure(connections, secrets)

    def _write_daemon(self, settings):
        settings = {"plugins": {"vici": {"socket": self.uri},
                                "kernel-libipsec": {"allow_peer_ts": "yes"}}, **settings}
        with open(os.path.join(self.directory, "strongswan.conf"), "w") as conf:
            conf.write(daemon_text(PLUGINS, self.charon_log, settings))

    def start(self):
        """Starts the daemon and loads its configuration. Any-to-any selectors would loop the ESP itself into the
        tunnel, so routes of the main table (but for its default route) come first."""
        rules = self.space.ip("rule", "list").stdout
        for family in ("-4", "-6"):
            if "suppress_prefixlength" not in rules:
                self.space.ip(family, "rule", "add", "pref", "100", "lookup", "main", "suppress_prefixlength", "0")
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        self.process = self.space.start(self.name, "/usr/sbin/charon-systemd",
                                        env={"STRONGSWAN_CONF": os.path.join(self.directory, "strongswan.conf")})
        wait_until(lambda: os.path.exists(self.socket) or not self.process.running(), 20, "strongSwan's vici socket")
        wait_until(lambda: self.load(check=False), 30, lambda: f"swanctl --load-all works: {self.log()[-2000:]}")
        self.process.keeps_datagrams(RECEIVE_BUFFER)  # its ESP is datagrams to it, and the tests count what espgate loses
        # kernel-libipsec installs a route for the first family of a child's selectors only
        self.space.ip("-6", "route", "replace", "default", "dev", "ipsec0", "table", "220")
        return self

    def log(self):
        try:
            with open(self.charon_log, errors="replace") as log:
                return log.read()
        except FileNotFoundError:
            return self.process.output() if self.process else ""

    def stop(self, number=signal.SIGTERM):
        """SIGTERM deletes its SAs at the peer; SIGKILL leaves without a word."""
        if self.process is None:
            raise LabError(f"{self.name} was not started")
        return self.process.stop(number)
