#!/usr/bin/python3
"""Prints pki_vectors.hpp: keys, signatures, certificates and what says that they are revoked, by Python's cryptography.

The keys are for tests alone. Every run makes others.
"""
import datetime
import ipaddress
import textwrap

from cryptography import x509
from cryptography.x509 import ocsp
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DER = serialization.Encoding.DER
HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
BEGIN, END = datetime.datetime(2026, 1, 1), datetime.datetime(2027, 1, 1)
MESSAGE = b"octets as RFC 7296 section 2.15 has them"


def day(month, year=2026):
    return datetime.datetime(year, month, 1)


def name(common, country=None):
    parts = [x509.NameAttribute(NameOID.COUNTRY_NAME, country)] if country else []
    parts += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    return x509.Name(parts)


def usage(**true):
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{each: each in true for each in names})


def certificate(subject, key, issuer, issuer_key, authority=False, length=None, names=(), begin=BEGIN, end=END,
                digest=hashes.SHA256(), extensions=()):
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number(), begin, end)
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(True, length), True)
        builder = builder.add_extension(usage(key_cert_sign=1, crl_sign=1), True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    for extension in extensions:
        builder = builder.add_extension(extension, True)
    return builder.sign(issuer_key, None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else digest)


def revocations(issuer, key, revoked, begin, end):
    builder = x509.CertificateRevocationListBuilder(issuer, begin, end)
    for each in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder(each.serial_number, day(2)).build())
    return builder.sign(key, hashes.SHA256()).public_bytes(DER)


def status(leaf, issuer, signer=None, key=None, what=ocsp.OCSPCertStatus.GOOD, begin=BEGIN, end=END,
           digest=hashes.SHA256(), id_digest=hashes.SHA1(), enclosed=(), encoding=ocsp.OCSPResponderEncoding.HASH):
    """What the holder of `key`, whose certificate is `signer`, says of `leaf` by OCSP."""
    revoked = what == ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        leaf, issuer, id_digest, what, begin, end, day(2) if revoked else None,
        x509.ReasonFlags.key_compromise if revoked else None)
    builder = builder.responder_id(encoding, signer)
    if enclosed:
        builder = builder.certificates(enclosed)
    return builder.sign(key, digest).public_bytes(DER)


