#!/usr/bin/python3
"""Writes corpus/kernel_route: what the kernel says of some routes, each without its nlmsghdr. Needs root."""
import os
import socket
import struct
import subprocess
import sys

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "kernel_route")
ROUTES = ["link add v0 type veth peer name v1", "link set v0 up", "link set v1 up", "addr add 10.1.0.1/24 dev v0",
          "addr add fd00:1::1/64 dev v0 nodad", "route add 10.9.0.0/16 via 10.1.0.2 metric 20",
          "route add default nexthop via 10.1.0.2 weight 3 nexthop via 10.1.0.3", "route add blackhole 10.8.0.0/16",
          "route add 10.7.0.0/16 via inet6 fe80::9 dev v0", "nexthop add id 1 via 10.1.0.4 dev v0",
          "route add 10.6.0.0/16 nhid 1", "-6 route add fd00:9::/48 nexthop via fd00:1::2 nexthop via fd00:1::3",
          "-6 route add unreachable fd00:8::/48", "-6 route add fd00:7::/48 via fe80::2 dev v0 proto bird"]


def messages(family):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.send(struct.pack("=IHHIIBBBBBBBBI", 28, 26, 0x301, 1, 0, family, 0, 0, 0, 0, 0, 0, 0, 0))
        while True:
            told = kernel.recv(65536)
            while told:
                length, kind = struct.unpack("=IH", told[:6])
                if kind != 24:
                    return
                yield told[16:length]
                told = told[(length + 3) & ~3:]


if len(sys.argv) == 1:
    sys.exit(subprocess.run(["unshare", "--net", sys.executable, __file__, "there"], check=False).returncode)
for line in ROUTES:
    subprocess.run(["ip", *line.split()], check=True)
os.makedirs(FOLDER, exist_ok=True)
for number, body in enumerate([*messages(socket.AF_INET), *messages(socket.AF_INET6)]):
    with open(os.path.join(FOLDER, f"route-{number:02}"), "wb") as out:
        out.write(bytes([number % 2]) + body)
