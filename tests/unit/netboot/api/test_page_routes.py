"""What the page answers over HTTP: to whoever looks, to whoever may act, and to whoever tries."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientPayloadError
from support.fleet_api import CURRENT, NOW, PREVIOUS, TOKEN, Api, FixedReleases, make_boot
from yarl import URL

from ectools.netboot.api.page import render, routes
from ectools.netboot.api.page.render import POLICY, find_assets_path
from ectools.netboot.api.page.routes import mount_page
from ectools.netboot.api.rights import TokenRights
from ectools.netboot.boots.model import BootState
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.rollout.model import RolloutPlan

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from aiohttp.test_utils import TestClient


def ask(
    scenario: Callable[[TestClient[Any, Any], Api], Awaitable[None]],
    api: Api | None = None,
    *,
    token: bool = True,
) -> None:
    """Run the scenario with a client of a listener that has an access token, or has the socket's rights."""
    served = api or Api()

    async def run() -> None:
        async with served.serve(served.token_rights if token else None, mount=[mount_page]) as client:
            await scenario(client, served)

    asyncio.run(run())


def of_same_origin(client: TestClient[Any, Any]) -> dict[str, str]:
    return {"Origin": str(client.make_url("")).rstrip("/"), "Sec-Fetch-Site": "same-origin"}


async def sign_in(client: TestClient[Any, Any], token: str = TOKEN) -> int:
    answer = await client.post(
        "/sign-in", data={"token": f" {token}\n"}, headers=of_same_origin(client), allow_redirects=False
    )
    return answer.status


def test_the_list_and_its_files() -> None:
    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        api.boots.note(make_boot())
        api.boots.note(make_boot(None, id="boot-2", machine="mac 02:00:00:00:00:99, serial PF1"))
        answer = await client.get("/")
        assert answer.status == 200
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        html = await answer.text()
        assert "3 nodes: 1 booting, 2 silent" in html
        assert "fleet of boot.example" in html
        assert "boot-v2</span> is served, staged" in html
        assert "ectools fleet add NAME --group GROUP --mac 02:00:00:00:00:99 --serial PF1" in html
        assert 'href="/sign-in"' in html
        for name in ("page.css", "page.js"):
            asset = await client.get(f"{find_assets_path()}/{name}")
            assert asset.headers["Cache-Control"].endswith("immutable")
            assert asset.headers["Content-Type"] == render.ASSETS[name]
            assert await asset.read() == render.load_asset(name)
            assert (await client.get(f"/assets/0/{name}")).headers["Cache-Control"] == "no-store"
        assert (await client.get("/assets/0/routes.py")).status == 404

    ask(scenario)


def test_rows_alone_for_the_script() -> None:
    async def scenario(client: TestClient[Any, Any], _: Api) -> None:
        html = await (await client.get("/rows?name=nuc-08&name=nobody&text=nuc")).text()
        assert 'data-part="node nuc-08"' in html
        assert 'data-part="node nuc-07"' not in html
        assert "3 nodes: 3 silent" in html

    ask(scenario)


def test_a_node_with_its_boots_and_what_it_boots_next() -> None:
    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        for number in range(21):
            api.boots.note(make_boot(id=f"boot-{number}", state=BootState.FAILED, ended=NOW, tag="boot-v1"))
        html = await (await client.get("/nodes/nuc-07")).text()
        assert html.count('data-part="boot boot-') == 20
        assert 'href="/nodes/nuc-07?boots=100"' in html
        for said in (
            "console=ttyS0",
            "from groups.runners.kernelArguments",
            "the network",
            "the current one, boot-v2",
        ):
            assert said in html
        html = await (await client.get("/nodes/nuc-07?boots=100")).text()
        assert html.count('data-part="boot boot-') == 21
        html = await (await client.get("/nodes/on-disk")).text()
        assert "its disk" in html
        assert "It has not asked for its boot script yet." in html

    ask(scenario)


