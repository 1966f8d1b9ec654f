#!/usr/bin/python3
"""Prints host.json: what a host and its gateway say to each other, made by scapy. The gateway is 10.1.0.1 / fd00:1::1
with MAC 02:00:00:00:01:00 on port 0 (lan) and 192.0.2.1 with MAC 02:00:00:00:01:01 on port 1 (wan)."""
import json

from scapy.layers.inet import ICMP, IP, UDP, fragment
from scapy.layers.inet6 import (
    ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr, ICMPv6PacketTooBig, ICMPv6ParamProblem, ICMPv6TimeExceeded, IPv6, IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, fragment6)
from scapy.layers.isakmp import ISAKMP
from scapy.layers.l2 import ARP, Ether

GATEWAY, PEER = "02:00:00:00:01:00", "02:00:00:00:99:02"
GATEWAY4, PEER4, NEW4 = "10.1.0.1", "10.1.0.2", "10.1.0.9"
GATEWAY6, PEER6, NEW6 = "fd00:1::1", "fd00:1::2", "fd00:1::9"
GATEWAY_LINK, PEER_LINK = "fe80::ff:fe00:100", "fe80::ff:fe00:9902"
EVERYBODY = "ff:ff:ff:ff:ff:ff"
WAN4, REMOTE4 = "192.0.2.1", "192.0.2.2"
DATA = bytes(range(56))
MARKER = bytes(4)


def is_at(ip, mac, to_ip, to_mac):
    return Ether(dst=to_mac, src=mac) / ARP(op=2, hwsrc=mac, psrc=ip, hwdst=to_mac, pdst=to_ip)


def who_has(target, ip, mac, dst=EVERYBODY):
    return Ether(dst=dst, src=mac) / ARP(op=1, hwsrc=mac, psrc=ip, hwdst="00:00:00:00:00:00", pdst=target)


def solicitation(target, src, dst, mac=None):
    packet = IPv6(src=src, dst=dst, hlim=255) / ICMPv6ND_NS(tgt=target)
    return packet / ICMPv6NDOptSrcLLAddr(lladdr=mac) if mac else packet


def advertisement(target, src, dst, mac, router=1, solicited=1, override=1):
    packet = IPv6(src=src, dst=dst, hlim=255) / ICMPv6ND_NA(tgt=target, R=router, S=solicited, O=override)
    return packet / ICMPv6NDOptDstLLAddr(lladdr=mac)


def multicast(address, packet, src=GATEWAY):
    last = bytes(IPv6(dst=address))[36:40]
    return Ether(dst="33:33:" + ":".join(f"{b:02x}" for b in last), src=src) / packet


def error4(kind, code, about, nexthopmtu=0, identification=1):
    quoted = bytes(about)[:576 - 28]
    return (IP(src=GATEWAY4, dst=PEER4, tos=0xc0, id=identification, ttl=64) /
            ICMP(type=kind, code=code, nexthopmtu=nexthopmtu) / quoted)


def error6(header, about):
    return IPv6(src=GATEWAY6, dst=PEER6, hlim=64) / header / bytes(about)[:1280 - 48]


def ike(length):
    body = bytes(i & 0xff for i in range(length - 28))
    return bytes(ISAKMP(init_cookie=b"initiato", resp_cookie=b"responde", version=0x20, exch_type=34, flags=8,
                        length=length)) + body


def ike_packet(sport, dport, payload, src=REMOTE4, dst=WAN4, identification=1):
    return IP(src=src, dst=dst, id=identification) / UDP(sport=sport, dport=dport) / payload


def ike6_packet(sport, dport, payload, src=PEER6, dst=GATEWAY6):
    return IPv6(src=src, dst=dst, hlim=64) / UDP(sport=sport, dport=dport) / payload


def fragments6(packet, size=1280):
    """As many as it takes, of `size` bytes at most, with identification 1."""
    pieces = fragment6(IPv6(src=packet.src, dst=packet.dst, hlim=packet.hlim) / IPv6ExtHdrFragment() /
                       packet.payload, size)
    for piece in pieces:
        piece[IPv6ExtHdrFragment].id = 1
    return pieces


