"""The networks that tests and the quickstart share. East is always espgate: its kernel ends carry no address."""
from lab import Lab


def lan(lab, name, gateway, number, mtu=1500):
    """A host with an IPv4 and an IPv6 address behind `gateway`, which is x.1 / ::1 on interface `lan`."""
    host = lab.namespace(name)
    lab.link(host, "eth0", gateway, "lan", mtu)
    address_host(host, "eth0", number)
    return host


def address_host(host, interface, number):
    host.address(interface, f"10.{number}.0.10/24", f"fd00:{number}::10/64")
    host.ip("route", "add", "default", "via", f"10.{number}.0.1")
    host.ip("-6", "route", "add", "default", "via", f"fd00:{number}::1")


def east(lab, mtu=1500):
    """lan-e and espgate's namespace, whose `wan` is still to be linked."""
    gateway = lab.namespace("east")
    host = lan(lab, "lan-e", gateway, 1, mtu)
    Lab.for_dpdk(gateway, "lan")
    return host, gateway


class Single:
    """
      lan-e 10.1.0.10 --- east (espgate) 192.0.2.1 ---wan--- 192.0.2.2 west --- lan-w 10.2.0.10
            fd00:1::10                                                               fd00:2::10
    `west` is a kernel with strongSwan, or espgate as well (`dpdk_west`).
    """

    def __init__(self, lab, dpdk_west=False, mtu=1500):
        self.lan_e, self.east = east(lab, mtu)
        self.west = lab.namespace("west", forwarding=not dpdk_west)
        lab.link(self.east, "wan", self.west, "wan", mtu)
        Lab.for_dpdk(self.east, "wan")
        self.lan_w = lan(lab, "lan-w", self.west, 2, mtu)
        if dpdk_west:
            Lab.for_dpdk(self.west, "lan", "wan")
        else:
            self.west.address("lan", "10.2.0.1/24", "fd00:2::1/64")
            self.west.address("wan", "192.0.2.2/24")


class Natted:
    """
      lan-e --- east (espgate) 10.9.0.1 ---wan--- 10.9.0.254 nat 192.0.2.1 ---out--- 192.0.2.2 west --- lan-w
    `nat` masquerades east behind 192.0.2.1, with other source ports, and hands IKE to `inside` if that is said.
    """

    def __init__(self, lab, dpdk_west=False, inside=None):
        self.lan_e, self.east = east(lab)
        self.nat = lab.namespace("nat", forwarding=True)
        self.west = lab.namespace("west", forwarding=not dpdk_west)
        lab.link(self.east, "wan", self.nat, "inside")
        lab.link(self.nat, "out", self.west, "wan")
        Lab.for_dpdk(self.east, "wan")
        self.nat.address("inside", "10.9.0.254/24")
        self.nat.address("out", "192.0.2.1/24")
        masquerade(self.nat, inside)
        self.lan_w = lan(lab, "lan-w", self.west, 2)
        if dpdk_west:
            Lab.for_dpdk(self.west, "lan", "wan")
        else:
            self.west.address("lan", "10.2.0.1/24", "fd00:2::1/64")
            self.west.address("wan", "192.0.2.2/24")


class NattedPeer:
    """
      lan-e --- east (espgate) 192.0.2.1 --- 192.0.2.2 nat 10.9.0.254 --- 10.9.0.2 west 10.2.0.1
    `nat` masquerades west behind 192.0.2.2, with other source ports, and hands IKE to `inside` if that is said.
    """

    def __init__(self, lab, inside=None):
        self.lan_e, self.east = east(lab)
        self.nat = lab.namespace("nat", forwarding=True)
        self.west = lab.namespace("west", forwarding=True)
        lab.link(self.east, "wan", self.nat, "out")
        lab.link(self.nat, "inside", self.west, "wan")
        Lab.for_dpdk(self.east, "wan")
        self.nat.address("inside", "10.9.0.254/24")
        self.nat.address("out", "192.0.2.2/24")
        masquerade(self.nat, inside)
        self.west.address("wan", "10.9.0.2/24")
        self.west.ip("route", "add", "192.0.2.0/24", "via", "10.9.0.254")
        self.west.address("lo", "10.2.0.1/32")


def masquerade(router, inside=None):
    """What leaves by `out` gets its address and other ports; what others begin goes to `inside`, if that is said."""
    forward = (f"chain pre {{ type nat hook prerouting priority dstnat; iifname out udp dport {{ 500, 4500 }} "
               f"dnat to {inside}; }}; " if inside else "")
    router.nft(f"table ip nat {{ {forward}chain post {{ type nat hook postrouting priority srcnat; "
               "oifname out masquerade random; }; }")


