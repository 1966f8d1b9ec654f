"""What the gateways under test say of losses."""
import json
import shlex
import subprocess


class Gateway:
    """`command` is its shell, wherever it is: "espgate --runtime DIR", or "ssh left espgate"."""

    def __init__(self, command):
        self.name = command

    def show(self, what):
        done = subprocess.run([*shlex.split(self.name), "show", what, "--json"], stdout=subprocess.PIPE, check=True,
                              stdin=subprocess.DEVNULL, timeout=20)
        return json.loads(done.stdout)

    def counters(self):
        """Packets by the words for how they were lost."""
        missed = {f"missed by port {row['name']}": row["missed"] for row in self.show("interfaces") if "missed" in row}
        return {**missed, **{row["name"]: row["count"] for row in self.show("drops")}}


def increase(before, after):
    return {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}


def words_of(trial):
    """What the gateways counted during the trial."""
    if not trial.counted:
        return "no gateway was asked why (--gateway)"
    return "; ".join(f"{name} counted " + (", ".join(f"{count} {what}" for what, count in counts.items()) or "no loss")
                     for name, counts in trial.counted.items())