def outer6():
    """Outer packets over IPv6, whole and as scapy cuts them."""
    ends = dict(src=PEER6, dst=GATEWAY6)
    spi = bytes.fromhex("0004000300000001")
    marked = MARKER + ike(4000)
    for name, upper in (("esp", spi + DATA * 30), ("esp_udp", UDP(sport=31000, dport=4500) / (spi + DATA * 30)),
                        ("ike", UDP(sport=500, dport=500) / ike(4000)),
                        ("ike_4500", UDP(sport=31000, dport=4500) / marked)):
        nh = {"nh": 50} if name == "esp" else {}
        yield f"six_{name}", IPv6(**ends, **nh) / upper
        for i, piece in enumerate(fragment6(IPv6(**ends) / IPv6ExtHdrFragment(id=77, **nh) / upper, 1280)):
            yield f"six_{name}_{i}", piece
    yield "six_atomic", IPv6(**ends) / IPv6ExtHdrFragment(id=78, nh=50) / (spi + DATA)
    yield "six_atomic_whole", IPv6(**ends, nh=50) / (spi + DATA)
    yield "six_tcp", IPv6(**ends) / IPv6ExtHdrFragment(id=79, nh=6, m=1) / (DATA[:48])
    yield "six_options", IPv6(**ends) / IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment(id=79, nh=50, m=1) / (DATA[:48])


def too_big():
    """About outer packets of the gateway's: what routers on the way say."""
    router, spi = "198.51.100.1", bytes.fromhex("c0000001")
    fields = dict(type=3, code=4, nexthopmtu=1300)
    header4, header6 = dict(src=WAN4, dst=REMOTE4, len=1500), dict(src="2001:db8:2::1", dst="2001:db8:2::2", plen=1460)
    esp = bytes.fromhex("000003e0") + DATA  # sequence 992
    raw = IP(**header4, flags="DF", proto=50) / (spi + esp)
    in_udp = IP(**header4, flags="DF") / UDP(sport=4500, dport=31000, len=1480, chksum=0) / (spi + esp)
    ike = IP(**header4) / UDP(sport=4500, dport=31000, len=1480) / (MARKER + bytes(64))
    six = IPv6(**header6, nh=50) / (spi + esp)
    for name, quoted in (("raw", bytes(raw)), ("raw_8", bytes(raw)[:28]), ("udp", bytes(in_udp)),
                         ("udp_8", bytes(in_udp)[:28]), ("ike", bytes(ike))):
        yield f"too_big_{name}", IP(src=router, dst=WAN4) / ICMP(**fields) / quoted
    for mtu in (0, 40, 68, 575, 1200, 1499, 1500):
        yield f"too_big_mtu_{mtu}", IP(src=router, dst=WAN4) / ICMP(type=3, code=4, nexthopmtu=mtu) / bytes(raw)
    other = {"source": dict(header4, src="192.0.2.9"), "destination": dict(header4, dst="192.0.2.9"),
             "protocol": dict(header4, proto=51), "later": dict(header4, proto=50, frag=3)}
    for name, header in other.items():
        quoted = bytes(IP(**{"proto": 50, **header}) / (spi + esp))
        yield f"too_big_other_{name}", IP(src=router, dst=WAN4) / ICMP(**fields) / quoted
    for name, payload in (("spi", b"\xc0\0\0\2" + esp), ("sequence", spi + b"\0\1\0\0" + DATA), ("short", spi[:3])):
        yield f"too_big_other_{name}", IP(src=router, dst=WAN4) / ICMP(**fields) / bytes(IP(**header4, proto=50) / payload)
    for mtu in (1279, 1280, 1400, 1500):
        yield f"too_big6_{mtu}", IPv6(src="2001:db8:9::1", dst=GATEWAY6) / ICMPv6PacketTooBig(mtu=mtu) / bytes(six)


