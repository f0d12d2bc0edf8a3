"""The HTML: golden, well-formed, allowed by its own policy, and the same elements whatever nodes write."""

from __future__ import annotations

import dataclasses
import re
import sys
from html.parser import HTMLParser
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.contrast import LEAST, find_colours, measure_contrast
from support.golden import compare
from support.page_samples import NOW, make_boot, make_detail, make_fleet, make_rollouts

from ectools.netboot.api.page import render
from ectools.netboot.api.page.facts import (
    FleetFacts,
    NextBoot,
    NodeDetail,
    NodeFacts,
    PlannedValue,
    RolloutFacts,
    ServedRelease,
)
from ectools.netboot.api.page.filters import RowFilter, RowState
from ectools.netboot.api.page.render import PageUnavailableError, Viewer
from ectools.netboot.api.page.rows import FleetPage, build_fleet_page
from ectools.netboot.api.page.strips import build_node_page
from ectools.netboot.api.unstaged import UnstagedRelease
from ectools.netboot.boots.model import BootState, NodeReport
from ectools.netboot.rollout.model import RolloutState

LOOKS = Viewer(may_sign_in=True, host="boot.example")
ACTS = Viewer(may_act=True, may_sign_in=True)
_VOID = {"meta", "link", "input"}


class Elements(HTMLParser):
    """The elements of a page in their order, those that never end, and all texts and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.names: set[str] = set()
        self.values: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.names.add(name)
            self.values.append((name, value or ""))
            if name == "id":
                self.ids.append(value or "")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.remove(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.tags.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def render_whole(page: FleetPage, viewer: Viewer) -> str:
    return "".join((render.render_beginning(), *render.render_fleet(page, viewer)))


def write_fleet(viewer: Viewer = LOOKS, wanted: RowFilter | None = None, count: int = 20) -> str:
    return render_whole(build_fleet_page(make_fleet(count, unknown=2), wanted or RowFilter()), viewer)


def write_led(viewer: Viewer) -> str:
    facts = dataclasses.replace(make_fleet(2), rollouts=make_rollouts())
    return render_whole(build_fleet_page(facts, RowFilter()), viewer)


def write_lacking() -> str:
    lacking = UnstagedRelease(release="boot-<v7>", groups=("runners",))
    facts = dataclasses.replace(make_fleet(2), unstaged=[lacking] * 9)
    return render_whole(build_fleet_page(facts, RowFilter()), LOOKS)


def test_what_this_host_lacks_is_there_for_who_looks() -> None:
    html = write_lacking()
    assert '<p class="problem">boot-&lt;v7&gt; is not staged on this host: nodes of runners' in html
    assert "4 more releases are not staged on this host" in html


def write_stale() -> str:
    left_out = [(f"n{number}", "<racers> is no group") for number in range(7)]
    facts = dataclasses.replace(make_fleet(2), left_out=left_out, reload_error="<fleet.toml>: cannot be read")
    return render_whole(build_fleet_page(facts, RowFilter()), LOOKS)


def test_what_is_not_in_force_is_there_for_who_looks() -> None:
    html = write_stale()
    assert "those that were read last cannot be used: &lt;fleet.toml&gt;: cannot be read. The log" in html
    assert '<p class="problem">n4 was added, and is left out: &lt;racers&gt; is no group</p>' in html
    assert '<p class="problem">2 more that were added are left out' in html


def write_all() -> dict[str, str]:
    nothing = FleetFacts(nodes=(), now=NOW)
    return {
        "fleet": write_fleet(),
        "filtered": write_fleet(ACTS, RowFilter(state=RowState.FAILED, group="lab", text='"a" b')),
        "led": write_led(ACTS),
        "lacking": write_lacking(),
        "stale": write_stale(),
        "rows": render.render_rows(build_fleet_page(make_fleet(2), RowFilter()), ACTS),
        "machines": render_whole(build_fleet_page(make_fleet(0, unknown=1), RowFilter()), LOOKS),
        "empty": render_whole(build_fleet_page(nothing, RowFilter()), Viewer()),
        "node": render.render_node(build_node_page(make_detail(), more=True), ACTS),
        "silent": render.render_node(
            build_node_page(NodeDetail(node=NodeFacts(subject="nuc-19"), boots=(), now=NOW)), LOOKS
        ),
        "sign-in": render.render_sign_in(LOOKS, message="This is not the access token."),
        "message": render.render_message("Not found", "There is no node nuc-99.", LOOKS),
    }


@pytest.mark.parametrize("name", ["fleet", "node", "empty", "led"])
def test_golden(name: str) -> None:
    html = write_all()[name].replace(render.find_assets_path(), "/assets/HASH")
    compare(f"netboot/page-{name}.html", html)


@pytest.mark.parametrize(("name", "html"), write_all().items(), ids=lambda value: value[:8])
def test_each_page_is_well_formed_and_keeps_to_its_own_policy(name: str, html: str) -> None:
    page = Elements(html)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert not {each for each in page.names if each.startswith("on")} | ({"style"} & page.names)
    assert page.tags.count("style") == 0
    assert page.tags.count("script") == (name != "rows")
    for attribute, value in page.values:
        if attribute in ("href", "src", "action"):
            assert value.startswith(("/", "#")) or value == "data:,", value
        if attribute in ("aria-labelledby", "for"):
            assert value in page.ids
    if name != "rows":
        levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))


def test_buttons_are_there_for_who_may_act_alone() -> None:
    detail = build_node_page(make_detail())
    assert re.findall(r'method="post" action="([^"]*)"', render.render_node(detail, LOOKS)) == []
    assert re.findall(r'method="post" action="([^"]*)"', render.render_node(detail, ACTS)) == [
        "/sign-out",
        "/nodes/nuc-04/hold",
        "/nodes/nuc-04/boot-once",
    ]
    assert "/rollouts/" not in write_led(LOOKS)
    assert re.findall(r'action="(/rollouts/[^"]*)"', write_led(ACTS)) == [
        "/rollouts/runners/pause",
        "/rollouts/runners/abort",
    ]
    held = dataclasses.replace(
        make_detail().node, hold="by alice", boot_once="by bob: from its disk", may_release=True
    )
    html = render.render_node(build_node_page(dataclasses.replace(make_detail(), node=held)), ACTS)
    assert "/nodes/nuc-04/release" in html
    assert "/nodes/nuc-04/hold" not in html
    assert "by bob: from its disk" in html
    unknown = dataclasses.replace(make_detail().node, is_known=False)
    html = render.render_node(build_node_page(dataclasses.replace(make_detail(), node=unknown)), ACTS)
    assert "/nodes/nuc-04/hold" not in html
    assert 'href="/sign-in"' in render.render_message("a", "b", LOOKS)
    assert "/sign-" not in render.render_message("a", "b", Viewer())


# What gets out of an element, an attribute, a comment, a <pre> or a <title>, and what looks like a template.
nasty = st.sampled_from(
    [
        *(
            "<script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "' onmouseover='alert(1)",
            "</pre><h1>",
        ),
        *(
            "</title><script>",
            "<!--",
            "-->",
            "]]>",
            "{{ 7 * 7 }}",
            "{% raw %}",
            "&lt;b&gt;",
            "&#60;b&#62;",
            "\x00",
            "\u202e",
        ),
        *(
            "javascript:alert(1)",
            "//evil.example/",
            "\\",
            "`",
            "\r\n\r\n",
            "</svg>",
            "</textarea>",
            "</tr></table>",
        ),
    ]
)
hostile = (
    st.lists(nasty | st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=4)
    .map("".join)
    .filter(bool)
)


_TEXTS = ("id", "machine", "node", "group", "release", "tag", "system", "client", "why")


def write_with(text: str) -> list[Elements]:
    """Every page with ``text`` wherever a node, or who asks for a page, can have it."""
    report = NodeReport(
        release=text, system=text, healthy=False, failed=(text, text), journal=text, seconds={"kernel": 1.0}
    )
    boot = dataclasses.replace(
        make_boot("x", BootState.UNHEALTHY, report=report),
        **dict.fromkeys(_TEXTS, text),
    )
    known = NodeFacts(
        subject=text,
        group=text,
        known_by=(text,),
        boot=boot,
        hold=text,
        boot_once=text,
        next=NextBoot(release=text, tag=text),
    )
    other = NodeFacts(subject=f"{text} ", is_known=False, known_by=(f"serial {text}",), boot=boot)
    rollout = RolloutFacts(
        group=text,
        state=RolloutState.RUNNING,
        release=(text, text),
        before=(text, None),
        started=NOW,
        wave=0,
        waves=[1],
        size=4,
        healthy=[text],
        under_way=[text],
        awaited=[text],
        failed=[(text, text)],
        by=text,
        why=text,
    )
    served = ServedRelease(id=text, tag=text, staged=NOW)
    fleet = FleetFacts(nodes=[known, other], now=NOW, release=served, rollouts=[rollout])
    planned = [PlannedValue(name="Release", value=text, origin=text)]
    detail = NodeDetail(node=known, boots=[boot], now=NOW, planned=planned, releases=[text])
    listed = build_fleet_page(fleet, RowFilter())
    asked = dataclasses.replace(listed, filter=RowFilter(group=text, text=text))
    return [
        Elements(html)
        for html in (
            render_whole(asked, ACTS),
            render.render_rows(listed, ACTS),
            render.render_node(build_node_page(detail), ACTS),
            render.render_message(text, text, ACTS),
            render.render_sign_in(ACTS, message=text),
        )
    ]


PLAIN = write_with("plain")
NAMES = {name for page in PLAIN for name in page.names}


@given(hostile)
def test_no_text_of_a_node_gets_out_of_its_element(text: str) -> None:
    for plain, page in zip(PLAIN, write_with(text), strict=True):
        # A serial number that no shell can be given in one line has no command, and so no button to copy it.
        commands = ("p", "code", "/code", "button", "span", "/span", "/button", "/p")
        if text.isprintable():
            assert page.tags == plain.tags
        else:
            assert [tag for tag in page.tags if tag not in commands] == [
                tag for tag in plain.tags if tag not in commands
            ]
        assert page.names <= NAMES | {"selected"}
        for name, value in page.values:
            if name in ("href", "src", "action"):
                assert value in ("data:,", "#main") or re.match("/(?!/)", value)


def test_without_jinja2_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    render._make_environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(PageUnavailableError, match="Jinja2") as caught:
        render.render_message("a", "b", LOOKS)
    assert "python3-jinja2" in caught.value.render()


def test_assets_have_an_address_that_changes_with_them() -> None:
    assert re.fullmatch(r"/assets/[0-9a-f]{16}", render.find_assets_path())
    assert all(render.load_asset(name) for name in render.ASSETS)


def test_colours_of_text_stand_out_in_light_and_dark() -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1 for text."""
    schemes = find_colours(render.load_asset("page.css").decode())
    assert len(schemes) == 2
    for scheme in schemes:
        fronts = ["text", "muted", "link", "good", "busy", "warn", "bad"]
        for front, back in [*product(fronts, ["page", "raised"]), ("text", "changed")]:
            assert measure_contrast(scheme[front], scheme[back]) >= LEAST, (front, back, scheme)


def test_the_first_part_is_what_a_screen_shows() -> None:
    page = build_fleet_page(make_fleet(200, unknown=2), RowFilter())
    first, rest = render.render_fleet(page, LOOKS)
    assert "page.css" in render.render_beginning()
    assert first.startswith("<title>")
    assert first.count("<tr ") == 1 + render._FIRST_ROWS
    assert rest.count("<tr ") == 200 - render._FIRST_ROWS
    assert rest.endswith("</html>\n")
    few, end = render.render_fleet(build_fleet_page(make_fleet(3), RowFilter()), LOOKS)
    assert few.count("<tr ") == 4
    assert "<tr " not in end
