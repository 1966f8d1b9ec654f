#!/usr/bin/python3
"""Measures the throughput of gateways as RFC 2544 section 26.1 says: bench/ports/rfc2544.py GENERATOR [OPTIONS]

The generators are `trex` (cards, up to the line's rate) and `sockets` (two network namespaces, some thousand packets a
second). Rates are of each direction. What each trial gave is told on stderr meanwhile; the table, or with --json the
rows, are on stdout.
"""
import argparse
import contextlib
import dataclasses
import json
import subprocess
import sys

sys.dont_write_bytecode = True
import flows  # noqa: E402
import socket_generator  # noqa: E402
import trex_generator  # noqa: E402
from losses import Gateway, words_of  # noqa: E402
from search import NothingArrives, Search  # noqa: E402

COLUMNS = "{:>6} {:>12} {:>12} {:>11} {:>7} {:>10} {:>10}  {}"


def say(trial):
    slow = "" if trial.kept_pace else f", which took {trial.seconds:.2f} s: the generator could not keep pace"
    print(f"rfc2544: {trial.rate:,.0f} packets/s each way: lost {trial.lost:,} of {trial.sent:,}{slow}",
          file=sys.stderr, flush=True)


def row_of(word, found):
    """One size's result, as it is told with --json."""
    frames, best = flows.frames_of(word), found.best
    rate = best.rate if best else 0
    return {"size": word, "packets_per_second": rate, "gbps_inner": flows.inner_gbps(frames, rate),
            "gbps_line": flows.line_gbps(frames, rate), "trials": len(found.trials),
            "best": dataclasses.asdict(best) if best else None,
            "limit": dataclasses.asdict(found.limit) if found.limit else None,
            "limited_by_generator": found.limit is not None and not found.limit.kept_pace}


def print_row(word, found):
    row, best = row_of(word, found), found.best
    latency = best.latency_us if best else None
    print(COLUMNS.format(word, f"{row['packets_per_second']:,.0f}", f"{row['gbps_inner']:.4f}",
                         f"{row['gbps_line']:.4f}", row["trials"], best.reordered if best else "",
                         best.duplicates if best else "", "{mean:.0f}/{max:.0f}".format(**latency) if latency else ""))
    if row["limited_by_generator"]:
        print("       the generator could not send more")
    elif found.limit:
        print(f"       at {found.limit.rate:,.0f} packets/s {found.limit.lost:,} of {found.limit.sent:,} were lost; "
              f"{words_of(found.limit)}")


def highest_rate(options, frames):
    line = flows.line_rate(frames, options.line)
    return min(line, options.maximum) if options.maximum else line


def measure(options, search):
    """(size, what was found) each."""
    first = flows.frames_of(options.sizes[0])
    search.warm_up(first, highest_rate(options, first))
    for word in options.sizes:
        frames = flows.frames_of(word)
        print(f"rfc2544: frames of {word}", file=sys.stderr, flush=True)
        yield word, search.throughput(frames, highest_rate(options, frames))


def sizes(text):
    words = text.split(",")
    for word in words:
        flows.frames_of(word)
    return words


def arguments():
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--sizes", type=sizes, default=[str(size) for size in flows.FRAME_SIZES], metavar="SIZE,...",
                        help="bytes of Ethernet frame with its FCS, or imix (default: RFC 2544's seven)")
    common.add_argument("--duration", type=float, default=60, help="seconds of a trial (default %(default)s)")
    common.add_argument("--loss", type=float, default=0, help="percent of packets that may be lost (default 0)")
    common.add_argument("--resolution", type=float, default=0.5,
                        help="percent of the highest rate: when to stop (default %(default)s)")
    common.add_argument("--maximum", type=float, help="highest packets a second each way (default: trex, the line's "
                                                      "rate; sockets, 5000)")
    common.add_argument("--line", type=float, default=10, help="Gbit/s of the ports (default %(default)s)")
    common.add_argument("--flows", type=int, default=64, help="UDP flows each way (default %(default)s)")
    common.add_argument("--one-way", action="store_true", help="from left to right only")
    common.add_argument("--pause", type=float, default=5, help="seconds between trials (default %(default)s)")
    common.add_argument("--gateway", type=Gateway, action="append", default=[], dest="gateways", metavar="COMMAND",
                        help="a gateway's shell, to be asked what was lost and why: \"espgate --runtime DIR\", "
                             "\"ssh left espgate\"; may be repeated")
    common.add_argument("--json", action="store_true", help="rows as JSON")
    parser = argparse.ArgumentParser(description="Measures throughput as RFC 2544 section 26.1 says.")
    generators = parser.add_subparsers(required=True, metavar="GENERATOR")
    for name, module, words in (("trex", trex_generator, "TRex in stateless mode"),
                                ("sockets", socket_generator, "UDP sockets in two network namespaces")):
        module.add_options(generators.add_parser(name, parents=[common], help=words, description=words))
    return parser.parse_args()


def report(options, search):
    if options.json:
        print(json.dumps([row_of(word, found) for word, found in measure(options, search)], indent=1))
        return
    print(COLUMNS.format("frame", "packets/s", "Gbit/s inner", "Gbit/s line", "trials", "reordered", "duplicates",
                         "latency us, mean/max"))
    for word, found in measure(options, search):
        print_row(word, found)


def main():
    options = arguments()
    try:
        with contextlib.closing(options.make(options)) as generator:
            report(options, Search(generator, options.gateways, options.duration, options.loss / 100,
                                   options.resolution / 100, options.pause, told=say))
    except (NothingArrives, ImportError, OSError, subprocess.SubprocessError) as error:
        print(f"rfc2544: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
