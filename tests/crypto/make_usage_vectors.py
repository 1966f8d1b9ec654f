#!/usr/bin/python3
"""Prints usage_vectors.hpp: certificates that differ in their extended key usage, by Python's cryptography. Each is signed
by its own key, so that it may be its own trust anchor. Every run makes others."""
import datetime
import textwrap

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BEGIN, END = datetime.datetime(2026, 1, 1), datetime.datetime(2027, 1, 1)
USAGES = {
    "server_auth": ["1.3.6.1.5.5.7.3.1"],
    "client_auth": ["1.3.6.1.5.5.7.3.2"],
    "end_system": ["1.3.6.1.5.5.7.3.5"],
    "tunnel": ["1.3.6.1.5.5.7.3.6"],
    "user": ["1.3.6.1.5.5.7.3.7"],
    "ipsec_ike": ["1.3.6.1.5.5.7.3.17"],
    "ike_intermediate": ["1.3.6.1.5.5.8.2.2"],
    "any": ["2.5.29.37.0"],
    "code_and_ike": ["1.3.6.1.5.5.7.3.3", "1.3.6.1.5.5.7.3.17"],
    # Refused.
    "code": ["1.3.6.1.5.5.7.3.3"],
    "ocsp_and_mail": ["1.3.6.1.5.5.7.3.9", "1.3.6.1.5.5.7.3.4"],
    "unknown": ["1.3.6.1.4.1.55555.1"],
}


def certificate(usages, critical):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "west")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), BEGIN, END)
    usage = x509.ExtendedKeyUsage([x509.ObjectIdentifier(each) for each in usages])
    return builder.add_extension(usage, critical).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def main():
    print("// Made by make_usage_vectors.py.\n#pragma once\n\n#include <string_view>\n\nnamespace espgate::crypto::test {\n")
    for number, (name, usages) in enumerate(USAGES.items()):
        print(f"inline constexpr std::string_view kUsage_{name} =")
        digits = certificate(usages, number % 2 == 1).hex()
        print("\n".join(f'    "{line}"' for line in textwrap.wrap(digits, 100)) + ";")
    print("\n}  // namespace espgate::crypto::test")


if __name__ == "__main__":
    main()
