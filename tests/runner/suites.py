"""What there is to run. A suite has a name ("unit/crypto"), and `run(pattern, report, lane)` that tells each result;
of suites that run at the same time each has a lane of its own, a small number."""
import concurrent.futures
import fnmatch
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

from build import LOGS, RELEASE, ROOT, SANITIZED, THREADS, running

FUZZ_SECONDS = int(os.environ.get("ESPGATE_FUZZ_SECONDS", "20"))
# What the namespaces of interop begin with; each lane has its own, and none is the beginning of another.
LAB = os.environ.get("ESPGATE_LAB", "espgate-it-").removesuffix("-")
ASSAULT_DATAGRAMS = int(os.environ.get("ESPGATE_ASSAULT_DATAGRAMS", "5000000"))


def log_path(name):
    return os.path.join(LOGS, name.replace("/", ".") + ".log")


def run_logged(name, argv, timeout, environment=None):
    """Exit status, or None when it was ended for taking too long. Output goes to the log of `name`."""
    with open(log_path(name), "w") as log:
        with running(argv, log, environment) as child:
            try:
                return child.wait(timeout)
            except subprocess.TimeoutExpired:
                child.kill()
                log.write(f"\nended: not done within {timeout} s\n")
                return None


def introspect(folder, what):
    text = subprocess.run(["/usr/bin/meson", "introspect", folder.path, what], stdout=subprocess.PIPE, check=True).stdout
    return json.loads(text)


class Suite:
    alone = False  # it measures time, or uses all CPUs: nothing else may run meanwhile

    def __init__(self, name, folder=None):
        self.name = name
        self.folder = folder

    def prepare(self, behind=False):
        """Builds what it needs. From any thread; `behind`: with what CPU others leave."""
        if self.folder:
            self.folder.prepare(behind=behind)

    def names(self, pattern):
        return [self.name] if fnmatch.fnmatch(self.name, pattern) else []


class Command(Suite):
    """Passes when its command exits with 0; 77 is a skip, whose reason is the last line of output."""

    def __init__(self, name, argv, folder=None, timeout=300, environment=None):
        super().__init__(name, folder)
        self.argv, self.timeout, self.environment = argv, timeout, environment
        self.alone = name.startswith(("bench/", "churn/"))

    def run(self, _, report, lane):
        status = run_logged(self.name, self.argv, self.timeout, self.environment)
        if status == 77:
            with open(log_path(self.name)) as log:
                report.skipped(self.name, (log.read().strip().splitlines() or ["no reason given"])[-1])
        elif status == 0:
            report.passed(self.name)
        else:
            report.failed(self.name, log_path(self.name))


def failures_in(root):
    """Catch2's XML in words, a line for each failure."""
    for case in root.iter("TestCase"):
        for node in case.iter():
            if node.tag == "Expression" and node.get("success") == "false":
                texts = [" ".join((node.findtext(tag) or "").split()) for tag in ("Original", "Expanded")]
                yield f"{case.get('name')}: {node.get('filename')}:{node.get('line')}: {' is '.join(texts)}\n"
            elif node.tag in ("Exception", "FatalErrorCondition", "Failure"):
                words = " ".join((node.text or "").split())
                yield f"{case.get('name')}: {node.get('filename')}:{node.get('line')}: {node.tag}: {words}\n"


class Catch(Suite):
    """A Catch2 program: its own reporter counts the test cases."""

    def __init__(self, name, argv, folder, environment=None):
        super().__init__(name, folder)
        self.argv, self.environment = argv, environment

    def run(self, _, report, lane):
        result = log_path(self.name) + ".xml"
        if os.path.exists(result):
            os.unlink(result)
        status = run_logged(self.name, [*self.argv, "-r", "xml", "-o", result], 600, self.environment)
        try:
            root = ElementTree.parse(result).getroot()
            counts = root.find("OverallResultsCases").attrib
        except (OSError, ElementTree.ParseError, AttributeError):
            report.failed(f"{self.name} (ended with status {status} before its report)", log_path(self.name))
            return
        failed = int(counts["failures"])
        report.passed(self.name, int(counts["successes"]) + int(counts["expectedFailures"]))
        if failed or status != 0:
            with open(log_path(self.name), "a", encoding="utf-8") as log:
                log.writelines(failures_in(root))
            report.failed(self.name, log_path(self.name), max(failed, 1))


def keep_shown(test, lines):
    """For tests/interop/table.py: a test's lines, instead of those that it left before."""
    path = os.path.join(LOGS, "shown", test.replace("/", "."))
    if lines:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as out:
            out.writelines(lines)
    elif os.path.exists(path):
        os.unlink(path)