KEYS = {"rsa": rsa.generate_private_key(65537, 2048), "p256": ec.generate_private_key(ec.SECP256R1()),
        "p384": ec.generate_private_key(ec.SECP384R1()), "p521": ec.generate_private_key(ec.SECP521R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
        # Refused: too small, and a curve that IKE has no name for.
        "rsa1024": rsa.generate_private_key(65537, 1024), "k256": ec.generate_private_key(ec.SECP256K1())}


def signatures():
    for digest, algorithm in HASHES.items():
        yield f"rsa_{digest}", "rsa", KEYS["rsa"].sign(MESSAGE, padding.PKCS1v15(), algorithm)
        pss = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
        yield f"pss_{digest}", "rsa", KEYS["rsa"].sign(MESSAGE, pss, algorithm)
        for curve in ("p256", "p384", "p521"):
            yield f"ecdsa_{digest}", curve, KEYS[curve].sign(MESSAGE, ec.ECDSA(algorithm))
    yield "rsa_sha1", "rsa", KEYS["rsa"].sign(MESSAGE, padding.PKCS1v15(), hashes.SHA1())
    yield "ed25519", "ed25519", KEYS["ed25519"].sign(MESSAGE)


def certificates():
    roots = {each: ec.generate_private_key(ec.SECP256R1()) for each in ("root", "other", "middle", "bound", "short")}
    root, middle = name("root", "DE"), name("middle")
    made = {"root": certificate(root, roots["root"], root, roots["root"], authority=True),
            "other": certificate(name("other"), roots["other"], name("other"), roots["other"], authority=True)}
    made["middle"] = certificate(middle, roots["middle"], root, roots["root"], authority=True)
    san = [x509.DNSName("west.example"), x509.RFC822Name("ops@West.example"),
           x509.IPAddress(ipaddress.ip_address("192.0.2.2")), x509.IPAddress(ipaddress.ip_address("2001:db8::2"))]
    for kind in ("rsa", "p256", "p384", "p521", "ed25519"):
        made[f"west_{kind}"] = certificate(name("west", "DE"), KEYS[kind], middle, roots["middle"], names=san)
    made["east"] = certificate(name("east"), KEYS["p256"], root, roots["root"], names=[x509.DNSName("east.example")])

    def leaf(issuer=root, key=roots["root"], of="p256", **more):
        return certificate(name("west", "DE"), KEYS[of], issuer, key, **{"names": san, **more})
    made["expired"] = leaf(end=day(2))
    made["future"] = leaf(begin=day(11), end=day(12))
    made["revoked"] = leaf()
    made["weak_hash"] = leaf(digest=hashes.SHA1())
    made["small_key"] = leaf(of="rsa1024")
    made["odd_curve"] = leaf(of="k256")
    made["no_signing"] = leaf(extensions=[usage(key_encipherment=1)])
    made["by_leaf"] = leaf(issuer=name("east"), key=KEYS["p256"])
    made["by_other"] = leaf(issuer=name("other"), key=roots["other"])
    made["self_signed"] = leaf(issuer=name("west", "DE"), key=KEYS["p256"])
    # The root's name, with another's signature.
    made["forged"] = leaf(key=roots["other"])
    constraint = x509.NameConstraints([x509.DNSName("north.example")], None)
    made["bound"] = certificate(name("bound"), roots["bound"], root, roots["root"], authority=True,
                                extensions=[constraint])
    made["out_of_bounds"] = leaf(issuer=name("bound"), key=roots["bound"])
    made["in_bounds"] = leaf(issuer=name("bound"), key=roots["bound"], names=[x509.DNSName("gw.north.example")])
    made["short"] = certificate(name("short"), roots["short"], root, roots["root"], authority=True, length=0)
    made["below_short"] = certificate(name("deep"), roots["bound"], name("short"), roots["short"], authority=True)
    made["too_deep"] = leaf(issuer=name("deep"), key=roots["bound"])
    lists = {"crl_root": revocations(root, roots["root"], [made["revoked"]], BEGIN, END),
             "crl_root_old": revocations(root, roots["root"], [], BEGIN, day(2)),
             "crl_of_middle": revocations(root, roots["root"], [made["middle"]], BEGIN, END),
             "crl_middle": revocations(middle, roots["middle"], [], BEGIN, END)}
    responder = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
    speaks = usage(digital_signature=1)
    roots["responder"] = ec.generate_private_key(ec.SECP256R1())

    def delegate(issuer, key, extensions=(speaks, responder), **more):
        return certificate(name("responder"), roots["responder"], issuer, key, extensions=extensions, **more)
    west, issuer, key = made["west_p256"], made["middle"], roots["middle"]
    speaker = delegate(middle, key)
    statuses = {
        "good": status(west, issuer, issuer, key),
        "good_sha256_id": status(west, issuer, issuer, key, id_digest=hashes.SHA256()),
        "good_delegated": status(west, issuer, speaker, roots["responder"], enclosed=[speaker]),
        "revoked": status(west, issuer, issuer, key, ocsp.OCSPCertStatus.REVOKED),
        "unknown": status(west, issuer, issuer, key, ocsp.OCSPCertStatus.UNKNOWN),
        "old": status(west, issuer, issuer, key, end=day(2)),
        "early": status(west, issuer, issuer, key, begin=day(11), end=day(12)),
        "endless": status(west, issuer, issuer, key, end=None),
        "of_other": status(made["west_rsa"], issuer, issuer, key),
        "of_middle": status(issuer, made["root"], made["root"], roots["root"]),
        "weak": status(west, issuer, issuer, key, digest=hashes.SHA1()),
        # By somebody who has no say in it: the root, another authority, one whom the issuer certified for other things,
        # one whom another authority certified, one whose certificate has expired.
        "by_root": status(west, issuer, made["root"], roots["root"], enclosed=[made["root"]]),
        "by_other": status(west, issuer, made["other"], roots["other"], enclosed=[made["other"]]),
        "by_itself": status(west, issuer, west, KEYS["p256"], enclosed=[west]),
        "forged": status(west, issuer, certificate(middle, roots["other"], root, roots["other"]), roots["other"],
                         encoding=ocsp.OCSPResponderEncoding.NAME)}
    for each, certified in {"undelegated": delegate(middle, key, [speaks]),
                            "delegated_by_root": delegate(root, roots["root"]),
                            "delegate_expired": delegate(middle, key, end=day(2))}.items():
        statuses[each] = status(west, issuer, certified, roots["responder"], enclosed=[certified])
    statuses["try_later"] = ocsp.OCSPResponseBuilder.build_unsuccessful(
        ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(DER)
    lists.update({f"ocsp_{each}": der for each, der in statuses.items()})
    boxes = {"pkcs12": pkcs12.serialize_key_and_certificates(
        b"west", KEYS["p256"], made["west_p256"], [made["middle"]],
        serialization.BestAvailableEncryption(b"a password"))}
    return {**{each: cert.public_bytes(DER) for each, cert in made.items()}, **lists, **boxes}


def literal(data):
    return "\n    ".join(f'"{line}"' for line in textwrap.wrap(data.hex(), 100))


def main():
    print("// Made by make_pki_vectors.py; not to be edited. The keys are for tests alone.")
    print("#pragma once\n\n#include <string_view>\n\n#include \"crypto/signature.hpp\"\n")
    print("namespace espgate::crypto::test {\n\n// clang-format off")
    print(f"inline constexpr std::string_view kSignedMessage = {literal(MESSAGE)};\n")
    print("// PKCS#8, and SubjectPublicKeyInfo.")
    for each, key in KEYS.items():
        private = key.private_bytes(DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        public = key.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        print(f"inline constexpr std::string_view kPrivate_{each} =\n    {literal(private)};")
        print(f"inline constexpr std::string_view kPublic_{each} =\n    {literal(public)};")
    print("\nstruct SignatureVector { SignatureScheme scheme; std::string_view private_key, public_key, signature; };")
    print("inline constexpr SignatureVector kSignatureVectors[] = {")
    for scheme, key, signature in signatures():
        print(f"    {{SignatureScheme::{scheme}, kPrivate_{key}, kPublic_{key},\n    {literal(signature)}}},")
    print("};\n\n// Valid in 2026, but for those that say otherwise.")
    for each, der in certificates().items():
        print(f"inline constexpr std::string_view kDer_{each} =\n    {literal(der)};")
    print("// clang-format on\n\n}  // namespace espgate::crypto::test")


main()
