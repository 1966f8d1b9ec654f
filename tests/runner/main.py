#!/usr/bin/python3
"""Builds, runs all suites whose tests match a pattern, and ends with `N passed, N failed, N skipped`."""
import argparse
import concurrent.futures
import contextlib
import itertools
import os
import queue
import signal
import sys
import threading
import time

sys.dont_write_bytecode = True
import suites  # noqa: E402
from build import RELEASE, BuildFailed, end_children  # noqa: E402


def last_lines(path, count=40):
    """For whoever has only what this run printed. Of a log that tests share: those of the test that has just ended."""
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            lines = [line.rstrip()[:300] for line in log.readlines()]
    except OSError:
        return []
    ends = [number for number, line in enumerate(lines) if line.startswith(("@pass ", "@fail ", "@skip "))]
    return lines[ends[-2] + 1 if len(ends) > 1 else 0:][-count:]


class Report:
    """What suites tell, from any thread."""

    def __init__(self):
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        self.failures = []
        self.lock = threading.Lock()

    def passed(self, name, count=1, seconds=None):
        with self.lock:
            self.counts["passed"] += count
            if count:
                extra = f" ({count} cases)" if count > 1 else f" ({seconds} s)" if seconds else ""
                print(f"  passed   {name}{extra}", flush=True)

    def failed(self, name, log, count=1):
        with self.lock:
            self.counts["failed"] += count
            self.failures.append((name, log))
            print(f"  FAILED   {name}: see {log}", flush=True)
            print("".join(f"  |  {line}\n" for line in last_lines(log)), end="", flush=True)

    def skipped(self, name, reason):
        with self.lock:
            self.counts["skipped"] += 1
            print(f"  skipped  {name}: {reason}", flush=True)

    def close(self):
        """Prints the end of the run; true when nothing failed."""
        if self.failures:
            print("\nFailures, and where their logs are:")
            for name, log in self.failures:
                print(f"  {name}\n      {log}")
        print("{passed} passed, {failed} failed, {skipped} skipped".format(**self.counts))
        return self.counts["failed"] == 0


def all_suites():
    """In three parts: quick ones and those that measure; those that mostly wait, for timers and for each other; those of
    the instrumented builds. The release build must exist: it knows the compiled tests."""
    compiled = suites.meson_suites()
    plain = [suite for suite in compiled if suite.folder is RELEASE]
    return [(suites.python_suites("rules", "rules") + [suites.format_suite()] + plain + [suites.instructions_suite()] +
             suites.python_suites("bench", "bench")),
            (suites.python_suites("packets", "packets", RELEASE) + suites.python_suites("interop", "interop", RELEASE) +
             suites.python_suites("guest", "guest", RELEASE) + [suites.table_suite()]),
            [suite for suite in compiled if suite not in plain] + suites.fuzz_suites()]


class Lanes:
    """Runs suites side by side, as many as there are CPUs."""

    def __init__(self, pattern, report):
        self.pattern, self.report = pattern, report
        self.lanes = queue.SimpleQueue()
        self.count = os.cpu_count() or 1
        for lane in range(self.count):
            self.lanes.put(lane)

    def run(self, some):
        with concurrent.futures.ThreadPoolExecutor(self.count) as pool:
            try:
                for done in concurrent.futures.as_completed([pool.submit(self._run_one, suite) for suite in some]):
                    done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                end_children()
                raise

    def _run_one(self, suite):
        lane = self.lanes.get()
        try:
            print(f"{suite.name}", flush=True)
            suite.run(self.pattern, self.report, lane)
        finally:
            self.lanes.put(lane)


def prepared(suite, report):
    try:
        suite.prepare()
        return True
    except BuildFailed as error:
        report.failed(f"{suite.name} ({error})", error.log)
        return False


def run_part(part, lanes, report):
    """In their order; of a row that may run side by side those with the most tests first."""
    for (_, alone), row in itertools.groupby(part, lambda suite: (suite.folder, suite.alone)):
        tests = {suite: len(suite.names(lanes.pattern)) for suite in row}
        ready = [suite for suite in sorted(tests, key=tests.get, reverse=True)
                 if tests[suite] and prepared(suite, report)]
        for some in [[suite] for suite in ready] if alone else [ready]:
            lanes.run(some)


def build_behind(part, pattern):
    """Ends with the first that fails, which is told when the suite comes to its turn."""
    with contextlib.suppress(BuildFailed):
        for suite in part:
            if suite.names(pattern):
                suite.prepare(behind=True)


def run_suites(pattern, report):
    """The instrumented builds fill the time in which others wait."""
    quick, patient, instrumented = all_suites()
    lanes = Lanes(pattern, report)
    run_part(quick, lanes, report)
    builder = threading.Thread(target=build_behind, args=(instrumented, pattern), daemon=True)
    builder.start()
    try:
        run_part(patient, lanes, report)
        builder.join()
    except BaseException:
        end_children()
        raise
    run_part(instrumented, lanes, report)


def main():
    parser = argparse.ArgumentParser(description="Builds and runs the tests.")
    parser.add_argument("pattern", nargs="?", default="*", help="part of a name, or a shell pattern")
    parser.add_argument("--list", action="store_true", help="print the names and run nothing")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("test: asked to stop"))
    pattern = options.pattern if any(mark in options.pattern for mark in "*?[") else f"*{options.pattern}*"
    report, began = Report(), time.monotonic()
    try:
        RELEASE.prepare()
        if options.list:
            print("\n".join(name for suite in itertools.chain(*all_suites()) for name in suite.names(pattern)))
            return 0
        run_suites(pattern, report)
    except BuildFailed as error:
        report.failed(str(error), error.log)
    if not any(report.counts.values()):
        print(f"no test's name matches {options.pattern!r}; scripts/test --list shows them")
        return 2
    print(f"\n{time.monotonic() - began:.0f} s in all")
    return 0 if report.close() else 1


if __name__ == "__main__":
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.exit(main())
