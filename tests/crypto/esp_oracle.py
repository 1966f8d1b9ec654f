"""The ESP suites as other people's libraries do them: scapy's ESP, and the cryptography package without scapy.

A suite is known here by its name alone, as operators write it; nothing is read from crypto/suite.hpp. Key material is
cipher key, salt and integrity key, in this order.
"""
import hashlib
import hmac
import re
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

NAMES = [
    "aes128gcm16", "aes256gcm16", "aes128-sha1", "aes256-sha1", "aes128-sha256", "aes256-sha256",
    "aes192gcm16", "aes128gcm8", "aes192gcm8", "aes256gcm8", "aes128gcm12", "aes192gcm12", "aes256gcm12",
    "aes192-sha1", "aes192-sha256", "aes128-sha384", "aes192-sha384", "aes256-sha384",
    "aes128-sha512", "aes192-sha512", "aes256-sha512",
    "chacha20poly1305", "null-sha1", "null-sha256", "null-sha384", "null-sha512",
    "aes128gmac", "aes192gmac", "aes256gmac", "aes128ctr-sha1", "aes192ctr-sha1", "aes256ctr-sha1",
    "aes128ctr-sha256", "aes192ctr-sha256", "aes256ctr-sha256", "aes128ctr-sha384", "aes192ctr-sha384",
    "aes256ctr-sha384", "aes128ctr-sha512", "aes192ctr-sha512", "aes256ctr-sha512",
    "aes128ccm16", "aes256ccm16", "aes128ccm8", "aes256ccm8", "aes128ccm12", "aes256ccm12",
]
# Integrity key and ICV in bytes, and scapy's name: RFC 2404, RFC 4868.
HASHES = {"sha1": (20, 12, "HMAC-SHA1-96"), "sha256": (32, 16, "SHA2-256-128"), "sha384": (48, 24, "SHA2-384-192"),
          "sha512": (64, 32, "SHA2-512-256")}
CIPHERS = {  # salt, IV and alignment in bytes, and scapy's name
    "gcm": (4, 8, 4, "AES-GCM"),  # RFC 4106
    "cbc": (0, 16, 16, "AES-CBC"),  # RFC 3602
    "ctr": (4, 8, 4, "AES-CTR"),  # RFC 3686
    "ccm": (3, 8, 4, "AES-CCM"),  # RFC 4309
    "gmac": (4, 8, 4, None),  # RFC 4543
    "null": (0, 0, 4, "NULL"),  # RFC 2410
    "chacha20poly": (4, 8, 4, "CHACHA20-POLY1305"),  # RFC 7634
}


