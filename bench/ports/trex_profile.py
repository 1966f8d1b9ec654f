"""The flows of bench/ports/rfc2544.py as a profile of TRex in stateless mode; in TRex's console:

    start -f bench/ports/trex_profile.py -p 0 1 -m 100kpps -t --size imix --flows 64

UDP from 10.1.0.10 to 10.2.0.10 on the left port and the other way round on the right one, as many flows as there are
source ports. A stream of its own, with a fixed rate, measures latency and order.
"""
import argparse

from trex.stl.api import (IP, UDP, Ether, STLFlowLatencyStats, STLPktBuilder, STLScVmRaw, STLStream, STLTXCont,
                          STLVmFlowVar, STLVmWrFlowVar)

import flows

FCS = 4  # which TRex does not count


def packet(frame_size, source, destination, varied=None):
    """The addresses of the Ethernet header are the port's, and there is no UDP checksum to be corrected."""
    headers = Ether() / IP(src=source, dst=destination) / UDP(sport=flows.FIRST_PORT, dport=flows.PORT, chksum=0)
    return STLPktBuilder(pkt=headers / bytes(frame_size - FCS - len(headers)), vm=varied)


def source_ports(count):
    last = flows.FIRST_PORT + count - 1
    return STLScVmRaw([STLVmFlowVar("port", min_value=flows.FIRST_PORT, max_value=last, size=2, op="inc"),
                       STLVmWrFlowVar(fv_name="port", pkt_offset="UDP.sport")])


def streams(frames, rate, flow_count, direction, latency_pps=0, latency_id=0):
    """`direction` is 0 on the left port and 1 on the right one; `rate` is that of all streams together."""
    source, destination = (flows.RIGHT, flows.LEFT) if direction else (flows.LEFT, flows.RIGHT)
    weights = sum(weight for _, weight in frames)
    made = [STLStream(packet=packet(size, source, destination, source_ports(flow_count)),
                      mode=STLTXCont(pps=(rate - latency_pps) * weight / weights)) for size, weight in frames]
    if latency_pps:
        made.append(STLStream(packet=packet(frames[0][0], source, destination), mode=STLTXCont(pps=latency_pps),
                              flow_stats=STLFlowLatencyStats(pg_id=latency_id)))
    return made


class Profile:
    def get_streams(self, direction=0, tunables=(), port_id=0, **_):
        parser = argparse.ArgumentParser(description="UDP flows through an IPsec gateway.")
        parser.add_argument("--size", default="64", help="bytes of frame with its FCS, or imix")
        parser.add_argument("--flows", type=int, default=64, help="UDP flows each way")
        parser.add_argument("--rate", type=float, default=1000, help="packets a second, for a multiplier of 1")
        parser.add_argument("--latency", type=float, default=0, help="packets a second that measure latency and order")
        options = parser.parse_args(tunables)
        return streams(flows.frames_of(options.size), options.rate, options.flows, direction, options.latency, port_id)


def register():
    return Profile()
