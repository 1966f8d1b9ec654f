#!/usr/bin/python3
"""
The table of docs/interop.md, from what the tests of the last run have shown (`LabCase.shows`, kept by the runner):

    tests/interop/table.py            writes it
    tests/interop/table.py --check    says whether it is what was shown

A cell that no test fills has a reason here, or it is an error.
"""
import difflib
import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHOWN = os.path.join(ROOT, "build", "test-logs", "shown")
DOCUMENT = os.path.join(ROOT, "docs", "interop.md")
BEGIN, END = "<!-- written by tests/interop/table.py -->\n", "<!-- end -->\n"

AREAS = ["Authentication", "Refused, in words", "Diffie-Hellman group", "IKE proposal", "ESP proposal", "Child SA rekeyed",
         "Exchange", "NAT"]
PEERS = ["strongSwan 5.9.8", "Linux 6.1"]
ROLES = ["initiator", "responder"]

WAITS = "who waits behind a NAT has a port that is forwarded, and it stays the same"
# Regular expressions for area, row, peer and role ("": any); why no test shows that.
NOT_HERE = [
    ("ESP proposal", r"aes\d+gmac", "strongSwan 5.9.8", "", "its ESP in userspace does not have AES-GMAC"),
    ("NAT", "", "Linux 6.1", "", "no router stands between here and the guest; its ESP in UDP is `guest/rekey` and "
     "`guest/modes`"),
    ("NAT", "espgate behind .*another port", "strongSwan 5.9.8", "responder", WAITS),
    ("NAT", "the peer behind .*another port", "strongSwan 5.9.8", "initiator", WAITS),
    ("Refused, in words", "", "Linux 6.1", "", "no ESP comes of it, and IKE is the same strongSwan"),
    ("Exchange", "INVALID_KE_PAYLOAD.*|COOKIE", "Linux 6.1", "", "it is over before there is ESP, and IKE is the same "
     "strongSwan"),
    ("Exchange", "ESN|transport mode", "strongSwan 5.9.8", "", "its ESP in userspace does not have it"),
]


def shown():
    """(peer, area, row, role) of each line that a passed test has left."""
    found = set()
    for path in glob.glob(os.path.join(SHOWN, "*")):
        with open(path, encoding="utf-8") as file:
            found |= {tuple(part.strip() for part in line.split(" | ")) for line in file if line.strip()}
    return found


def natural(row):
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", row) if part]


def reason(area, row, peer, role):
    for a_row in NOT_HERE:
        if all(not pattern or re.fullmatch(pattern, text) for pattern, text in zip(a_row, (area, row, peer, role))):
            return a_row[-1]
    raise KeyError(f"{area}, {row}: no test shows it with {peer} as its {role}'s peer, and table.py does not say why")


def rendered(found):
    """Markdown. KeyError: a cell is empty without a reason."""
    notes, lines = [], []
    heads = [f"{peer}: {role}" for peer in PEERS for role in ROLES]
    lines += ["| | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    unknown = {area for _, area, _, _ in found} - set(AREAS)
    if unknown:
        raise KeyError(f"table.py does not know the areas {sorted(unknown)}")
    for area in AREAS:
        lines.append(f"| **{area}** |" + " |" * len(heads))
        for row in sorted({row for _, where, row, _ in found if where == area}, key=natural):
            cells = [cell(found, notes, area, row, peer, role) for peer in PEERS for role in ROLES]
            lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n\n" + "".join(f"{number}. {note}\n" for number, note in enumerate(notes, 1))


def cell(found, notes, area, row, peer, role):
    if (peer, area, row, role) in found:
        return "yes"
    why = reason(area, row, peer, role)
    if why not in notes:
        notes.append(why)
    return f"({notes.index(why) + 1})"


def parts():
    with open(DOCUMENT, encoding="utf-8") as file:
        text = file.read()
    before, rest = text.split(BEGIN)
    table, after = rest.split(END)
    return before, table, after


def why_not():
    """Why nothing can be said of the table, or None."""
    missing = [peer for peer in PEERS if peer not in {peer for peer, _, _, _ in shown()}]
    return f"no test with {' or '.join(missing)} has run here" if missing else None


def main(check):
    if why_not():
        print(why_not())
        return 77
    before, old, after = parts()
    try:
        new = rendered(shown())
    except KeyError as error:
        print(error.args[0])
        return 1
    if check:
        sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), "docs/interop.md", "shown"))
        return 0 if old == new else 1
    with open(DOCUMENT, "w", encoding="utf-8") as file:
        file.write(before + BEGIN + new + END + after)
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
