"""The fleet in a terminal: a row a node, and a boot as a strip of its stages."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ectools.netboot.state.shared_clock import FAR_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_STATE_COLOURS = {"healthy": 32, "booting": 36, "unhealthy": 31, "failed": 31, "abandoned": 33}
# Told from each other without colour too.
_STRIP = "█▓▒░"
_STRIP_COLOURS = (34, 36, 32, 33, 35)
_STRIP_WIDTH = 60
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def draw_rows(rows: Sequence[Mapping[str, Any]], *, now: float, colour: bool) -> Iterator[str]:
    """A line a node, below a title, in columns. What a machine says is shown without control characters."""
    table = [("NODE", "RELEASE", "SINCE", "STATE"), *(_list_cells(row, now=now) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(3)]
    for number, (*cells, state) in enumerate(table):
        text = "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True))
        code = _STATE_COLOURS.get(rows[number - 1]["state"] or "") if number and colour else None
        yield f"{text}  {_paint(state, code)}"


def _list_cells(row: Mapping[str, Any], *, now: float) -> tuple[str, str, str, str]:
    since = "-" if row["since"] is None else show_seconds(now - row["since"])
    return show_text(row["name"]), _name_release(row["release"]), since, _describe_state(row)


def _describe_state(row: Mapping[str, Any]) -> str:
    words = "has not booted yet" if row["state"] is None else row["state"]
    if row["state"] == "booting":
        words = f"booting: {row['stage']}"
    elif row["why"] is not None:
        words = f"{words}: {show_text(row['why'])}"
    notes = []
    if row["boot_once"] is not None and row["boot_once"]["given"] is None:
        notes.append(f"boots once: {describe_next(row)}")
    elif row["next"] is not None and _is_other(row):
        notes.append(f"next: {describe_next(row)}")
    if not row["known"]:
        notes.append("no node of the fleet")
    return "; ".join([words, *notes])


def _is_other(row: Mapping[str, Any]) -> bool:
    """Whether what a node boots next is something else than what it runs."""
    if row["next"]["boot"] != "network" or row["next"].get("waits") is not None:
        return True
    wanted, has = row["next"]["release"], row["release"]
    return wanted is None or has is None or wanted["id"] != has["id"]


def describe_next(row: Mapping[str, Any]) -> str:
    """What a node boots next, in words."""
    following = row["next"]
    if following["boot"] == "disk":
        return "from its disk"
    if following["boot"] == "hold":
        if row["hold"] is None:
            return "nothing, it is held by the fleet"
        by = "" if row["hold"]["by"] is None else f" by {show_text(row['hold']['by'])}"
        why = "" if row["hold"]["why"] is None else f": {show_text(row['hold']['why'])}"
        return f"nothing, it is held{by}{why}"
    if following["release"] is None:
        wanted = following["wanted"] or "a release"
        return f"{show_text(wanted)}, which is not staged"
    name = _name_release(following["release"])
    if (waits := following.get("waits")) is not None:  # a boot server of before does not say it
        return f"{name}, and would wait: {show_text(waits)}"
    return f"{name}, which installs it" if following["boot"] == "install" else name


def summarize_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """``5 nodes: 3 on their release and healthy, 1 booting, 1 failed; of 1 nothing is expected``."""
    nodes = [row for row in rows if row["known"]]
    wanted = [row for row in nodes if row["on_release"] is not None]
    good = sum(row["on_release"] for row in wanted)
    states = Counter(_name_lag(row) for row in wanted if not row["on_release"])
    parts = [
        f"{good} on their release and healthy",
        *(f"{count} {word}" for word, count in sorted(states.items())),
    ]
    text = f"{_count(len(nodes), 'node')}: {', '.join(parts)}"
    rest = len(nodes) - len(wanted)
    if rest:
        text += f"; of {rest} nothing is expected"
    others = len(rows) - len(nodes)
    return f"{text}; {_count(others, 'machine')} without a name" if others else text


def list_notices(answer: Mapping[str, Any], group: str | None) -> Iterator[str]:
    """What is not as somebody has said it is to be, beside the rows; of one group's nodes, where one is asked
    for. A boot server of before does not say it.
    """
    if (error := answer.get("reload_error")) is not None:
        yield f"the settings of before are in force: {show_text(error)} (the boot server's log says more)"
    for each in answer.get("left_out", ()):
        if group in (None, each["group"]):
            name = show_text(each["name"])
            yield f"left out: {name}: {show_text(each['why'])} (`ectools fleet remove {name}` forgets it)"


def _name_lag(row: Mapping[str, Any]) -> str:
    if row["state"] is None:
        return "not seen yet"
    return "on another release" if row["state"] == "healthy" else str(row["state"])


def draw_boot(boot: Mapping[str, Any], *, colour: bool) -> Iterator[str]:
    """A boot in a few lines: when, what, how it ended; its strip; what took how long; what is wrong."""
    code = _STATE_COLOURS.get(boot["state"]) if colour else None
    stages = sorted(boot["stages"].items(), key=lambda item: item[1])
    words = boot["state"]
    if "up" in boot["stages"]:
        words += f", up in {boot['stages']['up'] - boot['started']:.1f} s"
    if boot["state"] == "booting":
        words = f"booting: {boot['stage']}"
        # A boot server of before does not know it.
        if boot["stage"] == "store" and boot.get("store_percent") is not None:
            words += f" {boot['store_percent']} %"
    if boot["after"] is not None:
        words += ", by kexec"
    what = (show_time(boot["started"]), _name_release(boot["release"]), _paint(words, code), boot["id"])
    yield "  ".join(what)
    parts = [(stage, at - before) for (_, before), (stage, at) in pairwise(stages)]
    if parts:
        yield f"  {_draw_strip([seconds for _, seconds in parts], colour=colour)}"
        named = [
            f"{_paint(_STRIP[n % 4], _strip_colour(n, colour))} {stage} {seconds:.1f} s"
            for n, (stage, seconds) in enumerate(parts)
        ]
        yield f"  {'  '.join(named)}"
    if boot["why"] is not None:
        yield f"  {show_text(boot['why'])}"
    report = boot["report"]
    if report is not None and report["failed"]:
        yield f"  failed units: {show_text(', '.join(report['failed']))}"


def _draw_strip(seconds: Sequence[float], *, colour: bool) -> str:
    """Parts to scale, each at least one column wide, over the whole width."""
    total = sum(seconds) or 1.0
    widths = [max(1, round(each / total * _STRIP_WIDTH)) for each in seconds]
    return "".join(
        _paint(_STRIP[number % 4] * width, _strip_colour(number, colour))
        for number, width in enumerate(widths)
    )


def _strip_colour(number: int, colour: bool) -> int | None:
    return _STRIP_COLOURS[number % len(_STRIP_COLOURS)] if colour else None


def draw_hosts(hosts: Sequence[Mapping[str, Any]], *, now: float) -> Iterator[str]:
    """A line a boot host, below a title, in columns; and one for each release that it lacks."""
    table = [("HOST", "ADDRESS", "VERSION", "RELEASE", "STAGED", "SEEN", "CLOCK", "BEHIND")]
    for host in hosts:
        current = next((each for each in host["releases"] if "current" in each["marks"]), None)
        seen = "now" if host["here"] else f"{show_seconds(now - host['seen'])} ago"
        behind = str(host["behind"]) + (f", {host['dropped']} lost" if host["dropped"] else "")
        table.append(
            (
                show_text(host["name"]),
                show_text(host["address"]),
                show_text(host["version"]),
                _name_release(current),
                str(len(host["releases"]) + host.get("left_out", 0)),
                seen if host["up"] else f"{seen}: down",
                _show_clock(host.get("clock_ahead")),
                behind,
            )
        )
    widths = [max(len(line[column]) for line in table) for column in range(7)]
    for *cells, last in table:
        yield "  ".join([*(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)), last])
    tags = {each["id"]: each["tag"] for host in hosts for each in host["releases"] if each["tag"]}
    for host in hosts:
        for each in host.get("lacks", ()):
            release, groups = tags.get(each["release"], each["release"]), ", ".join(each["groups"])
            yield show_text(f"{host['name']} has not staged {release}, which is for {groups}")


def _show_clock(ahead: float | None) -> str:
    """What a host's clock is, held against the one that all go by."""
    if ahead is None:
        return "-"
    if abs(ahead) <= FAR_SECONDS:
        return "right"
    return f"{show_seconds(abs(ahead))} {'ahead' if ahead > 0 else 'behind'}"


