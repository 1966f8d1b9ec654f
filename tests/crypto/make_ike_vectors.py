#!/usr/bin/python3
"""Writes ike_vectors.hpp: what IKE's cryptography must give, from Python's hmac and integers and from the cryptography
package. The primes of the MODP groups are computed from pi, by the formulas of RFC 2409 and 3526.

    make_ike_vectors.py > ike_vectors.hpp      (Debian: python3-cryptography)
"""
import hmac
import random
import textwrap

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PRFS = {"hmac_sha1": "sha1", "hmac_sha256": "sha256", "hmac_sha384": "sha384", "hmac_sha512": "sha512"}
INTEGRITY = {"hmac_sha1_96": ("sha1", 20, 12), "hmac_sha256_128": ("sha256", 32, 16),
             "hmac_sha384_192": ("sha384", 48, 24), "hmac_sha512_256": ("sha512", 64, 32)}
MODP = {"modp1536": (1536, 741804), "modp2048": (2048, 124476), "modp3072": (3072, 1690314), "modp4096": (4096, 240904),
        "modp768": (768, 149686), "modp1024": (1024, 129093)}


# Key and data of RFC 4231 section 4 (without case 5, which truncates) and, for SHA-1, RFC 2202 section 3.
RFC_4231 = [
    (b"\x0b" * 20, b"Hi There"),
    (b"Jefe", b"what do ya want for nothing?"),
    (b"\xaa" * 20, b"\xdd" * 50),
    (bytes(range(1, 26)), b"\xcd" * 50),
    (b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First"),
    (b"\xaa" * 131, b"This is a test using a larger than block-size key and a larger than block-size data. "
                    b"The key needs to be hashed before being used by the HMAC algorithm."),
]
RFC_2202 = RFC_4231[:4] + [
    (b"\x0c" * 20, b"Test With Truncation"),
    (b"\xaa" * 80, b"Test Using Larger Than Block-Size Key - Hash Key First"),
    (b"\xaa" * 80, b"Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data"),
]
# How the first two outputs begin in those documents, lest the inputs above be mistyped.
PUBLISHED = {"hmac_sha1": ("b617318655057264", "effcdf6ae5eb2fa2"),
             "hmac_sha256": ("b0344c61d8db3853", "5bdcc146bf60754e"),
             "hmac_sha384": ("afd03944d8489562", "af45d2e376484031"),
             "hmac_sha512": ("87aa7cdea5ef619d", "164b7a7bfcf819e2")}


def prf_plus(name, key, seed, length):
    """RFC 7296 section 2.13."""
    out, block, number = b"", b"", 1
    while len(out) < length:
        block = hmac.new(key, block + seed + bytes([number]), PRFS[name]).digest()
        out += block
        number += 1
    return out[:length]


def scaled_pi(bits):
    """floor(2^bits * pi), by Machin's formula with guard bits."""
    guard = 64
    one = 1 << (bits + guard)

    def arctan_inverse(x):
        total = term = one // x
        n, sign = 3, -1
        while term:
            term //= x * x
            total += sign * (term // n)
            n, sign = n + 2, -sign
        return total

    return 4 * (4 * arctan_inverse(5) - arctan_inverse(239)) >> guard


def modp_prime(bits, constant):
    prime = 2**bits - 2**(bits - 64) - 1 + 2**64 * (scaled_pi(bits - 130) + constant)
    assert pow(2, prime - 1, prime) == 1 and pow(3, (prime - 1) // 2, prime) in (1, prime - 1)
    return prime


def seal_cbc(rng, key, integrity, integrity_key, aad, plaintext):
    digest, _, icv_length = INTEGRITY[integrity]
    iv = rng.randbytes(16)
    worker = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    sealed = iv + worker.update(plaintext) + worker.finalize()
    return sealed + hmac.new(integrity_key, aad + sealed, digest).digest()[:icv_length]


def seal_gcm(rng, key_and_salt, aad, plaintext):
    iv = rng.randbytes(8)
    return iv + AESGCM(key_and_salt[:-4]).encrypt(key_and_salt[-4:] + iv, plaintext, aad)


def sealed_rows(rng):
    for bits in (128, 192, 256):
        for integrity, (_, key_length, _) in INTEGRITY.items():
            for blocks in (1, 5, 63):
                key, integrity_key = rng.randbytes(bits // 8), rng.randbytes(key_length)
                aad, plaintext = rng.randbytes(32), rng.randbytes(16 * blocks)
                sealed = seal_cbc(rng, key, integrity, integrity_key, aad, plaintext)
                yield "aes_cbc", bits, integrity, key, integrity_key, aad, plaintext, sealed
        for length in (1, 16, 77, 1000):
            key, aad, plaintext = rng.randbytes(bits // 8 + 4), rng.randbytes(32), rng.randbytes(length)
            yield "aes_gcm16", bits, "none", key, b"", aad, plaintext, seal_gcm(rng, key, aad, plaintext)


def literal(data):
    lines = textwrap.wrap(data.hex(), 100) or [""]
    return "\n     ".join(f'"{line}"' for line in lines)


def print_prf(_):
    print("struct PrfVector { Prf prf; std::string_view key, data, output; };")
    print("inline constexpr PrfVector kPrfVectors[] = {")
    for name, digest in PRFS.items():
        cases = RFC_2202 if name == "hmac_sha1" else RFC_4231
        outputs = [hmac.new(key, data, digest).digest() for key, data in cases]
        assert [output.hex()[:16] for output in outputs[:2]] == list(PUBLISHED[name]), name
        for (key, data), output in zip(cases, outputs):
            print(f"    {{Prf::{name},\n     {literal(key)},\n     {literal(data)},\n     {literal(output)}}},")
    print("};")


def print_prf_plus(rng):
    print("struct PrfPlusVector { Prf prf; std::string_view key, seed, output; };")
    print("inline constexpr PrfPlusVector kPrfPlusVectors[] = {")
    for name, digest in PRFS.items():
        block = hmac.new(b"", b"", digest).digest_size
        for length in (1, block - 1, block, block + 1, 3 * block, 255 * block if name == "hmac_sha1" else 700):
            key, seed = rng.randbytes(rng.choice((0, 16, block, 200))), rng.randbytes(rng.choice((0, 48, 80)))
            print(f"    {{Prf::{name},\n     {literal(key)},\n     {literal(seed)},")
            print(f"     {literal(prf_plus(name, key, seed, length))}}},")
    print("};")


def print_modp(rng):
    print("// A peer: its private value, and 2 to the power of it.")
    print("struct ModpVector { DhGroup group; std::string_view prime, private_value, public_value; };")
    print("inline constexpr ModpVector kModpVectors[] = {")
    for name, (bits, constant) in MODP.items():
        prime = modp_prime(bits, constant)
        private = int.from_bytes(rng.randbytes(48), "big")
        size = bits // 8
        print(f"    {{DhGroup::{name},\n     {literal(prime.to_bytes(size, 'big'))},")
        print(f"     {literal(private.to_bytes(48, 'big'))},")
        print(f"     {literal(pow(2, private, prime).to_bytes(size, 'big'))}}},")
    print("};")


def print_sealed(rng):
    print("struct SealedVector {\n  IkeCipherId cipher;\n  std::uint16_t key_bits;\n  IkeIntegrity integrity;")
    print("  std::string_view key, integrity_key, aad, plaintext, sealed;\n};")
    print("inline constexpr SealedVector kSealedVectors[] = {")
    for cipher, bits, integrity, *strings in sealed_rows(rng):
        print(f"    {{IkeCipherId::{cipher}, {bits}, IkeIntegrity::{integrity},")
        print(",\n".join(f"     {literal(data)}" for data in strings) + "},")
    print("};")


def main():
    rng = random.Random(7296)
    print("// Made by make_ike_vectors.py; not to be edited.")
    print("#pragma once\n\n#include <cstdint>\n#include <string_view>\n\n#include \"crypto/ike.hpp\"\n")
    print("namespace espgate::crypto::test {\n\n// clang-format off")
    for part in (print_prf, print_prf_plus, print_modp, print_sealed):
        part(rng)
        print()
    print("// clang-format on\n\n}  // namespace espgate::crypto::test")


main()