def undelivered():
    """About IKE datagrams of the gateway's: what routers and the peer's host say."""
    router, ike = "198.51.100.1", bytes(range(1, 65))
    plain = bytes(IP(src=WAN4, dst=REMOTE4, proto=17, len=400) / UDP(sport=500, dport=500, len=380) / ike)
    marked = bytes(IP(src=WAN4, dst=REMOTE4, proto=17, len=400) / UDP(sport=4500, dport=31000, len=380) / (MARKER + ike))
    esp = bytes(IP(src=WAN4, dst=REMOTE4, proto=17, len=400) / UDP(sport=4500, dport=31000, len=380) / ike)
    dns = bytes(IP(src=WAN4, dst=REMOTE4, proto=17, len=400) / UDP(sport=4711, dport=53, len=380) / ike)
    six = bytes(IPv6(src="2001:db8:2::1", dst="2001:db8:2::2", plen=400) / UDP(sport=500, dport=500, len=400) / ike)
    for code in (0, 1, 2, 3, 5, 9, 10, 13):
        yield f"undelivered_{code}", IP(src=router, dst=WAN4) / ICMP(type=3, code=code) / plain
    for name, quoted in (("28", plain[:28]), ("24", plain[:24]), ("marked", marked), ("esp", esp), ("dns", dns),
                         ("stranger", bytes(IP(src=WAN4, dst="203.0.113.77", proto=17, len=400) / UDP(sport=500, dport=500, len=380)))):
        yield f"undelivered_quoting_{name}", IP(src=router, dst=WAN4) / ICMP(type=3, code=3) / quoted
    for code in (0, 1, 2, 3, 4):
        yield f"undelivered6_{code}", IPv6(src="2001:db8:9::1", dst=GATEWAY6) / ICMPv6DestUnreach(code=code) / six