def test_a_machine_without_a_name_has_a_page_however_it_is_written() -> None:
    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        machine = "serial a/b?c#d e%2F{x}"
        api.boots.note(make_boot(None, id="boot-2", machine=machine))
        listed = await (await client.get("/")).text()
        link = "/nodes/serial%20a%2Fb%3Fc%23d%20e%252F%7Bx%7D"
        assert f'href="{link}"' in listed
        answer = await client.get(URL(link, encoded=True))
        assert answer.status == 200
        assert f'data-subject="{machine}"' in await answer.text()

    ask(scenario)


def test_what_is_not_there_is_said_on_a_page() -> None:
    async def scenario(client: TestClient[Any, Any], _: Api) -> None:
        answer = await client.get("/nodes/nuc-77<script>")
        assert (answer.status, answer.content_type) == (404, "text/html")
        html = await answer.text()
        assert "nuc-77&lt;script&gt;: the fleet has no such node" in html
        assert answer.headers["Content-Security-Policy"] == POLICY

    ask(scenario)


def test_who_is_signed_in_holds_releases_and_boots_once() -> None:
    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        assert await sign_in(client) == 303
        same = of_same_origin(client)
        html = await (await client.get("/nodes/nuc-07")).text()
        assert 'action="/nodes/nuc-07/hold"' in html
        held = await client.post(
            "/nodes/nuc-07/hold", data={"why": "a new disk"}, headers=same, allow_redirects=False
        )
        assert (held.status, held.headers["Location"]) == (303, "/nodes/nuc-07")
        html = await (await client.get("/nodes/nuc-07")).text()
        assert "nothing: it waits" in html
        assert ": a new disk" in html
        assert ">held</span>" in await (await client.get("/")).text()
        for choice, target, release in (
            ("disk", NodeTarget.DISK, None),
            ("release boot-v1", NodeTarget.NETWORK, "boot-v1"),
            ("", NodeTarget.NETWORK, None),
        ):
            form = {"boot": choice} if choice else {"boot": "network"}
            await client.post("/nodes/nuc-07/boot-once", data=form, headers=same)
            override = api.fleet.get_override("nuc-07")
            assert override is not None
            assert override.once is not None
            assert (override.once.boot, override.once.release) == (target, release)
            html = await (await client.get("/nodes/nuc-07")).text()
            assert ", once" in html
        await client.post(
            "/nodes/nuc-07/release", headers={**same, "Content-Type": "application/x-www-form-urlencoded"}
        )
        assert api.fleet.get_override("nuc-07") in (None, type(override)())
        out = await client.post("/sign-out", headers=same)
        assert 'href="/sign-in"' in await out.text()

    ask(scenario)


def test_who_may_not_act_is_told_so_and_nothing_is_done() -> None:
    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        async def hold(**headers: str) -> tuple[int, str]:
            answer = await client.post("/nodes/nuc-07/hold", data={"why": ""}, headers=headers)
            return answer.status, await answer.text()

        same = of_same_origin(client)
        assert (await hold(**same))[0] == 403  # not signed in
        assert await sign_in(client, "wrong") == 403
        assert (await hold(**same))[0] == 403
        assert await sign_in(client) == 303
        assert (await hold(Origin="http://evil.example"))[0] == 403
        assert (await hold(**{**same, "Sec-Fetch-Site": "cross-site"}))[0] == 403
        status, html = await hold()
        assert (status, "another site" in html) == (403, True)
        assert api.fleet.get_override("nuc-07") is None
        answer = await client.post("/nodes/nuc-99/hold", data={"why": ""}, headers=same)
        assert answer.status == 404
        answer = await client.post("/nodes/nuc-07/hold", json={}, headers=same)
        assert answer.status == 400
        answer = await client.post("/nodes/nuc-07/boot-once", data={"boot": "release boot-v9"}, headers=same)
        assert (answer.status, "is not staged here" in await answer.text()) == (409, True)
        answer = await client.post("/nodes/nuc-07/boot-once", data={"boot": "moon"}, headers=same)
        assert answer.status == 400
        answer = await client.post("/nodes/nuc-07/hold", data={"why": "x" * 70_000}, headers=same)
        assert answer.status == 413

    ask(scenario)


