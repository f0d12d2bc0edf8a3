"""How well text stands out in the colours of a style sheet, by WCAG 2.2, 1.4.3."""

from __future__ import annotations

import re

LEAST = 4.5
"""Of text to what is behind it, to one."""


def find_colours(style: str) -> list[dict[str, str]]:
    """Name → colour, of each scheme: light, and dark."""
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    return [dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block)) for block in blocks]


def measure_contrast(one: str, other: str) -> float:
    """Of two colours, whichever of them is the lighter one."""
    lighter, darker = sorted(map(_find_luminance, (one, other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _find_luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
