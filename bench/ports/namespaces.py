"""Sockets in network namespaces, for programs that have some in several."""
import contextlib
import ctypes
import os


@contextlib.contextmanager
def inside(namespace):
    """Sockets that are opened meanwhile belong to the network namespace, and stay there."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(opened):
        if libc.setns(opened.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), f"network namespace {namespace}: {os.strerror(ctypes.get_errno())}")

    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{namespace}") as there:
        enter(there)
        try:
            yield
        finally:
            enter(home)
