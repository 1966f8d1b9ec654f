"""
What the guest's tests have in common: one network and one boot for each class of tests.

  lan-e 10.1.0.10 --- east 192.0.2.1 ------ 192.0.2.2 west --- lan-w 10.2.0.10
        fd00:1::10    espgate 2001:db8::1   2001:db8::2                fd00:2::10
                                            Linux in QEMU

West's cards are bridged to veths, in the namespace `host`, where QEMU lives. Espgate's ports are af_xdp: for af_packet
the kernel would put fragments together, which are espgate's own business here.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "interop"))
import kernel  # noqa: E402
import topologies  # noqa: E402
from base import LabCase, east_configuration, on_af_xdp, west_connection, why_no_xdp  # noqa: E402
from gateway import Gateway  # noqa: E402
from lab import Lab, LabError, told_mtu, wait_until  # noqa: E402
from machine import Machine  # noqa: E402
from peer import KernelSwan  # noqa: E402

EAST6, WEST6 = "2001:db8::1", "2001:db8::2"
EAST_NETS, WEST_NETS = "10.1.0.0/24,fd00:1::/64", "10.2.0.0/24,fd00:2::/64"


class Net:
    def __init__(self, lab, programs):
        self.lan_e, self.east = topologies.east(lab)
        self.host = lab.namespace("host")
        lab.link(self.east, "wan", self.host, "wan")
        self.lan_w = topologies.lan(lab, "lan-w", self.host, 2)
        Lab.for_dpdk(self.east, "wan")
        Lab.for_dpdk(self.host, "wan", "lan")
        self.west = Machine(self.host, programs)
        lab.bridge(self.host, "br-wan", "wan", "tap-wan")
        lab.bridge(self.host, "br-lan", "lan", "tap-lan")
        Lab.for_dpdk(self.host, "br-wan", "br-lan")


def east_gateway(space, *tunnels, **more):
    config = on_af_xdp(east_configuration(*tunnels, **more))
    config["ports"][1]["addresses"].append(EAST6 + "/64")
    return Gateway(space, config)


def west_kernel_connection(**more):
    """strongSwan's, as west, for the two LANs: any to any would be policies for all that the kernel forwards."""
    return west_connection(**{"local_ts": WEST_NETS, "remote_ts": EAST_NETS, **more})


# What is larger than the tunnel's MTU espgate fragments before ESP, the kernel behind it; IPv6 hosts fragment it
# themselves when they are told (Packet Too Big), so a first packet may be lost.
SWEEP = """for size in {sizes}; do
  for again in 1 2 3; do ping -n -q -c 1 -W 2 -M dont -s $size {destination} >/dev/null && continue 2; done
  echo $size
done"""


def lost_sizes(space, destination, sizes):
    """Sends a packet of each size (bytes, with IP header), up to three times. Returns those never answered."""
    headers = 48 if ":" in destination else 28
    script = SWEEP.format(sizes=" ".join(str(size - headers) for size in sizes), destination=destination)
    return [int(size) + headers for size in space.run("sh", "-c", script, timeout=300).stdout.split()]


# What the hosts' kernels say to everybody, what is told to the sender, and ICMP errors to east itself.
HARMLESS = {"multicast", "too-big", "host-protocol"}


class GuestCase(LabCase):
    prefix = "espgate-guest-"
    PEER = "Linux 6.1"

    @classmethod
    def why_not(cls):
        reason = super().why_not() or kernel.why_not() or why_no_xdp()
        if reason:
            return reason
        try:
            kernel.fetch()
        except LabError as error:
            return str(error).splitlines()[0]
        return None

    @classmethod
    def programs(cls):
        """For Machine."""
        return {}

    @classmethod
    def build(cls):
        cls.net = Net(cls.lab, cls.programs())
        cls.west = cls.net.west
        cls.addClassCleanup(cls.west.close)
        cls.west.start()
        cls.west.batch(["addr add 192.0.2.2/24 dev wan", f"addr add {WEST6}/64 dev wan", "addr add 10.2.0.1/24 dev lan",
                        "addr add fd00:2::1/64 dev lan"])
        cls.swan = KernelSwan(cls.west, cls.net.lan_w, "10.2.0.1")

    def print_logs(self):
        super().print_logs()
        print(f"----- the guest\n{self.west.boot_log()}")
        try:
            print(self.swan.log()[-8000:])
            print(self.west.run("ip -s xfrm state; ip xfrm policy; cat /proc/net/xfrm_stat", check=False).stdout)
        except LabError as error:
            print(error)

    def check_sizes(self, sizes):
        """Packets of these sizes between the LANs, both families, both directions."""
        net = self.net
        for host, destination in ((net.lan_e, "10.2.0.10"), (net.lan_w, "10.1.0.10"), (net.lan_e, "fd00:2::10"),
                                  (net.lan_w, "fd00:1::10")):
            self.assertEqual(lost_sizes(host, destination, sizes), [], f"{host.short} to {destination}")

    def anew(self, east, which, act=lambda: None):
        """Until one SA is left here, of "ipsec" or "ike", and it is none of those before `act`."""
        def spis():
            return {row.get("inbound_spi") or row["initiator_spi"] for row in east.json("show", which, "sa")}
        before = spis()
        act()
        wait_until(lambda: len(spis()) == 1 and not before & spis(), 90,
                   lambda: f"new SAs alone: {spis()}\n{self.swan.log()[-3000:]}")

    def check_drops(self, east):
        self.assertLessEqual(set(east.drops()), HARMLESS)

    def check_traffic(self):
        """Of the sizes up to the MTU, on which both gateways agree; and of some that need fragments."""
        mtu = told_mtu(self.net.lan_e, "10.2.0.10")
        self.check_sizes([60, mtu - 1, mtu, mtu + 1, 3000])
        self.assertEqual(mtu, told_mtu(self.net.lan_w, "10.1.0.10"), "both gateways say the same MTU")
