"""RFC 2544 section 26.1: the highest rate at which a device loses nothing, found by halving the interval.

A generator has `run(frames, rate, seconds)`, which gives a Trial: it sends `rate` packets a second each way, and counts
what comes back until RESIDUAL_SECONDS after the last one.
"""
import dataclasses
import time

from losses import increase, words_of

RESIDUAL_SECONDS = 2  # RFC 2544 section 23 d): for packets that are still under way
PACE = 0.99  # a generator that sends less than this part of what it should was itself the limit
WARM_UPS = 10
WARM_UP_PART = 0.01  # of the highest rate


class NothingArrives(Exception):
    """Not one packet came through, and what the gateways say of it."""


@dataclasses.dataclass
class Trial:
    """Counts are of all directions together."""
    rate: float  # packets a second that were asked for, each way
    seconds: float  # that sending took
    directions: int
    sent: int
    received: int  # different ones
    duplicates: int = 0
    reordered: int = 0  # RFC 4737: came behind a later one of their flow
    latency_us: dict | None = None
    counted: dict = dataclasses.field(default_factory=dict)  # by gateway: what its counters of losses went up by

    @property
    def lost(self):
        return max(0, self.sent - self.received)

    @property
    def kept_pace(self):
        return self.sent >= PACE * self.rate * self.seconds * self.directions


@dataclasses.dataclass
class Throughput:
    best: Trial | None  # None: there is no such rate
    limit: Trial | None  # the slowest trial that did not pass
    trials: list


class Search:
    """`loss` and `resolution` are parts of 1; `pause` is what RFC 2544 section 23 e) gives a device to settle."""

    def __init__(self, generator, gateways=(), duration=60, loss=0, resolution=0.005, pause=5, sleep=time.sleep,
                 told=lambda trial: None):
        self.generator, self.gateways = generator, gateways
        self.duration, self.loss, self.resolution, self.pause = duration, loss, resolution, pause
        self.sleep, self.told = sleep, told

    def passes(self, trial):
        return trial.kept_pace and trial.lost <= self.loss * trial.sent

    def trial(self, frames, rate, seconds):
        before = {gateway.name: gateway.counters() for gateway in self.gateways}
        trial = self.generator.run(frames, rate, seconds)
        trial.counted = {gateway.name: increase(before[gateway.name], gateway.counters()) for gateway in self.gateways}
        self.sleep(self.pause)
        self.told(trial)
        return trial

    def warm_up(self, frames, maximum):
        """Neighbours are resolved and tunnels come up on the first packets, which may be lost."""
        for _ in range(WARM_UPS):
            trial = self.trial(frames, max(1, WARM_UP_PART * maximum), 1)
            if trial.lost == 0:
                return
        if trial.received == 0:
            raise NothingArrives(f"{trial.sent} packets were sent, and none arrived; {words_of(trial)}")

    def throughput(self, frames, maximum):
        """Begins at the top: a device that keeps up with the line is done with one trial."""
        found = Throughput(None, None, [])
        low, high, rate = 0, maximum, maximum
        while not found.trials or high - low > self.resolution * maximum:
            trial = self.trial(frames, rate, self.duration)
            found.trials.append(trial)
            if self.passes(trial):
                low, found.best = rate, trial
            else:
                high, found.limit = rate, trial
            rate = (low + high) / 2
        return found