def packets():
    far = dict(src=PEER4, dst="203.0.113.7")
    far6 = dict(src=PEER6, dst="2001:db8::7")
    udp4 = IP(**far) / UDP(sport=1000, dport=2000) / DATA
    large4 = IP(**far, flags="DF") / UDP(sport=1000, dport=2000) / (DATA * 25)
    udp6 = IPv6(**far6) / UDP(sport=1000, dport=2000) / DATA
    large6 = IPv6(**far6) / UDP(sport=1000, dport=2000) / (DATA * 25)
    to_port4 = IP(src=PEER4, dst=GATEWAY4) / UDP(sport=1000, dport=7) / DATA
    to_gre4 = IP(src=PEER4, dst=GATEWAY4, proto=47) / DATA
    to_port6 = IPv6(src=PEER6, dst=GATEWAY6) / UDP(sport=1000, dport=7) / DATA
    to_gre6 = IPv6(src=PEER6, dst=GATEWAY6, nh=47) / DATA
    node = "ff02::1:ff00:1"
    yield "arp_request", who_has(GATEWAY4, PEER4, PEER)
    yield "arp_answer", is_at(GATEWAY4, GATEWAY, PEER4, PEER)
    yield "arp_probe", who_has(GATEWAY4, "0.0.0.0", PEER)
    yield "arp_probe_answer", is_at(GATEWAY4, GATEWAY, "0.0.0.0", PEER)
    yield "arp_for_another", who_has("10.1.0.77", PEER4, PEER)
    yield "arp_gratuitous", who_has(PEER4, PEER4, "02:00:00:00:99:03")
    yield "arp_our_question", who_has(NEW4, GATEWAY4, GATEWAY)
    yield "arp_our_probe", who_has(NEW4, GATEWAY4, GATEWAY, dst="02:00:00:00:99:09")
    yield "arp_their_answer", is_at(NEW4, "02:00:00:00:99:09", GATEWAY4, GATEWAY)
    yield "arp_announcement", who_has(GATEWAY4, GATEWAY4, GATEWAY)

    yield "ns", solicitation(GATEWAY6, PEER6, node, PEER)
    yield "ns_answer", Ether(dst=PEER, src=GATEWAY) / advertisement(GATEWAY6, GATEWAY6, PEER6, GATEWAY)
    yield "ns_link_local", solicitation(GATEWAY_LINK, PEER_LINK, GATEWAY_LINK, PEER)
    yield "ns_link_local_answer", (Ether(dst=PEER, src=GATEWAY) /
                                   advertisement(GATEWAY_LINK, GATEWAY_LINK, PEER_LINK, GATEWAY))
    yield "ns_detection", solicitation(GATEWAY6, "::", node)
    yield "ns_detection_answer", multicast("ff02::1", advertisement(GATEWAY6, GATEWAY6, "ff02::1", GATEWAY, solicited=0))
    yield "nd_our_question", multicast("ff02::1:ff00:9", solicitation(NEW6, GATEWAY6, "ff02::1:ff00:9", GATEWAY))
    yield "nd_their_answer", advertisement(NEW6, NEW6, GATEWAY6, "02:00:00:00:99:09", router=0)
    yield "nd_announcement", multicast("ff02::1", advertisement(GATEWAY6, GATEWAY6, "ff02::1", GATEWAY, solicited=0))
    yield "ns_hop_limit_64", solicitation(GATEWAY6, PEER6, node, PEER).__class__(
        bytes(IPv6(src=PEER6, dst=node, hlim=64) / ICMPv6ND_NS(tgt=GATEWAY6) / ICMPv6NDOptSrcLLAddr(lladdr=PEER)))
    yield "ns_code_1", IPv6(src=PEER6, dst=node, hlim=255) / ICMPv6ND_NS(tgt=GATEWAY6, code=1)
    yield "ns_multicast_target", solicitation("ff02::5", PEER6, node, PEER)
    yield "ns_option_length_0", IPv6(src=PEER6, dst=node, hlim=255) / ICMPv6ND_NS(tgt=GATEWAY6) / bytes([1, 0] + [2] * 6)
    yield "ns_option_overruns", IPv6(src=PEER6, dst=node, hlim=255) / ICMPv6ND_NS(tgt=GATEWAY6) / bytes([1, 2] + [2] * 6)
    yield "ns_detection_with_link", solicitation(GATEWAY6, "::", node, PEER)
    yield "ns_detection_to_unicast", solicitation(GATEWAY6, "::", GATEWAY6)
    yield "na_multicast_solicited", advertisement(NEW6, NEW6, "ff02::1", PEER)
    yield "router_advertisement", IPv6(src=PEER_LINK, dst="ff02::1", hlim=255) / ICMPv6ND_RA()
    short = IPv6(src=PEER6, dst=node, hlim=255, nh=58) / bytes.fromhex("8700000000000000")
    yield "ns_too_short", with_icmp6_checksum(short)

    yield "echo4", IP(src=PEER4, dst=GATEWAY4, id=77) / ICMP(id=5, seq=6) / DATA
    yield "echo4_answer", IP(src=GATEWAY4, dst=PEER4, id=1, ttl=64) / ICMP(type=0, id=5, seq=6) / DATA
    yield "echo6", IPv6(src=PEER6, dst=GATEWAY6) / ICMPv6EchoRequest(id=5, seq=6, data=DATA)
    yield "echo6_answer", IPv6(src=GATEWAY6, dst=PEER6, hlim=64) / ICMPv6EchoReply(id=5, seq=6, data=DATA)
    yield "echo6_link_local", IPv6(src=PEER_LINK, dst=GATEWAY_LINK) / ICMPv6EchoRequest(id=5, seq=6, data=DATA)
    yield "echo6_link_local_answer", (Ether(dst=PEER, src=GATEWAY) / IPv6(src=GATEWAY_LINK, dst=PEER_LINK, hlim=64) /
                                      ICMPv6EchoReply(id=5, seq=6, data=DATA))
    yield "echo4_bad_checksum", IP(src=PEER4, dst=GATEWAY4) / ICMP(chksum=0x1234) / DATA
    yield "echo6_bad_checksum", IPv6(src=PEER6, dst=GATEWAY6) / ICMPv6EchoRequest(cksum=0x1234, data=DATA)
    yield "echo4_fragment", fragment(IP(src=PEER4, dst=GATEWAY4) / ICMP() / DATA, fragsize=24)[0]
    yield "echo4_from_ourselves", IP(src=GATEWAY4, dst=GATEWAY4) / ICMP() / DATA
    yield "echo4_reply_to_us", IP(src=PEER4, dst=GATEWAY4) / ICMP(type=0) / DATA
    yield "echo6_to_group", IPv6(src=PEER6, dst="ff02::1") / ICMPv6EchoRequest(data=DATA)
    yield "echo6_to_other_link_local", IPv6(src=PEER_LINK, dst="fe80::77") / ICMPv6EchoRequest(data=DATA)
    yield "echo4_to_group", IP(src=PEER4, dst="224.0.0.1") / ICMP() / DATA

    yield "udp4", udp4
    yield "udp6", udp6
    yield "large4", large4
    yield "large6", large6
    yield "ttl4_error", error4(11, 0, udp4)
    yield "ttl6_error", error6(ICMPv6TimeExceeded(code=0), udp6)
    yield "too_big4_error", error4(3, 4, large4, nexthopmtu=1300)
    yield "too_big6_error", error6(ICMPv6PacketTooBig(mtu=1300), large6)
    yield "no_route4_error", error4(3, 0, udp4)
    yield "no_route6_error", error6(ICMPv6DestUnreach(code=0), udp6)
    yield "host4_error", error4(3, 1, udp4)
    yield "host6_error", error6(ICMPv6DestUnreach(code=3), udp6)
    yield "to_port4", to_port4
    yield "to_port4_error", error4(3, 3, to_port4)
    yield "to_gre4", to_gre4
    yield "to_gre4_error", error4(3, 2, to_gre4)
    yield "to_port6", to_port6
    yield "to_port6_error", error6(ICMPv6DestUnreach(code=4), to_port6)
    yield "to_gre6", to_gre6
    yield "to_gre6_error", error6(ICMPv6ParamProblem(code=1, ptr=6), to_gre6)
    yield "about_icmp_error4", IP(**far) / ICMP(type=3, code=1) / bytes(udp4)[:28]
    yield "about_icmp_error6", IPv6(**far6) / ICMPv6DestUnreach(code=3) / bytes(udp6)[:48]
    yield "about_later_fragment4", fragment(udp4, fragsize=32)[1]
    yield "about_no_source4", IP(src="0.0.0.0", dst=far["dst"]) / UDP() / DATA
    yield "about_group_source4", IP(src="224.0.0.5", dst=far["dst"]) / UDP() / DATA
    yield "about_group4", IP(src=PEER4, dst="224.0.0.5") / UDP() / DATA
    yield "about_no_source6", IPv6(src="::", dst=far6["dst"]) / UDP() / DATA
    yield "about_echo4", IP(**far) / ICMP() / DATA
    yield "to_new4", IP(src="192.0.2.2", dst=NEW4) / UDP(sport=1, dport=2) / DATA
    yield "to_new6", IPv6(src="2001:db8::7", dst=NEW6) / UDP(sport=1, dport=2) / DATA

    yield "ike", ike(300)
    yield "ike_500", ike_packet(500, 500, ike(300))
    yield "ike_4500", ike_packet(31000, 4500, MARKER + ike(300))
    yield "ike_no_checksum", IP(src=REMOTE4, dst=WAN4) / UDP(sport=500, dport=500, chksum=0) / ike(300)
    yield "ike_bad_checksum", IP(src=REMOTE4, dst=WAN4) / UDP(sport=500, dport=500, chksum=0x1111) / ike(300)
    yield "ike_wrong_length", ike_packet(500, 500, ike(300)[:-1])
    yield "ike_short", ike_packet(500, 500, ike(300)[:27])
    yield "ike_no_marker", ike_packet(4500, 4500, b"\1" * 4 + ike(300))
    yield "ike_port_0", ike_packet(0, 500, ike(300))
    yield "ike_other_port", ike_packet(500, 501, ike(300))
    yield "ike_udp_overruns", IP(src=REMOTE4, dst=WAN4) / UDP(sport=500, dport=500, len=900, chksum=0) / ike(300)
    yield "ike_fragment", fragment(ike_packet(500, 500, ike(300)), fragsize=64)[0]
    yield "ike_out_500", ike_packet(500, 500, ike(300), src=WAN4, dst=REMOTE4)
    yield "ike_out_4500", ike_packet(4500, 31000, MARKER + ike(300), src=WAN4, dst=REMOTE4)
    for i, piece in enumerate(fragment(ike_packet(500, 500, ike(4000), src=WAN4, dst=REMOTE4), fragsize=1480)):
        yield f"ike_out_piece_{i}", piece
    yield "ike_4000", ike(4000)
    yield "ike6_500", ike6_packet(500, 500, ike(300))
    yield "ike6_4500", ike6_packet(31000, 4500, MARKER + ike(300))
    yield "ike6_behind_options", (IPv6(src=PEER6, dst=GATEWAY6) / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() /
                                  UDP(sport=500, dport=500) / ike(300))
    yield "ike6_no_checksum", IPv6(src=PEER6, dst=GATEWAY6) / UDP(sport=500, dport=500, chksum=0) / ike(300)
    yield "ike6_bad_checksum", IPv6(src=PEER6, dst=GATEWAY6) / UDP(sport=500, dport=500, chksum=0x1111) / ike(300)
    yield "ike6_udp_overruns", IPv6(src=PEER6, dst=GATEWAY6) / UDP(sport=500, dport=500, len=900) / ike(300)
    yield "ike6_fragment", fragments6(ike6_packet(500, 500, ike(3000)))[0]
    yield "ike6_chain_overruns", IPv6(src=PEER6, dst=GATEWAY6, nh=60) / bytes([17, 255]) / ike(300)
    yield "ike6_out_500", ike6_packet(500, 500, ike(300), src=GATEWAY6, dst=PEER6)
    yield "ike6_out_4500", ike6_packet(4500, 31000, MARKER + ike(300), src=GATEWAY6, dst=PEER6)
    for i, piece in enumerate(fragments6(ike6_packet(500, 500, ike(4000), src=GATEWAY6, dst=PEER6))):
        yield f"ike6_out_piece_{i}", piece
    yield "esp", IP(src=REMOTE4, dst=WAN4, proto=50) / bytes.fromhex("0badcafe00000001") / DATA
    yield from too_big()
    yield from undelivered()
    yield from outer6()
    mapped = dict(sport=4500, dport=31000)
    yield "keepalive", IP(src=WAN4, dst=REMOTE4, flags="DF", id=0, ttl=64) / UDP(**mapped, chksum=0) / b"\xff"
    yield "keepalive6", IPv6(src="2001:db8:2::1", dst="2001:db8:2::2", hlim=64) / UDP(**mapped) / b"\xff"
    yield "esp_udp", IP(src=REMOTE4, dst=WAN4) / UDP(sport=4500, dport=4500, chksum=0) / bytes.fromhex("0badcafe00000001") / DATA


def with_icmp6_checksum(packet):
    from scapy.layers.inet6 import in6_chksum
    body = bytes(packet.payload)
    checksum = in6_chksum(58, packet, body)
    return packet.__class__(src=packet.src, dst=packet.dst, hlim=packet.hlim, nh=58) / (
        body[:2] + checksum.to_bytes(2, "big") + body[4:])


if __name__ == "__main__":
    print(json.dumps({name: bytes(packet).hex() for name, packet in packets()}, indent=1))
