#!/usr/bin/python3
"""Writes golden.txt: IKEv2 messages that our code had no part in making, for test-ike-codec and as the fuzzers' seeds.

The payloads are scapy's (scapy.contrib.ikev2), their protection is python3-cryptography's. Run it again only to change
the messages: the kept file is what the tests read. Each line is "name hex". Where scapy computes a length wrongly
(identities, proposals and notifies with an SPI, IPv6 selectors) it is given here, as RFC 7296 section 3 has it.
"""
import hashlib
import hmac
import logging
import os
import struct
import sys

logging.getLogger("scapy").setLevel(logging.ERROR)
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: E402
from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: E402
from scapy.contrib import ikev2 as ike  # noqa: E402

SPI_I = bytes.fromhex("a1a2a3a4a5a6a7a8")
SPI_R = bytes.fromhex("b1b2b3b4b5b6b7b8")
INITIATOR, RESPONSE = 0x08, 0x20


def pattern(first, count):
    return bytes((first + i) & 0xFF for i in range(count))


def transforms(*rows):
    chain = None
    for index, (kind, number, bits) in enumerate(rows):
        last = index + 1 == len(rows)
        one = ike.IKEv2_payload_Transform(next_payload="last" if last else "Transform", transform_type=kind,
                                          transform_id=number, length=12 if bits else 8,
                                          **({"key_length": bits} if bits else {}))
        chain = one if chain is None else chain / one
    return chain


def proposal(number, protocol, spi, rows, more=False):
    length = 8 + len(spi) + sum(12 if bits else 8 for _, _, bits in rows)
    return ike.IKEv2_payload_Proposal(next_payload="Proposal" if more else "last", length=length, proposal=number,
                                      proto=protocol, SPI=spi, trans_nb=len(rows), trans=transforms(*rows))


def notify(kind, data=b"", protocol=0, spi=b""):
    return ike.IKEv2_payload_Notify(proto=protocol, SPI=spi, type=kind, load=data, length=8 + len(spi) + len(data))


def identity(cls, kind, value, length):
    return cls(IDtype=kind, ID=value, length=8 + length)


def selector4(first, last, protocol=0, ports=(0, 65535)):
    return ike.IPv4TrafficSelector(IP_protocol_ID=protocol, start_port=ports[0], end_port=ports[1],
                                   starting_address_v4=first, ending_address_v4=last)


def selector6(first, last):
    return ike.IPv6TrafficSelector(IP_protocol_ID=0, length=40, starting_address_v6=first, ending_address_v6=last)


def header(exchange, flags, message_id=0, responder=SPI_R):
    return ike.IKEv2(init_SPI=SPI_I, resp_SPI=responder, exch_type=exchange, flags=flags, id=message_id)


IKE_CBC = [(1, 12, 256), (3, 13, 0), (2, 6, 0), (4, 20, 0)]
IKE_GCM = [(1, 20, 256), (1, 20, 128), (2, 6, 0), (2, 5, 0), (4, 20, 0), (4, 31, 0)]
ESP_GCM = [(1, 20, 256), (5, 0, 0)]
ESP_CBC = [(1, 12, 128), (3, 12, 0), (5, 0, 0)]


def number_of(payload):
    if type(payload) is ike.IKEv2_payload:
        return 200  # any of no known type
    return ike.IKEv2_payload_type.index(type(payload).__name__.removeprefix("IKEv2_payload_").removesuffix("_STR"))


def built(message):
    """The bytes of a chain of payloads, each of which names the next: scapy does so behind the IKE header only."""
    layer = message
    while layer.payload:
        layer.next_payload = number_of(layer.payload)
        layer = layer.payload
    layer.next_payload = 0
    return bytes(message)


def sa_init_request():
    return (header(34, INITIATOR, responder=bytes(8)) /
            ike.IKEv2_payload_SA(prop=proposal(1, 1, b"", IKE_CBC, more=True) / proposal(2, 1, b"", IKE_GCM)) /
            ike.IKEv2_payload_KE(group=20, load=pattern(0x10, 96)) /
            ike.IKEv2_payload_Nonce(load=pattern(0x40, 32)) /
            notify(16388, pattern(0x60, 20)) / notify(16389, pattern(0x80, 20)) /
            notify(16430) / notify(16431, struct.pack("!HHH", 2, 3, 4)) /
            ike.IKEv2_payload_VendorID(vendorID=pattern(0xA0, 16)))


