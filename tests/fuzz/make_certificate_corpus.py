#!/usr/bin/python3
"""Writes the first corpus of fuzz-certificate into a folder, from tests/crypto/pki_vectors.hpp."""
import os
import re
import sys

VECTORS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "crypto", "pki_vectors.hpp")


def main(folder):
    with open(VECTORS) as file:
        text = file.read()
    found = re.findall(r"std::string_view (kDer_\w+) =\n((?:\s+\"[0-9a-f]*\";?\n)+)", text)
    for name, literal in found:
        if name.startswith(("kDer_crl", "kDer_pkcs12")):
            continue
        der = bytes.fromhex("".join(re.findall("[0-9a-f]{2,}", literal)))
        with open(os.path.join(folder, name[5:].replace("_", "-")), "wb") as out:
            out.write((b"\x03" if name.startswith("kDer_ocsp") else b"\x00") + der)
    subject = bytes.fromhex("3032310b300906035504061302444531") + b"\x10"
    signatures = {"id-dn": b"\x01\x09" + subject, "id-fqdn": b"\x01\x02west.example",
                  "id-address": b"\x01\x01\xc0\x00\x02\x02",
                  "auth-rsa": b"\x02\x01" + bytes(256), "auth-ecdsa": b"\x02\x0a" + bytes(96),
                  "auth-named": b"\x02\x0e\x0f" + bytes.fromhex("300d06092a864886f70d01010b0500") + bytes(256),
                  "auth-pss": b"\x02\x0e\x43" + bytes.fromhex(
                      "304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d0101"
                      "08300d06096086480165030402010500a203020120") + bytes(256)}
    for name, data in signatures.items():
        with open(os.path.join(folder, name), "wb") as out:
            out.write(data)


main(sys.argv[1])
