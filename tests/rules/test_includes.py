#!/usr/bin/python3
"""The include rules hold in this tree, and a tree that breaks one is told so."""
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import includes  # noqa: E402

DRAWING = """# A tree
```includes
channel   ->
crypto    ->
conf      -> channel
dataplane -> channel
control   -> channel
dpdk      only in dataplane
ipsec-mb  only in crypto
openssl   only in crypto
asio      only in control
yaml-cpp  only in conf
libnl     only in dataplane
seccomp   only in control
```
"""
SOURCES = {
    "channel/ring.hpp": "#include <atomic>\n", "crypto/sign.cpp": "#include <openssl/evp.h>\n",
    "conf/load.cpp": '#include "channel/ring.hpp"\n', "dataplane/worker.cpp": '#include "channel/ring.hpp"\n',
    "control/main.cpp": '#include "channel/ring.hpp"\n',
}


class ThisTree(unittest.TestCase):
    def test_every_include_is_as_drawn(self):
        self.assertEqual(includes.check(os.path.join(HERE, "..", "..")), [])


class BrokenTrees(unittest.TestCase):
    def check(self, drawing=DRAWING, **changed):
        with tempfile.TemporaryDirectory() as root:
            subprocess.run(["git", "init", "-q", root], check=True)
            files = {**SOURCES, "docs/architecture.md": drawing, **changed.get("files", {})}
            for path, text in files.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), "w") as out:
                    out.write(text)
            return "\n".join(includes.check(root))

    def test_a_tree_that_keeps_the_rules(self):
        self.assertEqual(self.check(), "")

    def test_an_arrow_that_is_not_drawn(self):
        found = self.check(files={"conf/other.cpp": '#include "crypto/suite.hpp"\n'})
        self.assertIn("conf/other.cpp:1: conf may not include crypto", found)

    def test_the_two_processes_never_meet_even_if_drawn(self):
        found = self.check(DRAWING.replace("control   -> channel", "control   -> channel dataplane"),
                           files={"control/x.cpp": '#include "dataplane/worker.hpp"\n'})
        self.assertIn("control never includes dataplane", found)

    def test_a_library_outside_its_place(self):
        found = self.check(files={"control/x.cpp": "#include <rte_mbuf.h>\n"})
        self.assertIn("control/x.cpp:1: dpdk does not belong here", found)

    def test_asio_in_the_protocol(self):
        found = self.check(files={"control/ike/x.cpp": "#include <boost/asio/io_context.hpp>\n"})
        self.assertIn("asio never appears here", found)

    def test_a_drawing_that_lags_behind(self):
        found = self.check(files={"bench/x.cpp": "\n"})
        self.assertIn("does not show the room bench/", found)
        found = self.check(DRAWING.replace("conf      -> channel", "conf      -> channel crypto"))
        self.assertIn("an arrow that no #include uses: conf -> crypto", found)


if __name__ == "__main__":
    unittest.main()
