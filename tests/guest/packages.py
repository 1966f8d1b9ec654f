"""Debian's packages for the guest: downloaded and unpacked below build/, never installed."""
import glob
import os
import re
import tempfile

from lab import BUILD, LabError, run

CACHE = os.path.join(BUILD, "guest")


def unpacked(name, find):
    """The folder `name` with what is in the package that `find` names, kept from an earlier run, or the newest that apt
    has; LabError says why there is none."""
    folder = os.path.join(CACHE, name)
    if not os.path.isdir(folder):
        os.makedirs(CACHE, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            run(["dpkg-deb", "-x", _download(find(), work), os.path.join(work, name)], timeout=120)
            os.rename(os.path.join(work, name), folder)
    return folder


def why_not(name, programs):
    """In words why the guest can't have a package's programs, which `programs` gives as path there -> path here; None when
    it can."""
    try:
        needed = run(["ldd", *programs().values()], check=False).stdout
    except LabError as error:
        return str(error).splitlines()[0]
    missing = re.findall(r"(\S+) => not found", needed)
    return f"{name} wants {', '.join(sorted(set(missing)))}" if missing else None


def _download(package, work):
    done = run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package], check=False, timeout=300, cwd=work)
    files = glob.glob(os.path.join(work, "*.deb"))
    if done.returncode != 0 or not files:
        raise LabError(f"{package} can't be downloaded: {done.stdout.strip()[-300:]}")
    return files[0]
