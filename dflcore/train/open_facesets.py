"""Several facesets that are learnt from together, open, and each face of them under one name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from dflcore.authorization import check_authorization
from dflcore.errors import InvalidInput
from dflcore.io.faceset import Faceset
from dflcore.progress import Notice
from dflcore.segment.crop import cut_for_network
from dflcore.types import FacesetInfo, FaceType


class OpenFacesets:
    """Facesets to learn from. Use as a context manager, or close them.

    A sample is called ``<number of the faceset>/<face>``; which faces are samples, a subclass says.

    Args:
        paths: the facesets.

    Attributes:
        names: the samples.

    Raises:
        InvalidInput: no faceset was named.
        NotFound, DataCorrupt, Unsupported: a faceset cannot be opened.
    """

    names: list[str]

    def __init__(self, paths: Sequence[Path]) -> None:
        if not paths:
            raise InvalidInput("Name at least one faceset to learn from.", reason="NO_FACESET", field="facesets")
        self._facesets: list[Faceset] = []
        self._to_close = contextlib.ExitStack()
        with self._closed_on_error():
            for path in paths:
                faceset = Faceset.open(Path(path))
                self._to_close.callback(faceset.close)
                self._facesets.append(faceset)

    @property
    def infos(self) -> list[FacesetInfo]:
        """What the facesets say of themselves."""
        return [faceset.info for faceset in self._facesets]

    def read(self, name: str, face_type: FaceType, size: int) -> NDArray[np.uint8]:
        """A face as a network sees it: (size, size, 3) uint8 sRGB-encoded RGB; other face types are cut anew.

        Raises:
            NotFound, DataCorrupt: the face is gone or damaged.
        """
        number, face = self._find(name)
        faceset = self._facesets[number]
        return cut_for_network(faceset.read_image(face), faceset.record(face), face_type, size)

    def check_authorizations(self, *, project: str, use: str) -> Iterator[Notice]:
        """What is worth telling of who allowed these faces. Raises InvalidInput: an authorisation has expired."""
        for info in self.infos:
            yield from check_authorization(info.authorization, f"the faceset {info.path}", project=project, use=use)

    def close(self) -> None:
        """Close all that is open."""
        self._to_close.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        """For constructors: nobody can close what never came to be."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _find(self, name: str) -> tuple[int, str]:
        """The number of a sample's faceset, and the face's own name there."""
        number, _, face = name.partition("/")
        return int(number), face

    def _no_faces(self) -> InvalidInput:
        return InvalidInput(
            f"There are no faces in {self._where()}; extract some, or name other facesets.", reason="EMPTY_FACESET"
        )

    def _where(self) -> str:
        return " and ".join(str(faceset.path) for faceset in self._facesets)