def draw_event(event: Mapping[str, Any]) -> str:
    """Something that happened, on a line."""
    data = "  ".join(
        f"{name}={show_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))}"
        for name, value in event["data"].items()
        if value not in (None, "")
    )
    by = "" if event["by"] is None else f"by {show_text(event['by'])}"
    parts = (
        f"{event['sequence']}",
        show_time(event["at"]),
        show_text(event["kind"]),
        show_text(event["subject"]),
        by,
        data,
    )
    return "  ".join(part for part in parts if part)


def show_seconds(seconds: float) -> str:
    """A time that has passed, in one unit: ``3 min``."""
    whole = max(int(seconds), 0)
    size, unit = next((each for each in _UNITS if whole >= each[0]), _UNITS[-1])
    return f"{whole // size} {unit}"


def show_time(unix: float) -> str:
    """``2026-03-02T11:12:00Z``."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def show_text(text: str) -> str:
    """A foreign text on one line: control characters, which a terminal would obey, are shown as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _name_release(release: Mapping[str, Any] | None) -> str:
    if release is None:
        return "-"
    return show_text(release["tag"] or release["id"][:19])


def _paint(text: str, code: int | None) -> str:
    return text if code is None else f"\x1b[{code}m{text}\x1b[0m"


def _count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number} {what}s"
