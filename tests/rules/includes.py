#!/usr/bin/python3
"""Checks every #include line of the tree against the drawing in docs/architecture.md, and the drawing itself.

The drawing is the fenced block that begins with ```includes. A line `conf -> channel crypto` says what a room may
include besides itself; a line `openssl only in crypto tests/crypto` says where a library's headers may appear.

The drawing can't drift: a room of the tree that it does not show, a room it shows that is gone, an arrow that no
#include uses and a break of the rules that hold whatever the drawing says are errors too.
"""
import os
import re
import subprocess
import sys

LIBRARIES = {
    "dpdk": re.compile(r"^rte_|^bus_|^dpdk/"),
    "ipsec-mb": re.compile(r"^(intel-)?ipsec[-_]mb"),
    "openssl": re.compile(r"^openssl/"),
    "asio": re.compile(r"^(boost/asio|asio)"),
    "yaml-cpp": re.compile(r"^yaml-cpp/"),
    "libnl": re.compile(r"^netlink/"),
    "seccomp": re.compile(r"^seccomp\.h"),
}

# What stays true whatever is drawn: the two grounds stand on nothing, the two processes never meet.
FORBIDDEN_ARROWS = {("channel", None), ("crypto", None), ("dataplane", "control"), ("control", "dataplane"),
                    ("conf", "dataplane"), ("conf", "control")}
FORBIDDEN_LIBRARIES = {("dpdk", "control"), ("dpdk", "channel"), ("dpdk", "conf"), ("dpdk", "crypto"),
                       ("openssl", "dataplane"), ("asio", "control/ike"), ("asio", "dataplane"),
                       ("yaml-cpp", "dataplane"), ("yaml-cpp", "control"), ("ipsec-mb", "control"), ("libnl", "control")}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^">]+)[">]')


class Drawing:
    def __init__(self, text):
        block = re.search(r"^```includes\n(.*?)^```", text, re.M | re.S)
        if not block:
            raise ValueError("docs/architecture.md has no ```includes block")
        self.arrows, self.only_in = {}, {}
        for line in block.group(1).splitlines():
            if "->" in line:
                room, _, others = line.partition("->")
                self.arrows[room.strip()] = others.split()
            elif " only in " in line:
                library, _, places = line.partition(" only in ")
                self.only_in[library.strip()] = places.split()
            elif line.strip():
                raise ValueError(f"docs/architecture.md: not understood in the drawing: {line!r}")


def sources(root):
    listed = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard", "*.hpp", "*.cpp", "*.h"],
                            stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    return [path for path in listed if os.path.exists(os.path.join(root, path))]


def includes(root, paths):
    """(path, line number, included name) of every #include."""
    for path in paths:
        with open(os.path.join(root, path), errors="replace") as source:
            for number, line in enumerate(source, 1):
                found = INCLUDE.match(line)
                if found:
                    yield path, number, found.group(1)


def below(path, place):
    return path.startswith(place + "/")


def check_room(drawing, path, name, used):
    room, other = path.split("/")[0], name.split("/")[0]
    if other not in drawing.arrows or "/" not in name or room == other:
        return []
    used.add((room, other))
    wrong = []
    if other not in drawing.arrows.get(room, []):
        wrong.append(f"{room} may not include {other}: {name}")
    if (room, other) in FORBIDDEN_ARROWS or (room, None) in FORBIDDEN_ARROWS:
        wrong.append(f"{room} never includes {other}, whatever is drawn: {name}")
    return wrong


def check_library(drawing, path, name):
    wrong = []
    for library, pattern in LIBRARIES.items():
        if not pattern.search(name):
            continue
        if not any(below(path, place) for place in drawing.only_in.get(library, [])):
            wrong.append(f"{library} does not belong here: <{name}>")
        if any(library == banned and below(path, place) for banned, place in FORBIDDEN_LIBRARIES):
            wrong.append(f"{library} never appears here, whatever is drawn: <{name}>")
    return wrong


def check_drawing(drawing, rooms, used):
    wrong = [f"the drawing does not show the room {room}/" for room in sorted(rooms - set(drawing.arrows))]
    wrong += [f"the drawing shows {room}, which has no sources" for room in sorted(set(drawing.arrows) - rooms)]
    wrong += [f"the drawing has no rule for {library}" for library in LIBRARIES if library not in drawing.only_in]
    for room, others in drawing.arrows.items():
        wrong += [f"the drawing has an arrow that no #include uses: {room} -> {other}"
                  for other in others if (room, other) not in used]
    return [f"docs/architecture.md: {words}" for words in wrong]


def check(root):
    """All that is wrong, one line of words each."""
    with open(os.path.join(root, "docs", "architecture.md")) as document:
        drawing = Drawing(document.read())
    paths = sources(root)
    wrong, used = [], set()
    for path, number, name in includes(root, paths):
        for words in check_room(drawing, path, name, used) + check_library(drawing, path, name):
            wrong.append(f"{path}:{number}: {words}")
    rooms = {path.split("/")[0] for path in paths if "/" in path}
    return wrong + check_drawing(drawing, rooms, used)


if __name__ == "__main__":
    errors = check(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", ".."))
    print("\n".join(errors) if errors else "every #include is as docs/architecture.md draws it")
    sys.exit(1 if errors else 0)
