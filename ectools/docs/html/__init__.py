"""HTML pages of the options: static, readable without JavaScript, searchable with it.

``pages`` which options stand where · ``entry`` one option · ``text`` descriptions · ``search`` the index of
the search · ``guides`` pages of Markdown beside them.
"""

from __future__ import annotations

from ectools.docs.html.pages import write_pages

__all__ = ["write_pages"]