def sa_init_response():
    return (header(34, RESPONSE) /
            ike.IKEv2_payload_SA(prop=proposal(2, 1, b"", [IKE_GCM[0], IKE_GCM[2], IKE_GCM[4]])) /
            ike.IKEv2_payload_KE(group=20, load=pattern(0x20, 96)) /
            ike.IKEv2_payload_Nonce(load=pattern(0x50, 32)) /
            notify(16388, pattern(0x61, 20)) / notify(16389, pattern(0x81, 20)) /
            ike.IKEv2_payload_CERTREQ(cert_type=4, cert_data=pattern(0x30, 20)))


def auth_content(last=None):
    chain = (identity(ike.IKEv2_payload_IDi, 2, b"west.example", 12) / notify(16384) /
             identity(ike.IKEv2_payload_IDr, 1, "192.0.2.1", 4) /
             ike.IKEv2_payload_AUTH(auth_type=2, load=pattern(0x70, 48)) /
             ike.IKEv2_payload_SA(prop=proposal(1, 3, bytes.fromhex("c0ffee01"), ESP_GCM, more=True) /
                                  proposal(2, 3, bytes.fromhex("c0ffee01"), ESP_CBC)) /
             ike.IKEv2_payload_TSi(traffic_selector=[selector4("0.0.0.0", "255.255.255.255"),
                                                     selector6("::", "ff" * 2 + ":ffff" * 7)]) /
             ike.IKEv2_payload_TSr(traffic_selector=[selector4("10.1.0.0", "10.1.255.255", 17, (53, 53))]))
    return chain / last if last is not None else chain


def rekey_content():
    return (notify(16393, protocol=3, spi=bytes.fromhex("c0ffee01")) /
            ike.IKEv2_payload_SA(prop=proposal(1, 3, bytes.fromhex("c0ffee02"),
                                               [(1, 20, 256), (4, 20, 0), (4, 0, 0), (5, 0, 0)])) /
            ike.IKEv2_payload_Nonce(load=pattern(0x33, 32)) /
            ike.IKEv2_payload_KE(group=20, load=pattern(0x11, 96)) /
            ike.IKEv2_payload_TSi(traffic_selector=[selector4("10.0.0.0", "10.0.0.255")]) /
            ike.IKEv2_payload_TSr(traffic_selector=[selector6("2001:db8::", "2001:db8::ffff")]))


# A child SA in transport mode between two IPv6 addresses, with or without ESN.
def transport_content():
    return (notify(16391) /
            ike.IKEv2_payload_SA(prop=proposal(1, 3, bytes.fromhex("c0ffee04"),
                                               [(1, 20, 256), (4, 20, 0), (5, 1, 0), (5, 0, 0)])) /
            ike.IKEv2_payload_Nonce(load=pattern(0x55, 32)) /
            ike.IKEv2_payload_KE(group=20, load=pattern(0x13, 96)) /
            ike.IKEv2_payload_TSi(traffic_selector=[selector6("2001:db8::1", "2001:db8::1")]) /
            ike.IKEv2_payload_TSr(traffic_selector=[selector6("2001:db8::2", "2001:db8::2")]))


def ike_rekey_content():
    return (ike.IKEv2_payload_SA(prop=proposal(1, 1, bytes.fromhex("d1d2d3d4d5d6d7d8"), IKE_CBC)) /
            ike.IKEv2_payload_Nonce(load=pattern(0x44, 32)) / ike.IKEv2_payload_KE(group=20, load=pattern(0x12, 96)))


def delete(protocol, *spis):
    return ike.IKEv2_payload_Delete(vendorID=struct.pack("!BBH", protocol, 4 if spis else 0, len(spis)) + b"".join(spis))


class Cbc:
    """AES-256-CBC with HMAC-SHA2-256-128; SK_e is 00 01 .. 1f, SK_a 80 81 .. 9f."""
    block, iv, icv = 16, 16, 16

    def seal(self, associated, padded, sequence):
        iv = pattern(0xE0 + sequence, 16)
        encryptor = Cipher(algorithms.AES(pattern(0, 32)), modes.CBC(iv)).encryptor()
        covered = iv + encryptor.update(padded) + encryptor.finalize()
        return covered + hmac.new(pattern(0x80, 32), associated + covered, hashlib.sha256).digest()[:16]


class Gcm:
    """AES-256-GCM with a 16 byte ICV; SK_e is 00 01 .. 1f and the salt 20 21 22 23 (RFC 5282)."""
    block, iv, icv = 1, 8, 16

    def seal(self, associated, padded, sequence):
        iv = struct.pack("!Q", sequence)
        return iv + AESGCM(pattern(0, 32)).encrypt(pattern(0x20, 4) + iv, padded, associated)