def test_tokens_are_not_tried_for_ever() -> None:
    async def scenario(client: TestClient[Any, Any], _: Api) -> None:
        statuses = [await sign_in(client, f"wrong-{number}") for number in range(12)]
        assert statuses == [403] * 10 + [429] * 2
        assert await sign_in(client) == 303

    ask(scenario)


def test_over_the_socket_there_is_nothing_to_sign_in_to() -> None:
    async def scenario(client: TestClient[Any, Any], _: Api) -> None:
        html = await (await client.get("/nodes/nuc-07")).text()
        assert "/sign-" not in html
        answer = await client.post("/sign-in", data={"token": TOKEN})
        assert answer.status == 400

    async def look(client: TestClient[Any, Any]) -> None:
        html = await (await client.get("/nodes/nuc-07")).text()
        assert "/sign-" not in html
        assert "<form" not in html

    api = Api()

    class Everybody:
        may_sign_in = False

        async def wait_turn(self, _: object) -> None:
            return None

        def find_user(self, _: object) -> str:
            return "alice"

        require_user = find_user

    async def run() -> None:
        async with api.serve(Everybody(), mount=[mount_page]) as client:
            await scenario(client, api)
        nobody = TokenRights((), clock=lambda: NOW)
        async with api.serve(nobody, mount=[mount_page]) as client:
            await look(client)

    asyncio.run(run())


def test_without_jinja2_the_page_says_so_and_the_api_works(monkeypatch: pytest.MonkeyPatch) -> None:
    render._make_environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)

    async def scenario(client: TestClient[Any, Any], _: Api) -> None:
        answer = await client.get("/")
        assert answer.status == 503
        assert "PyPI jinja2" in await answer.text()
        assert (await client.get("/nodes/nuc-07")).status == 503
        assert (await client.get("/api/v1/nodes")).status == 200

    ask(scenario)


def test_pages_are_made_one_at_a_time_and_a_crowd_is_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(routes, "_MAX_WAITING", 3)

    class Slow(FixedReleases):
        def __init__(self) -> None:
            super().__init__(CURRENT, PREVIOUS)
            self.go = asyncio.Event()

        async def list(self) -> Any:
            await self.go.wait()
            return self.releases

    async def run() -> None:
        api = Api()
        slow = Slow()
        object.__setattr__(api.view, "releases", slow)
        async with api.serve(api.token_rights, mount=[mount_page]) as client:
            asked = [asyncio.create_task(client.get("/")) for _ in range(4)]
            done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            assert [(await each).status for each in done] == [503]
            assert (await next(iter(done))).headers["Retry-After"] == "5"
            slow.go.set()
            assert sorted([(await each).status for each in asked]) == [200, 200, 200, 503]

    asyncio.run(run())


def test_one_address_leaves_a_page_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "_MAX_WAITING", 3)
    monkeypatch.setattr(routes, "_MAX_WAITING_EACH", 2)

    async def scenario() -> None:
        page = routes._Page(Api().view, TokenRights((), clock=lambda: NOW))

        def wait(stack: contextlib.ExitStack, ip: str) -> None:
            stack.enter_context(page._wait(SimpleNamespace(remote=ip)))  # type: ignore[arg-type]

        for _ in range(2):  # whoever has been given one leaves nothing behind
            with contextlib.ExitStack() as stack:
                for ip in ("2001:db8::1", "2001:db8::2"):  # of one network
                    wait(stack, ip)
                with pytest.raises(routes.TooManyPagesError):
                    wait(stack, "2001:db8::3")
                wait(stack, "192.0.2.1")
                with pytest.raises(routes.TooManyPagesError):
                    wait(stack, "192.0.2.2")
            assert not page._waiting

    asyncio.run(scenario())


