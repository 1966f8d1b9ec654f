#!/usr/bin/python3
"""Writes corpus/reassembly: sequences of fragments of the kinds that the tests have, as reassembly.cpp reads them."""
import os

HERE = os.path.dirname(os.path.abspath(__file__))
UDP, ESP = 0, 4


def fragment(offset, length, more=True, protocol=ESP, source=0, identification=0, wait=0, extra=0):
    """`offset` and `length` in units of 8 bytes, `extra` bytes more; `wait` in sixteenths of the timeout, up to 7."""
    return bytes([source | protocol | identification << 3 | more << 4 | wait << 5, offset, length, extra])


def inputs():
    first, middle, last = fragment(0, 5), fragment(5, 5), fragment(10, 3, more=False, extra=4)
    yield "in-order", first + middle + last
    yield "backwards", last + middle + first
    yield "ike", b"".join(fragment(i * 100, 100, i < 2, UDP, extra=0) for i in (2, 0, 1))
    yield "two-protocols", first + fragment(0, 5, protocol=UDP) + last + middle
    yield "two-sources", first + fragment(0, 5, source=1) + middle + last
    yield "options", fragment(0, 5, extra=0x20) + middle + last
    yield "congestion", fragment(0, 5, extra=0x40) + fragment(5, 5, extra=0xc0) + last
    yield "twice", first + middle + middle + last
    yield "overlap", first + fragment(4, 6) + last
    yield "overlap-and-hole", first + fragment(4, 5) + fragment(10, 3, more=False)
    yield "lost", first + middle + fragment(0, 5, wait=7) + fragment(0, 5, wait=7) + fragment(5, 5, wait=7) + last
    yield "too-many", b"".join(fragment(i, 1) for i in range(12))
    yield "large", fragment(0, 200) + fragment(200, 200, more=False)
    yield "far", fragment(0xff, 200, more=False, extra=0xff)
    yield "odd", fragment(0, 1, extra=3) + fragment(1, 0, extra=1)


def main():
    folder = os.path.join(HERE, "corpus", "reassembly")
    os.makedirs(folder, exist_ok=True)
    for name, packet in inputs():
        with open(os.path.join(folder, name), "wb") as out:
            out.write(packet)


if __name__ == "__main__":
    main()
