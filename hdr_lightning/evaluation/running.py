"""Every photo through every contender, and what is measured of it."""

from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from hdr_lightning.errors import InputError
from hdr_lightning.evaluation.contenders import Candidate
from hdr_lightning.evaluation.measuring import Meter, unsound
from hdr_lightning.evaluation.photos import Photo, Photos
from hdr_lightning.evaluation.results import SOURCE, EvaluatedPhoto
from hdr_lightning.evaluation.table import Measured, Row
from hdr_lightning.progress import track

Picture = Float[Tensor, "3 _ _"]


@runtime_checkable
class Album(Protocol):
    """What keeps pictures for the report."""

    def add(self, name: str, source: Picture, target: Picture | None, outputs: Mapping[str, Picture]) -> None: ...


def run(photos: Photos, candidates: Mapping[str, Candidate], meter: Meter, album: Album) -> Iterator[Row]:
    """Measure photos, one at a time: memory is that of one photo in all its versions.

    A photo that cannot be measured is at fault for every contender, a picture of it for its own.

    Args:
        photos: which.
        candidates: by name, beside the untouched sources.
        meter: measures.
        album: is given the pictures of every photo that can be measured.
    """
    for number in track(range(len(photos)), "evaluating", len(photos)):
        name, group = photos.names[number], photos.groups[number]
        try:
            photo = photos.read(number)
        except InputError as error:
            broken = Measured({}, str(error))
            yield Row(EvaluatedPhoto(name, group, 0, 0), dict.fromkeys([SOURCE, *candidates], broken))
            continue
        height, width = photo.source.shape[-2:]
        wrong = unsound(photo.source, photo.target)
        if wrong:
            measured = dict.fromkeys([SOURCE, *candidates], Measured({}, wrong))
        else:
            measured = _measure(name, photo, candidates, meter, album)
        yield Row(EvaluatedPhoto(name, group, width, height), measured)


def _measure(
    name: str, photo: Photo, candidates: Mapping[str, Candidate], meter: Meter, album: Album
) -> dict[str, Measured]:
    measured = {SOURCE: meter(photo.source, photo.target)}
    outputs: dict[str, Picture] = {}
    for contender, candidate in candidates.items():
        try:
            picture = candidate.picture(name, photo.source)
        except InputError as error:
            measured[contender] = Measured({}, str(error))
            continue
        measured[contender] = _of_size(picture, photo.source) or meter(picture, photo.target)
        if not measured[contender].fault:
            outputs[contender] = picture
    album.add(name, photo.source, photo.target, outputs)
    return measured


def _of_size(picture: Picture, source: Picture) -> Measured | None:
    """Refuse a picture of another size than its photo, which without a target nothing else would."""
    if picture.shape == source.shape:
        return None
    (height, width), (rows, columns) = picture.shape[-2:], source.shape[-2:]
    return Measured({}, f"it is {width} x {height} pixels, the photo {columns} x {rows}")