def test_the_beginning_of_the_page_is_sent_while_the_rest_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    came, threads = threading.Event(), []

    def write(*_: Any) -> Any:
        yield "<p>first"
        threads.append(threading.get_ident())
        assert came.wait(60)
        yield "<p>rest"

    monkeypatch.setattr(render, "render_fleet", write)

    async def scenario(client: TestClient[Any, Any], _: Api) -> None:
        answer = await client.get("/")
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        beginning = render.render_beginning().encode()
        assert await answer.content.readexactly(len(beginning) + 8) == beginning + b"<p>first"
        came.set()
        assert await answer.content.read() == b"<p>rest"
        assert threads != [threading.get_ident()]
        head = await client.head("/")
        assert (head.status, head.headers["Content-Length"]) == (200, str(len(beginning) + 15))

    ask(scenario)


def test_a_browser_can_load_the_page_s_files_while_the_nodes_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    came, build = threading.Event(), routes.build_fleet_page

    def build_later(*facts: Any, **wanted: Any) -> Any:
        assert came.wait(60)
        return build(*facts, **wanted)

    monkeypatch.setattr(routes, "build_fleet_page", build_later)

    async def scenario(client: TestClient[Any, Any], _: Api) -> None:
        answer = await client.get("/")
        beginning = render.render_beginning().encode()
        assert await answer.content.readexactly(len(beginning)) == beginning
        came.set()
        assert (await answer.content.read()).endswith(b"</html>\n")

    ask(scenario)


def test_a_page_that_breaks_on_its_way_does_not_end_as_if_it_were_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def write(*_: Any) -> Any:
        yield "<p>first"
        raise RuntimeError("no more")

    monkeypatch.setattr(render, "render_fleet", write)

    async def scenario(client: TestClient[Any, Any], _: Api) -> None:
        answer = await client.get("/")
        with pytest.raises(ClientPayloadError):
            await answer.read()
        assert (await client.get("/nodes/nuc-07")).status == 200

    ask(scenario)


def test_a_node_s_page_is_made_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def write(*_: Any) -> str:
        threads.append(threading.get_ident())
        return ""

    monkeypatch.setattr(render, "render_node", write)

    async def scenario(client: TestClient[Any, Any], _: Api) -> None:
        assert (await client.get("/nodes/nuc-07")).status == 200
        assert threads
        assert threads[0] != threading.get_ident()

    ask(scenario)


def test_a_rollout_is_seen_and_paused_and_ended_by_who_is_signed_in() -> None:
    fleet: dict[str, Any] = {
        "groups": {"runners": {"release": "boot-v1"}},
        "nodes": {name: {"group": "runners", "match": {"serial": name}} for name in ("a", "b")},
    }

    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        plan = RolloutPlan(
            id="r", group="runners", target=CURRENT.id, before=PREVIOUS.id, base="boot-v1", at=NOW, by="alice"
        )
        await api.rollouts.start(plan)
        await api.rollouts.offer("runners", "a")
        html = await (await client.get("/")).text()
        assert 'data-part="rollout runners"' in html
        assert "/rollouts/runners/pause" not in html
        pause = "/rollouts/runners/pause"
        answer = await client.post(pause, data={}, headers=of_same_origin(client))
        assert answer.status == 403
        await sign_in(client)
        answer = await client.post(pause, data={}, headers=of_same_origin(client), allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        assert api.rollouts.need("runners").state == "paused"
        rows = await (await client.get("/rows")).text()
        assert "/rollouts/runners/resume" in rows
        # From another site's page it is not.
        abort = "/rollouts/runners/abort"
        assert (await client.post(abort, data={}, headers={"Sec-Fetch-Site": "cross-site"})).status == 403
        await client.post(abort, data={}, headers=of_same_origin(client))
        ended = api.rollouts.need("runners")
        assert (ended.state, ended.why) == ("aborted", "the access token, from 127.0.0.1 has ended it")
        assert (await client.post(pause, data={}, headers=of_same_origin(client))).status == 409
        nobody = "/rollouts/nobody/pause"
        assert (await client.post(nobody, data={}, headers=of_same_origin(client))).status == 404

    ask(scenario, Api(document=fleet))
