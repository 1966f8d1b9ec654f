"""SA pairs with keys by hand, at both ends: `ip xfrm` words for a Linux kernel, a tunnel's block for espgate."""
import os
import re

SALTS = {"gcm": 4, "gmac": 4, "ccm": 3, "ctr": 4, "": 0}
HMACS = {"sha1": (20, 96), "sha256": (32, 128), "sha384": (48, 192), "sha512": (64, 256)}  # bytes of key, bits of ICV
AEADS = {"gcm": "rfc4106(gcm(aes))", "gmac": "rfc4543(gcm(aes))", "ccm": "rfc4309(ccm(aes))"}
CIPHERS = {"ctr": "rfc3686(ctr(aes))", "": "cbc(aes)"}


class Algorithm:
    """Of a suite by its name: how long its key is (cipher key, salt, integrity key), and what Linux calls it."""

    def __init__(self, suite):
        cipher, _, self.hmac = suite.partition("-")
        if cipher == "chacha20poly1305":
            self.cipher_key, self.words = 36, ("aead", "rfc7539esp(chacha20,poly1305)", 128)
        elif cipher == "null":
            self.cipher_key, self.words = 0, ("enc", "ecb(cipher_null)", None)
        else:
            bits, mode, icv = re.fullmatch(r"aes(\d+)([a-z]*)(\d*)", cipher).groups()
            self.cipher_key = int(bits) // 8 + SALTS[mode]
            aead = AEADS.get(mode)
            self.words = ("aead", aead, 8 * int(icv or 16)) if aead else ("enc", CIPHERS[mode], None)
        self.key_length = self.cipher_key + (HMACS[self.hmac][0] if self.hmac else 0)

    def xfrm(self, key):
        kind, name, icv = self.words
        text = f"{kind} '{name}' {_hex(key[:self.cipher_key])}" + (f" {icv}" if icv else "")
        if self.hmac:
            text += f" auth-trunc 'hmac({self.hmac})' {_hex(key[self.cipher_key:])} {HMACS[self.hmac][1]}"
        return text


def _hex(key):
    return "0x" + key.hex() if key else "''"


class Pair:
    """Two SAs between `ends` (east's address, west's), known by `number` (0..4095). In tunnel mode both families fit."""

    def __init__(self, suite, number, ends, esn=False, mode="tunnel", udp=False):
        self.suite, self.number, self.ends, self.esn, self.mode, self.udp = suite, number, ends, esn, mode, udp
        self.algorithm = Algorithm(suite)
        # East's inbound SPI is an address in its dataplane; see docs/configuration.md.
        self.spis = {"west": 0x00001000 + number, "east": 0x00040100 + number}  # by who receives
        self.keys = {end: os.urandom(self.algorithm.key_length) for end in self.spis}

    def east(self, folder):
        """espgate's block `manual`; writes its key files."""
        def direction(receiver):
            path = os.path.join(folder, f"{self.number}-to-{receiver}.key")
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
                out.write(self.keys[receiver].hex())
            return {"spi": f"0x{self.spis[receiver]:08x}", "key-file": path}
        return {"suite": self.suite, "esn": self.esn, "inbound": direction("east"), "outbound": direction("west"),
                "encapsulation": "udp" if self.udp else "none"}

    def state(self, receiver, *more):
        """`ip xfrm` words of the SA that `receiver` ("east", "west") receives on."""
        source, destination = self.ends if receiver == "west" else self.ends[::-1]
        flags = (["af-unspec"] if self.mode == "tunnel" else []) + (["esn"] if self.esn else [])
        return " ".join([
            f"src {source} dst {destination} proto esp spi 0x{self.spis[receiver]:x} reqid {self.number + 1}",
            f"mode {self.mode} replay-window 64", f"flag {' flag '.join(flags)}" if flags else "", *more,
            "encap espinudp 4500 4500 0.0.0.0" if self.udp else "", self.algorithm.xfrm(self.keys[receiver])])

    def policies(self, east_net, west_net):
        """Commands of west's `ip`, for what goes between the two networks."""
        templates = {direction: f"tmpl src {source} dst {destination} proto esp reqid {self.number + 1} mode {self.mode}"
                     for direction, (source, destination) in (("out", self.ends[::-1]), ("in", self.ends))}
        return [f"xfrm policy add src {west_net} dst {east_net} dir out {templates['out']}",
                f"xfrm policy add src {east_net} dst {west_net} dir in {templates['in']}"]

    def echo_policies(self):
        """Commands of west's `ip`, for its echo requests and their answers, between the ends and of the ends."""
        template = f"proto esp reqid {self.number + 1} mode {self.mode}"
        east, west = self.ends
        kinds = ("proto 58 type 128", "proto 58 type 129") if ":" in east else ("proto 1",) * 2
        return [f"xfrm policy add src {west} dst {east} {kinds[0]} dir out tmpl src {west} dst {east} {template}",
                f"xfrm policy add src {east} dst {west} {kinds[1]} dir in tmpl src {east} dst {west} {template}"]
