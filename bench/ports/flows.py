"""The packets of a measurement, for all generators alike: sizes, UDP flows, and what a line can carry."""

FRAME_SIZES = (64, 128, 256, 512, 1024, 1280, 1518)  # RFC 2544 section 9.1; bytes of Ethernet frame with its FCS
FRAMING = 18  # Ethernet header and FCS
GAP = 20  # preamble, start of frame, and the least gap to the next one
UDP_HEADERS = 28  # with IPv4
# 7:4:1, the packets of espgate-bench's imix, which counts from the IP header on.
IMIX = ((64 + FRAMING, 7), (570 + FRAMING, 4), (1420 + FRAMING, 1))

LEFT, RIGHT = "10.1.0.10", "10.2.0.10"  # the generator's ends, behind conf/examples/bench-*.yaml
FIRST_PORT = 20000  # a flow is a source port from here on
PORT = 2544  # of the destination


def frames_of(word):
    """(frame size, weight) each: of "imix", or of one size."""
    if word == "imix":
        return IMIX
    size = int(word)
    if size < FRAME_SIZES[0]:
        raise ValueError(f"{size}: an Ethernet frame has at least {FRAME_SIZES[0]} bytes")
    return ((size, 1),)


def mean_size(frames):
    return sum(size * weight for size, weight in frames) / sum(weight for _, weight in frames)


def inner_gbps(frames, rate):
    """Of IP packets, as they are before encryption."""
    return rate * (mean_size(frames) - FRAMING) * 8 / 1e9


def line_gbps(frames, rate):
    """Of the clear side's line, with framing and gaps."""
    return rate * (mean_size(frames) + GAP) * 8 / 1e9


def line_rate(frames, gbps):
    """Packets a second that fill a line."""
    return gbps / line_gbps(frames, 1)
