"""The show of scripts/quickstart: two strongSwan peers, a tunnel pair, traffic, and the loss of one peer."""
import os
import re
import shutil
import signal
import sys
import time

sys.dont_write_bytecode = True
import swan  # noqa: E402
from gateway import Gateway, program  # noqa: E402
from lab import (ROOT, Capture, Lab, LabError, iperf3_server, ping, resident_mib, seconds_of_cpu, sweep,  # noqa: E402
                 why_not)
from topologies import Dual  # noqa: E402

PREFIX = "espgate-qs-"
DIRECTORY = "/run/espgate-quickstart-lab"
EXAMPLE = os.path.join(ROOT, "conf", "examples", "quickstart.yaml")
MARK = "6573706761746521"  # "espgate!" in every ping's payload: must never be seen on the wire
FLOWS = 16


def say(words):
    print(f"\n== {words}", flush=True)


def secret_of(name):
    """The PSK that the example configuration gives the tunnel `name`."""
    with open(EXAMPLE) as text:
        found = re.search(rf"name: {name}\b.*?psk: \"?([^\"\s,}}]+)", text.read(), re.S)
    if not found:
        raise LabError(f"{EXAMPLE} has no psk for {name}")
    return found.group(1)


def start_peer(space, name, address):
    connection = swan.connection(address, "192.0.2.1", f"{name}.example", "east.example",
                                 ike="aes256-sha384-ecp384", esp="aes256gcm16-ecp384")
    return swan.Swan(space, {"east": connection},
                     [(f"{name}.example", "east.example", secret_of(name))]).start()


class Example(Gateway):
    """espgate with the example's own file, as a person would start it."""

    def configure(self, _):
        self.file = EXAMPLE


def show_flows(net, east):
    """Pings and TCP flows from LAN to LAN; both tunnels must have carried some of them."""
    say("Pings from lan-e to lan-w, IPv4 and IPv6")
    for destination in ("10.2.0.10", "fd00:2::10"):
        done = net.lan_e.run("ping", "-n", "-c", "4", "-i", "0.3", "-p", MARK, destination)
        print(done.stdout.strip())
    say(f"iperf3, {FLOWS} flows: the flow hash spreads them over both tunnels")
    before = traffic(east)
    iperf3_server(net.lan_w, "-1")
    done = net.lan_e.run("iperf3", "-c", "10.2.0.10", "-t", "4", "-P", str(FLOWS), "-f", "m", timeout=60)
    print("\n".join(line for line in done.stdout.splitlines() if "SUM" in line and ("sender" in line or "receiver" in line)))
    after = traffic(east)
    for name, (sent, received) in after.items():
        sent, received = sent - before[name][0], received - before[name][1]
        print(f"{name}: {sent} packets sent, {received} received meanwhile")
        if sent < 100 or received < 1:
            raise LabError(f"{name} carried next to nothing; both tunnels should have")


def traffic(east):
    """(packets sent, packets received) of each tunnel."""
    return {name: (row["tx_packets"], row["rx_packets"]) for name, row in east.settled_tunnels().items()}


def check_wire(capture):
    """Only ESP (in UDP 4500, as strongSwan's userspace ESP does), IKE and ARP; and none of our pings' payload."""
    say("What was on the wire between the gateways")
    path = capture.stop()
    esp = capture.count("udp port 4500 or esp")
    foreign = capture.count("not esp and not udp port 4500 and not udp port 500 and not arp and not icmp6")
    inner = capture.count("net 10.0.0.0/8 or net fd00::/16")
    with open(path, "rb") as packets:
        plain = bytes.fromhex(MARK) in packets.read()
    print(f"{esp} packets of ESP and IKE in UDP 4500; {foreign} of any other kind but ARP; "
          f"{inner} with an inner address; ping payload seen in clear: {'yes' if plain else 'no'}")
    if foreign or inner or plain or not esp:
        raise LabError(f"plaintext on the wire: {path}")


def lose_one(net, east, peer):
    say("Stopping strongSwan on west-a (SIGTERM: it deletes its SAs at the gateway, so there is no wait for DPD)")
    peer.stop()
    east.wait_down("west-a")
    print(east.shell("show", "tunnels").stdout)
    say("Traffic goes on over west-b")
    before = traffic(east)["west-b"]
    for destination in ("10.2.0.10", "fd00:2::10"):
        if not ping(net.lan_e, destination, count=5):
            raise LabError(f"no pings to {destination} over the tunnel that is left")
        print(f"5 of 5 pings to {destination} answered")
    after = traffic(east)["west-b"]
    print(f"west-b: {after[0] - before[0]} packets sent, {after[1] - before[1]} received meanwhile")


def show_rest(east, seconds=10):
    say(f"At rest: both tunnels up, no traffic, {seconds} s (idle: adaptive)")
    pids = {name: east.pids(name)[0] for name in ("espgate-dataplane", "espgate-control")}
    before = {name: seconds_of_cpu(pid) for name, pid in pids.items()}
    time.sleep(seconds)
    for name, pid in pids.items():
        used = seconds_of_cpu(pid) - before[name]
        print(f"{name:18} {100 * used / seconds:5.1f} % of a core, {resident_mib(pid):.0f} MiB of memory")


def bring_up(lab):
    say("Networks: lan-e -- east (espgate) -- switch -- west-a, west-b (strongSwan) -- lan-w")
    net = Dual(lab)
    say("Two strongSwan peers, and espgate run conf/examples/quickstart.yaml")
    peers = [start_peer(net.west_a, "west-a", "192.0.2.2"), start_peer(net.west_b, "west-b", "192.0.2.3")]
    east = Example(net.east, None).start()
    east.wait_up("west-a", "west-b", seconds=30)
    print(east.shell("show", "tunnels").stdout)
    return net, peers, east


def show(keep):
    lab = Lab(PREFIX, DIRECTORY)
    kept = False
    try:
        net, peers, east = bring_up(lab)
        capture = Capture(net.net, "to-east")
        show_flows(net, east)
        say("espgate show ipsec sa")
        print(east.shell("show", "ipsec", "sa").stdout)
        check_wire(capture)
        show_rest(east)
        if keep:
            kept = True
            tell_how(east)
            return
        lose_one(net, east, peers[0])
        say("Stopping espgate")
        print(f"espgate run ended with status {east.stop(signal.SIGINT)}")
    except BaseException:
        print(f"\n== It did not work. espgate's own words:\n{tail(lab)}", flush=True)
        raise
    finally:
        if not kept:
            lab.close()
            say("Cleaned up: namespaces, processes and files of the quickstart are gone")


def tail(lab):
    path = os.path.join(lab.directory, "espgate-east.log")
    if not os.path.exists(path):
        return "(it was not started)"
    with open(path, errors="replace") as log:
        return log.read()[-4000:]


def tell_how(east):
    shell = os.path.relpath(program("espgate"), os.getcwd())
    say("Left running, as asked. The shell:")
    print(f"    {shell} --runtime {east.runtime}\n"
          f"Traffic of your own:\n    ip netns exec {PREFIX}lan-e ping 10.2.0.10\n"
          f"To take it all down:\n    scripts/quickstart --down")


def take_down():
    count = sweep(PREFIX)
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    print(f"quickstart: {count} namespaces taken down" if count else "quickstart: nothing was running")


def main(option):
    if option == "--down":
        take_down()
        return 0
    reason = why_not() or swan.why_not()
    if reason:
        print(f"quickstart: can't run here: {reason}")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    try:
        show(option == "--keep")
    except LabError as error:
        print(f"\nquickstart: {error}")
        return 1
    print(f"\nquickstart: done in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
