"""Whose a file is, by what it holds."""

from __future__ import annotations

from ectools.service.ownership import Owner, find_owner, seal


def test_a_file_of_ours_is_told_from_one_that_was_changed_and_from_others() -> None:
    sealed = seal("[Unit]\nX=é\n", unit="a.service")
    assert "systemctl edit a.service" in sealed.splitlines()[0]
    assert find_owner(sealed.encode()) is Owner.OURS
    assert find_owner(seal("").encode()) is Owner.OURS
    for changed in (f"{sealed}Y=1\n", sealed.replace("X=é", "X=e"), sealed[:-1]):
        assert find_owner(changed.encode()) is Owner.EDITED
    for other in ("", "[Unit]\n", f"\n{sealed}", sealed.replace("sha256", "sha1", 1)):
        assert find_owner(other.encode()) is Owner.FOREIGN
