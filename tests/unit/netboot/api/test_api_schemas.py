"""The schemas of what the API answers: every answer fits its own, and has nothing that it does not say."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import jsonschema
from support.fleet_api import NOW, Api, make_boot

from ectools.netboot.boots.model import BootState, NodeReport, NodeStage
from ectools.schemas import schemas_directory


def load(name: str) -> dict[str, Any]:
    """A schema with those that it refers to, as one document."""

    def localize(value: Any, file: str) -> Any:
        if isinstance(value, list):
            return [localize(each, file) for each in value]
        if not isinstance(value, dict):
            return value
        found = {key: localize(each, file) for key, each in value.items()}
        if isinstance(reference := found.get("$ref"), str):
            found["$ref"] = f"#/$defs/{(reference if not reference.startswith('#') else file)}" + (
                reference.removeprefix("#") if reference.startswith("#") else ""
            )
        return found

    files = {path.name: path for path in (schemas_directory() / "api").glob("*.json")}
    documents = {file: localize(json.loads(path.read_text()), file) for file, path in files.items()}
    return {"$ref": f"#/$defs/{name}.json", "$defs": documents}


def check(name: str, value: Any) -> None:
    jsonschema.Draft202012Validator(load(name)).validate(value)


def test_each_is_a_schema_that_says_what_each_field_is() -> None:
    for path in sorted((schemas_directory() / "api").glob("*.json")):
        document = json.loads(path.read_text())
        jsonschema.Draft202012Validator.check_schema(document)
        assert document["title"]
        for field in document["properties"].values():
            assert "description" in field or "$ref" in str(field)


def test_every_answer_fits_its_schema() -> None:
    async def scenario() -> None:
        api = Api()
        report = NodeReport(
            release="sha256-x",
            system="/nix/store/x",
            healthy=False,
            seconds={"kernel": 1.5},
            failed=("a.service",),
        )
        stages = {stage: NOW - 10 + number for number, stage in enumerate(NodeStage)}
        api.boots.note(make_boot(stages=stages, state=BootState.UNHEALTHY, why="a", report=report, ended=NOW))
        api.boots.note(make_boot(None, id="boot-2", machine="mac 02:00:00:00:00:99"))
        async with api.serve() as client:
            for path in ("hold", "boot-once"):
                answer = await client.post(f"/api/v1/nodes/nuc-08/{path}")
                check("node-detail", await answer.json())
            added = {"name": "new", "node": {"match": {"serial": "S7"}}}
            answer = await client.post("/api/v1/nodes", json=added)
            assert answer.status == 201
            check("node-detail", await answer.json())
            for path, name in (
                ("nodes", "nodes"),
                ("nodes/nuc-07", "node-detail"),
                ("nodes/on-disk", "node-detail"),
                ("nodes/mac%2002:00:00:00:00:99", "node-detail"),
                ("nodes/nuc-07/boots", "boots"),
                ("nodes/nuc-08/boots?limit=1", "boots"),
                ("boots/boot-1", "boot"),
                ("boots/boot-2", "boot"),
                ("releases", "releases"),
                ("log?after=1&limit=1", "log"),
                ("hosts", "hosts"),
            ):
                answer = await client.get(f"/api/v1/{path}")
                assert answer.status == 200, (path, await answer.text())
                check(name, await answer.json())
            assert len((await (await client.get("/api/v1/log?after=1&limit=1")).json())["events"]) == 1
            for method, path, status in (
                ("GET", "nodes/nobody", 404),
                ("GET", "boots/nobody", 404),
                ("GET", "elsewhere", 404),
                ("GET", "log?after=x", 400),
                ("PUT", "nodes", 405),
                ("POST", "nodes/on-disk/release", 409),
                ("DELETE", "nodes/nuc-07", 409),
                ("POST", "nodes", 400),
                ("HEAD", "events", 405),
            ):
                answer = await client.request(method, f"/api/v1/{path}")
                assert answer.status == status, (method, path, await answer.text())
                if method != "HEAD":
                    check("error", await answer.json())
            bad = {"name": "x y", "node": {"match": {"mac": ["x"]}}}
            answer = await client.post("/api/v1/nodes", json=bad)
            assert (answer.status, len((await answer.json())["problems"])) == (400, 1)
            events = await client.get("/api/v1/events")
            await events.content.readuntil(b"\n\n")
            api.boots.note(make_boot())
            event = (await events.content.readuntil(b"\n\n")).decode()
            check("node", json.loads(event.partition("data: ")[2]))
            events.close()

    asyncio.run(scenario())


def test_a_store_that_is_away_is_told_as_that() -> None:
    async def scenario() -> None:
        from ectools.netboot.state.interface import StateError

        api = Api()
        api.store.error = StateError("state.sqlite3: it is away")
        async with api.serve() as client:
            answer = await client.post("/api/v1/nodes/nuc-07/hold")
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            check("error", await answer.json())
            assert (await client.get("/api/v1/nodes")).status == 200

    asyncio.run(scenario())


def test_over_the_listener_nodes_are_neither_added_nor_removed() -> None:
    async def scenario() -> None:
        api = Api()
        headers = {"Authorization": "Bearer a-token-of-the-page"}
        async with api.serve(api.token_rights) as client:
            for method, path in (("POST", "nodes"), ("DELETE", "nodes/nuc-07")):
                answer = await client.request(method, f"/api/v1/{path}", headers=headers)
                assert answer.status == 403
                assert "over the control socket alone" in (await answer.json())["error"]
            for _ in range(11):
                answer = await client.post(
                    "/api/v1/nodes/nuc-07/hold", headers={"Authorization": "Bearer a-wrong-one"}
                )
            assert (answer.status, answer.headers["Retry-After"]) == (429, "60")

    asyncio.run(scenario())


def test_a_fault_of_this_program_is_told_and_logged() -> None:
    async def scenario() -> None:
        api = Api()
        api.boots.latest = None  # type: ignore[assignment]
        async with api.serve() as client:
            answer = await client.get("/api/v1/nodes")
            assert (answer.status, (await answer.json())["error"]) == (500, "a fault of the server")

    asyncio.run(scenario())


def test_a_release_that_is_not_staged_is_not_booted_once() -> None:
    async def scenario() -> None:
        api = Api()
        async with api.serve() as client:
            answer = await client.post("/api/v1/nodes/nuc-07/boot-once", json={"release": "boot-v3"})
            assert (answer.status, (await answer.json())["hint"]) == (409, "did you mean boot-v2?")
            answer = await client.post("/api/v1/nodes/nuc-07/boot-once", json={"boot": "moon"})
            assert (answer.status, (await answer.json())["hint"]) == (400, "one of network, disk, install")
            for release in ("boot-v1", f"sha256-{'b' * 32}"):
                answer = await client.post("/api/v1/nodes/nuc-07/boot-once", json={"release": release})
                body = await answer.json()
                assert body["next"]["release"]["tag"] == "boot-v1"
                assert body["assignment"]["origins"]["release"].startswith("boot once by ")

    asyncio.run(scenario())
