#!/usr/bin/python3
"""Runs one file of Python unittests and prints a line for each test, for the runner to read:

    @pass NAME SECONDS     @fail NAME SECONDS     @skip NAME REASON
"""
import fnmatch
import importlib.util
import os
import sys
import time
import unittest


class Lines(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.began = {}

    def startTest(self, test):
        super().startTest(test)
        self.began[test] = time.monotonic()

    def _say(self, word, test, more=None):
        seconds = time.monotonic() - self.began.get(test, time.monotonic())
        print(f"@{word} {short(test)} {f'{seconds:.1f}' if more is None else more}", flush=True)

    def addSuccess(self, test):
        self._say("pass", test)

    def addError(self, test, err):
        super().addError(test, err)
        print(self.errors[-1][1], flush=True)
        self._say("fail", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        print(self.failures[-1][1], flush=True)
        self._say("fail", test)

    def addSkip(self, test, reason):
        self._say("skip", test, reason)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            print(self._exc_info_to_string(err, test), flush=True)
            self._say("fail", subtest)


def short(test):
    """Class.method; for what fails outside a test (setUpClass), what unittest calls it."""
    parts = test.id().split(".")
    return ".".join(parts[-2:]) if isinstance(test, unittest.TestCase) else test.id().replace(" ", "_")


def load(path):
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return unittest.defaultTestLoader.loadTestsFromModule(module)


def flat(suite):
    for item in suite:
        yield from flat(item) if isinstance(item, unittest.TestSuite) else [item]


def main(path, area, pattern, listing):
    chosen = unittest.TestSuite(test for test in flat(load(path))
                                if fnmatch.fnmatch(f"{area}/{short(test)}", pattern))
    if listing:
        for test in flat(chosen):
            print(f"{area}/{short(test)}")
        return 0
    result = Lines()
    chosen.run(result)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "*", "--list" in sys.argv))
