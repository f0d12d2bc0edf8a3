"""An answer of ``/metrics``, read."""

from __future__ import annotations

import re

_SAMPLE = re.compile(r"every_channel_netboot_(?P<name>\w+)(?:{(?P<labels>.*)})? (?P<value>\S+)")


def read_samples(text: str, name: str) -> dict[tuple[str, ...], float]:
    """The values of one figure by its labels' values, in the order of the text. No series is there twice."""
    found = [each for line in text.splitlines() if (each := _SAMPLE.fullmatch(line)) and each["name"] == name]
    samples = {tuple(re.findall(r'="((?:[^"\\]|\\.)*)"', each["labels"] or "")): each for each in found}
    assert len(samples) == len(found)
    return {labels: float(each["value"]) for labels, each in samples.items()}