class Dual:
    """
                                                       192.0.2.2 west-a 10.2.0.1
      lan-e 10.1.0.10 --- east 192.0.2.1 --- net ---<                            >--- lan-w 10.2.0.10
            fd00:1::10    (espgate)       (switch)     192.0.2.3 west-b 10.2.0.2          fd00:2::10
    lan-w spreads its flows over both; a west whose tunnel is gone hands what it gets to the other one.
    """

    def __init__(self, lab):
        self.lan_e, self.east = east(lab)
        self.net = lab.namespace("net")
        lab.link(self.east, "wan", self.net, "to-east")
        Lab.for_dpdk(self.east, "wan")
        self.lan_w = lab.namespace("lan-w")
        self.west_a = self._west(lab, "west-a", 1)
        self.west_b = self._west(lab, "west-b", 2)
        lab.bridge(self.net, "br0", "to-east", "to-west-a", "to-west-b")
        lab.bridge(self.lan_w, "br0", "west-a", "west-b")
        self.lan_w.address("br0", "10.2.0.10/24", "fd00:2::10/64")
        self.lan_w.run("sysctl", "-q", "-w", "net.ipv4.fib_multipath_hash_policy=1",
                       "net.ipv6.fib_multipath_hash_policy=1")
        self.lan_w.ip("route", "add", "default", "nexthop", "via", "10.2.0.1", "nexthop", "via", "10.2.0.2")
        self.lan_w.ip("-6", "route", "add", "default", "nexthop", "via", "fd00:2::1", "nexthop", "via", "fd00:2::2")

    def _west(self, lab, name, number):
        west = lab.namespace(name, forwarding=True)
        lab.link(west, "wan", self.net, f"to-{name}")
        lab.link(west, "lan", self.lan_w, name)
        west.address("wan", f"192.0.2.{number + 1}/24")
        west.address("lan", f"10.2.0.{number}/24", f"fd00:2::{number}/64")
        other = 3 - number
        west.ip("route", "add", "default", "via", f"10.2.0.{other}")
        west.ip("-6", "route", "add", "default", "via", f"fd00:2::{other}")
        return west


class Cloud:
    """
                                                                203.0.113.11  end-1 10.0.0.1
      lan 192.168.1.10 --- cpe 198.51.100.10 --- internet ---<                             >--- vcn 10.0.0.10
          fd00:1::10       (espgate)             (router)       203.0.113.140 end-2 10.0.0.2        fd00:2::10
    The network of the examples for clouds. What `vcn` sends goes back through end-2 alone, by whichever
    tunnel it was asked; an end whose tunnel is gone hands it to the other one.
    """

    def __init__(self, lab):
        self.cpe, self.internet, self.vcn = (lab.namespace(name) for name in ("cpe", "internet", "vcn"))
        self.internet.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        self.lan = lab.namespace("lan")
        lab.link(self.lan, "eth0", self.cpe, "lan")
        lab.link(self.internet, "to-cpe", self.cpe, "wan")
        Lab.for_dpdk(self.cpe, "lan", "wan")
        self.lan.address("eth0", "192.168.1.10/24", "fd00:1::10/64")
        self.lan.ip("route", "add", "default", "via", "192.168.1.1")
        self.lan.ip("-6", "route", "add", "default", "via", "fd00:1::1")
        self.internet.address("to-cpe", "198.51.100.1/24")
        self.ends = [self._end(lab, 1, "203.0.113.11", "203.0.113.9"),
                     self._end(lab, 2, "203.0.113.140", "203.0.113.137")]
        lab.bridge(self.vcn, "br0", "end-1", "end-2")
        self.vcn.address("br0", "10.0.0.10/16", "fd00:2::10/56")
        self.vcn.ip("route", "add", "default", "via", "10.0.0.2")
        self.vcn.ip("-6", "route", "add", "default", "via", "fd00:2::2")

    def _end(self, lab, number, address, router):
        end = lab.namespace(f"end-{number}", forwarding=True)
        lab.link(end, "wan", self.internet, f"to-end-{number}")
        lab.link(end, "vcn", self.vcn, f"end-{number}")
        end.address("wan", f"{address}/29")
        self.internet.address(f"to-end-{number}", f"{router}/29")
        end.address("vcn", f"10.0.0.{number}/16", f"fd00:2::{number}/56")
        end.ip("route", "add", "198.51.100.0/24", "via", router)
        end.ip("route", "add", "default", "via", f"10.0.0.{3 - number}")
        end.ip("-6", "route", "add", "default", "via", f"fd00:2::{3 - number}")
        return end