class Suite:
    def __init__(self, name):
        bits, mode, icv, self.hash = re.fullmatch(
            r"(?:aes(\d{3}))?([a-z]*|chacha20poly)(\d*)(?:-(sha\d+))?", name).groups()
        self.name = name
        self.mode = mode or "cbc"
        self.key = int(bits) // 8 if bits else {"null": 0, "chacha20poly": 32}[mode]
        self.salt, self.iv, self.alignment, self.scapy_cipher = CIPHERS[self.mode]
        self.integrity_key, self.icv, self.scapy_hash = HASHES[self.hash] if self.hash else (0, 16, None)
        if self.mode in ("gcm", "ccm"):
            self.icv = int(icv)
        self.key_material = self.key + self.salt + self.integrity_key

    def enumerator(self):
        """As crypto/suite.hpp writes it."""
        if self.mode == "chacha20poly":
            return "chacha20_poly1305"
        cipher = self.mode if self.mode == "null" else f"aes{8 * self.key}_{self.mode}"
        return cipher + (str(self.icv) if self.mode in ("gcm", "ccm") else "") + (f"_{self.hash}" if self.hash else "")

    def split(self, keys):
        """Cipher key, salt and integrity key."""
        assert len(keys) == self.key_material
        return keys[:self.key], keys[self.key:self.key + self.salt], keys[self.key + self.salt:]

    def engine_iv(self, keys, sequence):
        """The IV that espgate seals with: the sequence, or for CBC its encryption as one block."""
        if self.mode == "cbc":
            return crypt(self.split(keys)[0], modes.ECB(), struct.pack(">QQ", 0, sequence))
        return struct.pack(">Q", sequence)[:self.iv]

    def open(self, keys, packet, high=b""):
        """The plaintext of an ESP packet from SPI to ICV, by the cryptography package; raises what is not authentic.
        `high`: the 4 bytes of the sequence number that are not on the wire, with ESN."""
        key, salt, integrity_key = self.split(keys)
        header, iv, rest = packet[:4] + high + packet[4:8], packet[8:8 + self.iv], packet[8 + self.iv:]
        ciphertext, icv = rest[:-self.icv], rest[-self.icv:]
        if self.mode == "gcm":
            cipher = Cipher(algorithms.AES(key), modes.GCM(salt + iv, icv, self.icv)).decryptor()
            cipher.authenticate_additional_data(header)
            return cipher.update(ciphertext) + cipher.finalize()
        if self.mode == "gmac":
            assert AESGCM(key).decrypt(salt + iv, icv, header + iv + ciphertext) == b""
            return ciphertext
        if not self.hash:
            return self.aead(key).decrypt(salt + iv, rest, header)
        assert self.mac(integrity_key, packet[:-self.icv] + high) == icv
        return crypt(key, self.cipher_mode(salt, iv), ciphertext, encrypt=False)

    def seal(self, keys, header, iv, plaintext, high=b""):
        """The ESP packet, by the cryptography package."""
        key, salt, integrity_key = self.split(keys)
        aad = header[:4] + high + header[4:]
        if self.mode == "gcm":
            sealed = AESGCM(key).encrypt(salt + iv, plaintext, aad)
            return header + iv + sealed[:len(plaintext) + self.icv]
        if self.mode == "gmac":
            return header + iv + plaintext + AESGCM(key).encrypt(salt + iv, b"", aad + iv + plaintext)
        if not self.hash:
            return header + iv + self.aead(key).encrypt(salt + iv, plaintext, aad)
        packet = header + iv + crypt(key, self.cipher_mode(salt, iv), plaintext)
        return packet + self.mac(integrity_key, packet + high)

    def esp_packet(self, keys, spi, sequence, iv, inner, high=b"", next_header=None):
        """`inner` with its trailer (RFC 4303 section 2.4); in tunnel mode its version is the next header. The low 32 bits
        of `sequence` are sent."""
        padding = bytes(range(1, 1 + -(len(inner) + 2) % self.alignment))
        if next_header is None:
            next_header = 41 if inner[0] >> 4 == 6 else 4
        trailer = padding + bytes([len(padding), next_header])
        return self.seal(keys, struct.pack(">LL", spi, sequence & 0xffffffff), iv, inner + trailer, high)

    def aead(self, key):
        return AESCCM(key, self.icv) if self.mode == "ccm" else ChaCha20Poly1305(key)

    def cipher_mode(self, salt, iv):
        return {"null": None, "cbc": modes.CBC(iv or bytes(16)), "ctr": modes.CTR((salt + iv + b"\0\0\0\1")[:16])}[self.mode]

    def mac(self, integrity_key, data):
        return hmac.new(integrity_key, data, getattr(hashlib, self.hash)).digest()[:self.icv]

    def association(self, keys, high=b"", **more):
        """scapy's SecurityAssociation; not of GMAC, which scapy does not have. `high`: as with `open`."""
        from scapy.layers import ipsec
        key, salt, integrity_key = self.split(keys)
        cipher = self.scapy_cipher
        if self.mode == "gcm" and self.icv != 16:
            cipher = f"AES-GCM-{self.icv}"
            ipsec.CRYPT_ALGOS[cipher] = ipsec.CryptAlgo(
                cipher, cipher=algorithms.AES, mode=modes.GCM, block_size=1, iv_size=8, salt_size=4, icv_size=self.icv,
                format_mode_iv=lambda sa, iv, **_: sa.crypt_salt + iv)
        if self.mode == "ccm":
            more["crypt_icv_size"] = self.icv
        if high:
            more.update(esn_en=True, esn=struct.unpack(">L", high)[0])
        made = ipsec.SecurityAssociation(ipsec.ESP, crypt_algo=cipher, crypt_key=key + salt, auth_algo=self.scapy_hash,
                                         auth_key=integrity_key or None, **more)
        if high and self.hash:
            made.auth_algo = with_high_bits(made.auth_algo, high)
        return made


def with_high_bits(algorithm, high):
    """scapy 2.5 leaves them out of ESP's HMACs. RFC 4303 section 3.3.2.1: they follow the ciphertext."""
    from scapy.layers import ipsec

    class Extended(ipsec.AuthAlgo):
        def new_mac(self, key):
            mac = super().new_mac(key)
            finalize = mac.finalize
            mac.finalize = lambda: (mac.update(high), finalize())[1]
            return mac

    return Extended(algorithm.name, algorithm.mac, algorithm.digestmod, algorithm.icv_size, algorithm.key_size)


def crypt(key, mode, data, encrypt=True):
    """AES, or nothing where there is no mode."""
    if mode is None:
        return data
    cipher = Cipher(algorithms.AES(key), mode)
    worker = cipher.encryptor() if encrypt else cipher.decryptor()
    return worker.update(data) + worker.finalize()


def suites():
    return [Suite(name) for name in NAMES]
