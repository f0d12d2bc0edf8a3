"""The cuts of an image by its content: ``cut-store.py IMAGE``, a line for each chunk on standard output.

``BYTES ID``, where the id is the first 16 hexadecimal digits of the chunk's SHA-256. A cut lies behind each
marker, so bytes that stand somewhere else in the next image have their cuts there too, as with the rolling
hash of casync or restic (https://github.com/systemd/casync), of which not every nixpkgs has the program. The
image is compressed: in it a marker of two bytes comes once in 64 KiB. Whoever reads the lines holds what they
find against another sum.
"""

import hashlib
import mmap
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_AVERAGE = 64 << 10
_MOST_CHUNKS = 32 << 10
"""On average, so that their list has an end; larger images have larger chunks."""
_ID_DIGITS = 16


def find_cuts(image: bytes | mmap.mmap) -> Iterator[tuple[int, int]]:
    """The chunks of an image, as where they begin and end: all of it, in order."""
    rarity = max(0, (len(image) // _MOST_CHUNKS // _AVERAGE).bit_length())
    rare = b"" if rarity == 0 else b"[\\x00-\\x%02x]" % ((256 >> min(rarity, 8)) - 1)
    marker = re.compile(b"\xa5\xe7" + rare, re.DOTALL)
    average = _AVERAGE << min(rarity, 8)
    begin = 0
    while begin < len(image):
        limit = min(begin + 4 * average, len(image))
        found = marker.search(image, begin + average // 4, limit)
        end = limit if found is None else found.end()
        yield begin, end
        begin = end


def main() -> None:
    path = Path(sys.argv[1])
    if path.stat().st_size == 0:  # nothing that could be mapped
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as image:
        for begin, end in find_cuts(image):
            chunk = hashlib.sha256(image[begin:end]).hexdigest()[:_ID_DIGITS]
            sys.stdout.write(f"{end - begin} {chunk}\n")


if __name__ == "__main__":
    main()
