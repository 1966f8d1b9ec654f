#!/usr/bin/python3
"""A switch of two ports for kernels that know no VLANs: vlan_switch.py ACCESS TRUNK VLAN

What comes in untagged on ACCESS leaves by TRUNK with the tag, and the other way round; other VLANs' frames, and
untagged ones on TRUNK, go nowhere. Packet sockets get the tag beside the frame (PACKET_AUXDATA), as from a card.
"""
import select
import socket
import struct
import sys

SOL_PACKET, PACKET_AUXDATA = 263, 8
PACKET_OUTGOING, TP_STATUS_VLAN_VALID = 4, 0x10


def opened(interface):
    opened_socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    opened_socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    opened_socket.bind((interface, 3))
    return opened_socket


def received(source):
    """(frame, its VLAN or None); None for what this host sends itself."""
    frame, extra, _, address = source.recvmsg(65535, 256)
    if address[2] == PACKET_OUTGOING:
        return None
    for level, kind, data in extra:
        if level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, _, _, _, _, control, _ = struct.unpack("IIIHHHH", data[:20])
            if status & TP_STATUS_VLAN_VALID:
                return frame, control & 0xfff
    return frame, None


def main(access_name, trunk_name, vlan):
    access, trunk = opened(access_name), opened(trunk_name)
    print("switching", flush=True)
    while True:
        for source in select.select([access, trunk], [], [])[0]:
            got = received(source)
            if got is None:
                continue
            frame, tag = got
            if source is access and tag is None:
                trunk.send(frame[:12] + struct.pack("!HH", 0x8100, vlan) + frame[12:])
            elif source is trunk and tag == vlan:
                access.send(frame)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
