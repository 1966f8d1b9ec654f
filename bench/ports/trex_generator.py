"""TRex in stateless mode as the generator; its Python library is looked for only when it is asked for."""
import os
import sys
import time

import flows
from search import RESIDUAL_SECONDS, Trial

LATENCY_PPS = 100  # each way: handled by one core of TRex, in software
LATENCY_PART = 0.1  # of the rate, at most


class TrexGenerator:
    def __init__(self, server, ports, gateways, flow_count, both):
        from trex.common.trex_client import NO_TCP_UDP_MASK
        from trex.stl.api import STLClient
        import trex_profile
        self.streams, self.flow_count = trex_profile.streams, flow_count
        self.ports, self.senders = ports, ports if both else ports[:1]
        self.client = STLClient(server=server)
        self.client.connect()
        self.client.reset(ports=ports)
        self.client.set_service_mode(ports=ports, enabled=True)
        for port, own, gateway in zip(ports, (flows.LEFT, flows.RIGHT), gateways):
            self.client.set_l3_mode(port=port, src_ipv4=own, dst_ipv4=gateway)
        # The gateways ask every half a minute who has TRex's addresses: ARP stays with the core that answers it, and
        # only UDP takes the fast path.
        self.client.set_service_mode(ports=ports, enabled=False, filtered=True, mask=NO_TCP_UDP_MASK)

    def run(self, frames, rate, seconds):
        latency_pps = min(LATENCY_PPS, LATENCY_PART * rate)
        self.client.remove_all_streams(ports=self.ports)
        for direction, port in enumerate(self.senders):
            self.client.add_streams(self.streams(frames, rate, self.flow_count, direction, latency_pps, port),
                                    ports=[port])
        self.client.clear_stats()
        self.client.start(ports=self.senders, duration=seconds)
        self.client.wait_on_traffic(ports=self.senders)
        time.sleep(RESIDUAL_SECONDS)
        return self._count(rate, seconds)

    def _count(self, rate, seconds):
        """By the ports' counters: an ARP request adds to what was received as its answer adds to what was sent."""
        stats = self.client.get_stats()
        latency = self.client.get_pgid_stats(self.senders)["latency"]
        errors = [latency[port]["err_cntrs"] for port in self.senders]
        times = [latency[port]["latency"] for port in self.senders]
        return Trial(rate, seconds, len(self.senders),
                     sum(stats[port]["opackets"] for port in self.ports),
                     sum(stats[port]["ipackets"] for port in self.ports),
                     sum(counts["dup"] for counts in errors), sum(counts["out_of_order"] for counts in errors),
                     latency_us={"min": min(group["total_min"] for group in times),
                                 "mean": sum(group["average"] for group in times) / len(times),
                                 "max": max(group["total_max"] for group in times)})

    def close(self):
        self.client.disconnect()


def add_options(parser):
    parser.set_defaults(maximum=None, make=make)
    parser.add_argument("--server", default="127.0.0.1", help="where t-rex-64 -i runs (default %(default)s)")
    parser.add_argument("--library", default="/opt/trex/automation/trex_control_plane/interactive", metavar="FOLDER",
                        help="TRex's Python library, the folder that holds trex/ (default %(default)s)")
    parser.add_argument("--ports", type=int, nargs=2, default=(0, 1), metavar=("LEFT", "RIGHT"),
                        help="TRex's ports (default 0 1)")
    parser.add_argument("--next-hops", nargs=2, default=("10.1.0.1", "10.2.0.1"), metavar=("LEFT", "RIGHT"),
                        help="the gateways' addresses on the clear sides (default 10.1.0.1 10.2.0.1)")


def make(options):
    sys.path.insert(0, os.path.abspath(options.library))
    return TrexGenerator(options.server, list(options.ports), options.next_hops, options.flows, not options.one_way)
