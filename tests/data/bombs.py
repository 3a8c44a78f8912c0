"""Read a good photo, then try files: `python bombs.py GOOD FILE...` prints by how much each raises the peak memory."""

import resource
import sys
import warnings
from pathlib import Path

from hdr_lightning.data.files import photo_header, read_photo
from hdr_lightning.errors import InputError


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 10 if sys.platform != "darwin" else 1 << 20)


def main(good, *files):
    warnings.simplefilter("ignore")
    for path in good.split(","):
        read_photo(Path(path))
    for path in map(Path, files):
        before = peak()
        for read in (photo_header, read_photo):
            try:
                read(path)
                print(f"{path.name} {read.__name__} read")
            except InputError as error:
                print(f"{path.name} {read.__name__} refused {peak() - before:.0f} MiB: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