def pad(content, block, extra_blocks=0):
    short = -(len(content) + 1) % block + extra_blocks * block
    return content + bytes(short) + bytes([short])


def chain_of(payloads):
    """The type of the first payload, and the bytes of all."""
    message = built(ike.IKEv2() / payloads)
    return message[16], message[28:]


def seal(suite, message, first, content, fragment=None, sequence=1, extra_blocks=0):
    """RFC 7296 section 3.14; `fragment` is (number, total) of RFC 7383 section 2.5."""
    padded = pad(content, suite.block, extra_blocks)
    fields = struct.pack("!HH", *fragment) if fragment else b""
    load = suite.iv + len(padded) + suite.icv
    cls = ike.IKEv2_payload_Encrypted_Fragment if fragment else ike.IKEv2_payload_Encrypted
    arguments = {"frag_number": fragment[0], "frag_total": fragment[1]} if fragment else {}
    envelope = bytes(message / cls(next_payload=first, load=bytes(load), **arguments))
    associated = envelope[:28 + 4 + len(fields)]
    return associated + suite.seal(associated, padded, sequence)


def fragments(suite, message, first, content, size):
    parts = [content[i:i + size] for i in range(0, len(content), size)]
    return [seal(suite, message, first if i == 0 else 0, part, (i + 1, len(parts)), sequence=i + 1)
            for i, part in enumerate(parts)]


def quirks():
    """Reserved bits set, a critical bit on a payload that is known, payloads of unknown types."""
    request = bytearray(built(sa_init_request() / ike.IKEv2_payload(load=pattern(1, 8))))
    request[19] |= 0xC7  # reserved flags of the header
    offset, kind = 28, request[16]
    while kind:
        request[offset + 1] |= 0x7F if kind == 200 else 0xFF
        if kind == 34:
            request[offset + 6:offset + 8] = b"\xff\xff"
        kind, offset = request[offset], offset + struct.unpack_from("!H", request, offset + 2)[0]
    return bytes(request)


def messages():
    yield "sa_init_request", built(sa_init_request())
    yield "sa_init_response", built(sa_init_response())
    yield "sa_init_quirks", quirks()
    yield "cookie", built(header(34, RESPONSE, responder=bytes(8)) / notify(16390, pattern(0x90, 32)))
    yield "invalid_ke", built(header(34, RESPONSE, responder=bytes(8)) / notify(17, struct.pack("!H", 19)))
    yield "no_proposal", built(header(34, RESPONSE, responder=bytes(8)) / notify(14))
    yield "unknown_notify", built(header(34, RESPONSE) / notify(40000, b"hello") / notify(8191))
    for name, suite in (("cbc", Cbc()), ("gcm", Gcm())):
        auth = chain_of(auth_content())
        yield f"{name}_auth", seal(suite, header(35, INITIATOR, 1), *auth)
        yield f"{name}_dpd", seal(suite, header(37, INITIATOR, 7), 0, b"")
        large = chain_of(auth_content(ike.IKEv2_payload_VendorID(vendorID=pattern(0, 400))))
        for number, part in enumerate(fragments(suite, header(35, INITIATOR, 1), *large, 200), 1):
            yield f"{name}_fragment_{number}", part
    rekey, ike_rekey = chain_of(rekey_content()), chain_of(ike_rekey_content())
    gone = chain_of(delete(3, bytes.fromhex("c0ffee01"), bytes.fromhex("c0ffee03")))
    yield "cbc_padded", seal(Cbc(), header(36, RESPONSE, 2), *rekey, extra_blocks=3)
    yield "gcm_padded", seal(Gcm(), header(36, RESPONSE, 2), *ike_rekey, extra_blocks=200)
    yield "gcm_delete_esp", seal(Gcm(), header(37, 0, 3), *gone)
    yield "gcm_delete_ike", seal(Gcm(), header(37, 0, 4), *chain_of(delete(1)))
    for name, (first, content) in (("auth", chain_of(auth_content())), ("rekey", rekey), ("ike_rekey", ike_rekey),
                                   ("transport", chain_of(transport_content())),
                                   ("delete", gone)):
        yield f"content_{name}", bytes([first]) + content


def main():
    folder = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(folder, "golden.txt"), "w", encoding="ascii") as out:
        for name, message in messages():
            out.write(f"{name} {message.hex()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
