"""GitHub as a depot, by its REST API (2022-11-28): what it does otherwise than Forgejo and Gitea.

It takes files at a host of its own, which the release's description names; it lets there be several drafts of
a tag, and the one that is published first has it (422 for the others); a private repository's files are read
by the API alone; a branch is made of a commit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ectools.fetch.client import FetchError, url_origin
from ectools.fetch.sending import send
from ectools.netboot.depot.forge_depot import BRANCH, REJECTED_CHANGE, ForgeDepot, find_field
from ectools.netboot.depot.interface import DepotError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ectools.fetch.client import HttpClient
    from ectools.netboot.depot.interface import PublishedFile
    from ectools.netboot.settings.depot_address import ForgeAddress

CONTENT_HEADERS = {"Accept": "application/octet-stream"}
"""Without it, a file's description is given ("Get a release asset")."""


class GitHubDepot(ForgeDepot):
    """The releases of one repository. ``uploads`` is a client of where files are taken."""

    puts_new_files = True

    def __init__(self, client: HttpClient, address: ForgeAddress, *, uploads: HttpClient) -> None:
        super().__init__(client, address)
        self._uploads = uploads
        self._uploads_origin = url_origin(address.uploads)

    def make_draft(self, tag: str) -> bytes | None:
        """See ``ForgeDepot``. There may be other drafts; a release that is published is looked for."""
        try:
            self.get(f"releases/tags/{quote(tag, safe='')}")
        except FetchError as error:
            if error.status != 404:
                raise
        else:
            return None
        body = {"tag_name": tag, "name": tag, "draft": True}
        reply = self.send("POST", "releases", body, accept=(201, *REJECTED_CHANGE))
        return None if reply.status in REJECTED_CHANGE else reply.data

    def upload(self, draft: bytes, number: int, file: PublishedFile) -> None:  # noqa: ARG002 - its URL has it
        """See ``ForgeDepot``. What was sent twice, because an answer was lost, is there already: 422."""
        template = find_field(draft, "upload_url", str, self.where)
        url = template.partition("{")[0]
        if url_origin(url) != self._uploads_origin:
            # It would be told the token.
            raise DepotError(
                f"{self.where}: names a host for its files that is not its own: {url[:200]}",
                hint="github:https://HOST/OWNER/NAME is for a GitHub Enterprise Server",
            )
        send(
            self._uploads,
            "POST",
            f"{url}?name={quote(file.name, safe='')}",
            body=file.path,
            headers={"Content-Type": "application/octet-stream"},
            accept=(201, 422),
        )

    def finish(self, number: int, tag: str) -> bool:
        """See ``ForgeDepot``."""
        body = {"draft": False, "tag_name": tag}
        done = self.send("PATCH", f"releases/{number}", body, accept=(200, *REJECTED_CHANGE))
        if done.status != 200:
            return False
        # Whoever is first has the tag: by it, this one is found.
        found = self.get(f"releases/tags/{quote(tag, safe='')}")
        return bool(find_field(found, "id", int, self.where) == number)

    def locate_asset(self, asset: dict[str, Any]) -> tuple[str, Mapping[str, str]]:
        """See ``ForgeDepot``."""
        return str(asset.get("url")), CONTENT_HEADERS

    def make_branch(self) -> None:
        """See ``ForgeDepot``."""
        own = find_field(self.get(""), "default_branch", str, self.where)
        head = find_field(self.get(f"git/ref/heads/{quote(own)}"), "object", dict, self.where)
        body = {"ref": f"refs/heads/{BRANCH}", "sha": head.get("sha")}
        # 422: somebody else has made it.
        self.send("POST", "git/refs", body, accept=(201, 422))