class Python(Suite):
    """A file of unittests; each test counts. A line `ALONE = "why"` in it keeps others away."""

    def __init__(self, path, area, folder=None, timeout=900):
        super().__init__(f"{area}/{os.path.basename(path)[len('test_'):-len('.py')]}", folder)
        self.path, self.timeout = path, timeout
        with open(path, encoding="utf-8") as source:
            self.alone = re.search(r"^ALONE = ", source.read(), re.MULTILINE) is not None

    def _argv(self, pattern):
        return [sys.executable, os.path.join(ROOT, "tests", "runner", "cases.py"), self.path, self.name, pattern]

    def names(self, pattern):
        done = subprocess.run([*self._argv(pattern), "--list"], stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.split()

    def run(self, pattern, report, lane):
        argv = ["timeout", "-k", "10", str(self.timeout), *self._argv(pattern)]
        shown = []
        with open(log_path(self.name), "w") as log:
            with running(argv, environment={"ESPGATE_LAB": f"{LAB}{lane}-"}) as child:
                for line in child.stdout:
                    log.write(line)
                    log.flush()
                    if line.startswith("@shows "):
                        shown.append(line.removeprefix("@shows "))
                    else:
                        self._tell(line, report, shown)
            if child.returncode not in (0, 1):
                report.failed(f"{self.name} (ended with status {child.returncode})", log_path(self.name))

    def _tell(self, line, report, shown):
        """`shown`: what the test whose end this may be has shown; emptied then."""
        told = re.match(r"@(pass|fail|skip) (\S+) (.*)", line)
        if not told:
            return
        name = f"{self.name}/{told.group(2)}"
        keep_shown(name, shown if told.group(1) == "pass" else [])
        shown.clear()
        if told.group(1) == "pass":
            report.passed(name, seconds=told.group(3))
        elif told.group(1) == "fail":
            report.failed(name, log_path(self.name))
        else:
            report.skipped(name, told.group(3))


class Fuzzers(Suite):
    """libFuzzer targets over their kept corpora, for a short while, one on each CPU; finds go to the logs, the corpora
    stay as they are."""

    alone = True

    def __init__(self, targets):
        super().__init__("fuzz", SANITIZED)
        self.targets = targets

    def names(self, pattern):
        return fnmatch.filter([f"fuzz/{target}" for target in self.targets], pattern)

    def run(self, pattern, report, lane):
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for name, status in pool.map(self._fuzz, self.names(pattern)):
                if status == 0:
                    report.passed(name)
                else:
                    report.failed(name, log_path(name))

    @staticmethod
    def _fuzz(name):
        target = name.removeprefix("fuzz/")
        program = os.path.join(SANITIZED.path, "tests", "fuzz", f"fuzz-{target}")
        corpus = os.path.join(ROOT, "tests", "fuzz", "corpus", target)
        if not glob.glob(os.path.join(corpus, "*")):
            with open(log_path(name), "w") as log:
                log.write(f"no corpus at {corpus}\n")
            return name, None
        with tempfile.TemporaryDirectory() as finds:
            prefix = os.path.join(LOGS, name.replace("/", ".") + ".")
            argv = [program, f"-max_total_time={FUZZ_SECONDS}", "-timeout=10", "-rss_limit_mb=4096",
                    f"-artifact_prefix={prefix}", finds, corpus]
            return name, run_logged(name, argv, FUZZ_SECONDS + 120)


def assaults(program, name):
    """Mutated datagrams by the million; fewer in the sanitizer build, which sees what a release build survives."""
    sanitized = program.replace(RELEASE.path, SANITIZED.path)
    return [Command(f"assault/{name}", [program, str(ASSAULT_DATAGRAMS)], RELEASE, 900),
            Command(f"asan/{name}", [sanitized, str(ASSAULT_DATAGRAMS // 25)], SANITIZED, 900, SANITIZER_OPTIONS)]


class OneTarget(Command):
    """A command whose build folder is made for it alone."""

    def prepare(self, behind=False):
        self.folder.prepare([os.path.relpath(self.argv[0], self.folder.path)], behind)


def under_thread_sanitizer(program):
    return OneTarget("churn/tsan", [program.replace(RELEASE.path, THREADS.path), "10000"], THREADS, 600,
                     {"TSAN_OPTIONS": "halt_on_error=0"})


def meson_suites():
    """What the build registers as tests: Catch2 programs, which run in the sanitizer build too, and commands."""
    found = []
    for test in introspect(RELEASE, "--tests"):
        kind = test["suite"][0].split(":")[-1] if test["suite"] else "other"
        short, environment = test["name"].removeprefix("test-"), test.get("env", {})
        if kind == "unit" and test["cmd"][0].startswith(RELEASE.path):
            sanitized = [test["cmd"][0].replace(RELEASE.path, SANITIZED.path), *test["cmd"][1:]]
            found += [Catch(f"unit/{short}", test["cmd"], RELEASE, environment),
                      Catch(f"asan/{short}", sanitized, SANITIZED, {**environment, **SANITIZER_OPTIONS})]
        elif kind == "assault":
            found += assaults(test["cmd"][0], short)
        elif kind == "churn":
            found += [Command("churn/release", [test["cmd"][0], "100000"], RELEASE), under_thread_sanitizer(test["cmd"][0])]
        else:
            found.append(Command(f"{kind}/{short}", test["cmd"], RELEASE, test.get("timeout") or 300, environment))
    return sorted(found, key=lambda suite: (suite.alone, [RELEASE, SANITIZED, THREADS].index(suite.folder)))


SANITIZER_OPTIONS = {"UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
                     "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1"}


def fuzz_suites():
    if not shutil.which("clang++-14"):
        return []
    return [Fuzzers(sorted(os.path.basename(path)[:-len(".cpp")] for path in glob.glob(f"{ROOT}/tests/fuzz/*.cpp")
                           if "LLVMFuzzerTestOneInput" in open(path, encoding="utf-8").read()))]


def format_suite():
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "*.cpp", "*.hpp"], stdout=subprocess.PIPE, text=True,
                            check=False).stdout.split()
    return Command("format/clang-format", ["clang-format-14", "--dry-run", "-Werror", *listed])


def instructions_suite():
    """More instructions a packet than before is a regression that no clock on a loaded machine shows."""
    return Command("bench/instructions", [os.path.join(ROOT, "bench", "instructions.py"), "--check"], RELEASE, 600)


def table_suite():
    """docs/interop.md says what the tests before have shown."""
    return Command("interop/table", [os.path.join(ROOT, "tests", "interop", "table.py"), "--check"])


def python_suites(folder_name, area, folder=None):
    found = [Python(path, area, folder) for path in sorted(glob.glob(f"{ROOT}/tests/{folder_name}/test_*.py"))]
    return sorted(found, key=lambda suite: suite.alone)
