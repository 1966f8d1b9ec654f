"""What the interop tests have in common: one lab for each class of tests, and everybody's logs when a test fails."""
import os
import socket
import unittest

import swan
from gateway import Gateway, configuration, tunnel
from lab import Lab, LabError, why_not

# Of the namespaces. Another one in the environment lets runs go on side by side; none may be the beginning of another.
PREFIX = os.environ.get("ESPGATE_LAB", "espgate-it-")
AF_XDP = 44  # of linux/socket.h
PSK = "correct horse battery staple"
EAST, WEST = "192.0.2.1", "192.0.2.2"
EAST6, WEST6 = "2001:db8::1", "2001:db8::2"
EAST_LAN = ["10.1.0.1/24", "fd00:1::1/64"]
WEST_LAN = ["10.2.0.1/24", "fd00:2::1/64"]


class LabCase(unittest.TestCase):
    """`build` makes the network, once for the class; a test may leave gateways running for the next one."""

    needs_swan = True
    prefix = PREFIX
    PEER = "strongSwan 5.9.8"  # as the table of docs/interop.md calls it
    lab = None

    @classmethod
    def setUpClass(cls):
        reason = cls.why_not()
        if reason:
            raise unittest.SkipTest(reason)
        cls.lab = Lab(cls.prefix)
        cls.addClassCleanup(cls.lab.close)
        cls.build()

    @classmethod
    def why_not(cls):
        """Why these tests can't run on this machine, in words; None when they can."""
        return why_not() or (swan.why_not() if cls.needs_swan else None)

    @classmethod
    def build(cls):
        raise NotImplementedError

    def run(self, result=None):
        bad = (len(result.failures), len(result.errors))
        super().run(result)
        if (len(result.failures), len(result.errors)) != bad and self.lab:
            self.print_logs()

    def print_logs(self):
        for process in self.lab.processes[-12:]:
            text = process.output()[-6000:]
            print(f"----- {process.name} (pid {process.pid}, status {process.popen.poll()})\n{text}")

    def shows(self, area, row, role):
        """For the table of docs/interop.md: this test has seen it with PEER, espgate being the initiator or responder."""
        print(f"@shows {self.PEER} | {area} | {row} | {role}", flush=True)

    def stop_after(self, thing):
        """Stops a gateway or a strongSwan when the test is over, if it still runs."""
        def stop():
            if thing.process and thing.process.running():
                try:
                    thing.stop()
                except LabError as error:
                    print(error)
        self.addCleanup(stop)
        return thing


def east_tunnel(**more):
    values = {"local": EAST, "remote": WEST, "local_id": "east.example", "remote_id": "west.example", "psk": PSK}
    return tunnel("west", **{**values, **more})


def west_tunnel(**more):
    values = {"local": WEST, "remote": EAST, "local_id": "west.example", "remote_id": "east.example", "psk": PSK}
    return tunnel("east", **{**values, **more})


def why_no_xdp():
    try:
        socket.socket(AF_XDP, socket.SOCK_RAW).close()
    except OSError as error:
        return f"no AF_XDP sockets here: {error}"
    return None


def on_af_xdp(config, *names):
    """The ports with these names, or all. For af_packet the kernel puts IPv4 fragments together: who wants to see how
    espgate does that itself needs this."""
    return {**config, "ports": [{**port, "device": f"af_xdp:{port['name']}"} if not names or port["name"] in names
                                else port for port in config["ports"]]}


def to_lan(number, **where):
    """Static routes to the LAN behind the other gateway."""
    return [{"to": f"10.{number}.0.0/24", **where}, {"to": f"fd00:{number}::/64", **where}]


def east_configuration(*tunnels, routes=None, wan=EAST + "/24", **dataplane):
    tunnels = tunnels or (east_tunnel(),)
    return configuration("east", [("lan", "lan", EAST_LAN), ("wan", "wan", [wan])], tunnels,
                         to_lan(2, tunnel="west") if routes is None else routes, **dataplane)


def west_configuration(*tunnels, routes=None, wan=WEST + "/24", **dataplane):
    tunnels = tunnels or (west_tunnel(),)
    routes = to_lan(1, tunnel="east") if routes is None else routes
    return configuration("west", [("lan", "lan", WEST_LAN), ("wan", "wan", [wan])], tunnels, routes,
                         **{"main-cpu": 1, "workers": [0], **dataplane})


def east_gateway(space, *tunnels, **more):
    return Gateway(space, east_configuration(*tunnels, **more))


def west_gateway(space, *tunnels, **more):
    return Gateway(space, west_configuration(*tunnels, **more))


WEST_SECRETS = [("west.example", "east.example", PSK)]


def west_connection(**more):
    """strongSwan's, as west."""
    values = {"local": WEST, "remote": EAST, "local_id": "west.example", "remote_id": "east.example"}
    return swan.connection(**{**values, **more})


def west_swan(space, settings=None, psk=PSK, **connection):
    """strongSwan as west, with a connection named `east`."""
    return swan.Swan(space, {"east": west_connection(**connection)}, [("west.example", "east.example", psk)], settings)
