"""The model on disk: one folder, rolling generations, never half written, never unpickled.

Layout of the folder::

    my_model/
        model.json                 what the model is, fixed when it was created
        .lock                      held by the one process that trains it
        generations/00000012/      newest generation; older ones beside it
            weights.safetensors    the network
            training.safetensors   optimiser and random state, to go on as if never stopped
            history.safetensors    losses over time
            state.json             iteration, seconds, settings, provenance
            manifest.json          size and SHA-256 of the files above; written last
        generations/damaged-…/     what could not be read whole and was set aside by a training; the newest stay
        backups/iteration_00005000/  model folders of their own, sharing files with the generations they came from;
                               iteration_00005000-2 when iterations counted anew
        previews/  events/         pictures and TensorBoard curves

A generation is written into a hidden folder, flushed, and renamed: it is whole or not there. Loading verifies every
checksum and falls back to the generation before, with a notice.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dflcore.errors import Conflict, DataCorrupt, InvalidInput, NotFound, ResourceExhausted
from dflcore.io.atomic import TEMPORARY_MARK, sync_file, sync_folder, translate_disk_errors, write_text
from dflcore.io.lock import take_lock
from dflcore.models.face_model import FaceModel
from dflcore.models.layout import (
    BACKUPS_NAME,
    DESCRIPTION_NAME,
    GENERATIONS_NAME,
    HISTORY_NAME,
    MANIFEST_NAME,
    STATE_NAME,
    TRAINING_NAME,
    WEIGHTS_NAME,
)
from dflcore.models.registry import load_preset
from dflcore.progress import Notice
from dflcore.types import FaceType
from dflcore.version import SOFTWARE

FORMAT = 1
FACE_KIND = "face"
SEGMENT_KIND = "segment"
_GENERATION_FILES = frozenset({WEIGHTS_NAME, TRAINING_NAME, HISTORY_NAME, STATE_NAME, MANIFEST_NAME})
KEPT_DAMAGED = 3
"""Damaged generations that stay, set aside, for whoever can rescue something out of them."""
_DISK_FULL = re.compile(r"os error (28|122|27)\b|No space left|quota", re.IGNORECASE)
"""How the tensor writer spells a full disk, quota or file-size limit in its error text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """What a model is; fixed when it was created.

    Attributes:
        preset: registry name. network: numbers of its network settings.
        face_type: how much of the head it paints, or segments.
        kind: ``face`` paints faces, ``segment`` masks them.
        model_id: 16 random hex digits, the same for the model's whole life.
        software: what created it.
    """

    preset: str
    network: dict[str, Any]
    face_type: FaceType
    kind: str = FACE_KIND
    model_id: str = field(default_factory=lambda: secrets.token_hex(8))
    software: str = SOFTWARE

    @property
    def resolution(self) -> int:
        """Side of the painted face in pixels."""
        return int(self.network["resolution"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One saved state of a model.

    Attributes:
        weights: state of the network.
        training: optimiser and random state; empty when read for merging.
        history: (N, 2 + L) float64: iteration, seconds, and the L losses that ``state["loss_names"]`` names.
        state: JSON values: ``iteration``, ``elapsed_s``, ``settings``, ``provenance``...
        number: 0 before it is saved. weights_sha256: the model hash in frame headers, known after a save or load.
    """

    weights: dict[str, Tensor]
    training: dict[str, Tensor]
    history: Tensor
    state: dict[str, Any]
    number: int = 0
    weights_sha256: str = ""

    @property
    def iteration(self) -> int:
        return int(self.state["iteration"])


class ModelFolder:
    """A model's folder. Reading needs no lock; :meth:`lock` is for the one process that trains."""

    def __init__(self, path: Path, description: ModelDescription) -> None:
        self.path = path
        self.description = description

    @classmethod
    def create(cls, path: Path, description: ModelDescription) -> ModelFolder:
        """Make a new model folder; it holds no generation until the first save.

        Raises:
            Conflict: there is a model already, or another process makes one.
            InvalidInput, ResourceExhausted: the folder cannot be written.
        """
        path = Path(path)
        exists = Conflict(
            f"{path} holds a model already; go on with it, or name another folder.", reason="MODEL_EXISTS", path=path
        )
        if cls.exists(path):
            raise exists
        folder = cls(path, description)
        with translate_disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        with folder.lock():
            if cls.exists(path):  # somebody was faster, and may go on with it already
                raise exists
            folder._write_description()
        return folder

    @classmethod
    def open(cls, path: Path) -> ModelFolder:
        """Open an existing model folder.

        Raises:
            NotFound: there is none.
            DataCorrupt: its description is damaged.
        """
        path = Path(path)
        try:
            values = json.loads((path / DESCRIPTION_NAME).read_text("utf-8"))
            description = ModelDescription(
                preset=str(values["preset"]),
                network=dict(values["network"]),
                face_type=FaceType(values["face_type"]),
                kind=str(values.get("kind", FACE_KIND)),
                model_id=str(values["model_id"]),
                software=str(values["software"]),
            )
            description.resolution  # noqa: B018 - a description without it is damaged
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(
                f"There is no model in {path}; make one with `dfl train`.", reason="MODEL_NOT_FOUND", path=path
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise DataCorrupt(
                f"{path / DESCRIPTION_NAME} is damaged: {error}. Restore it from a backup.",
                reason="MODEL_DAMAGED",
                path=path / DESCRIPTION_NAME,
            ) from error
        return cls(path, description)

    def require_kind(self, kind: str) -> None:
        """Refuse a model that was made for something else.

        Raises:
            InvalidInput: says what it is and what it is for.
        """
        if self.description.kind != kind:
            uses = {FACE_KIND: "a face model (trained by `dfl train`)", SEGMENT_KIND: "a segmentation model"}
            is_, wanted = (uses.get(one, f"a {one} model") for one in (self.description.kind, kind))
            raise InvalidInput(
                f"{self.path} is {is_}, where {wanted} is needed; name another folder.",
                reason="WRONG_MODEL_KIND",
                path=self.path,
            )

    @staticmethod
    def exists(path: Path) -> bool:
        """There is a model in that folder."""
        return (Path(path) / DESCRIPTION_NAME).is_file()

    @property
    def previews_path(self) -> Path:
        return self.path / "previews"

    @property
    def events_path(self) -> Path:
        return self.path / "events"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other trainer out; the system drops the lock when the process ends, however it ends.

        Leftovers of interrupted saves, backups and previews are removed.

        Raises:
            Conflict: another process trains this model.
        """
        message = f"Another process trains the model {self.path}; wait for it or stop it."
        descriptor = take_lock(self.path / ".lock", Conflict(message, reason="MODEL_BUSY", path=self.path))
        try:
            self._remove_leftovers()
            yield
        finally:
            os.close(descriptor)

    def save(self, generation: Generation, keep: int) -> Generation:
        """Write a generation and drop the oldest beyond ``keep``. Call it inside :meth:`lock`.

        Returns:
            The generation with its number and hash.

        Raises:
            ResourceExhausted: the disk is full; the generations on disk are untouched.
            InvalidInput: the folder cannot be written.
        """
        number = max(self._numbers(), default=0) + 1
        final = self._generations_path / f"{number:08d}"
        temporary = self._generations_path / f".{number:08d}{TEMPORARY_MARK}{secrets.token_hex(4)}"
        try:
            with _translate_write_errors(final):
                self._make(self._generations_path)
                temporary.mkdir()
                manifest = _write_generation(temporary, generation, self.description)
                os.rename(temporary, final)
                sync_folder(self._generations_path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._prune(keep)
        return Generation(
            weights=generation.weights,
            training=generation.training,
            history=generation.history,
            state=generation.state,
            number=number,
            weights_sha256=manifest[WEIGHTS_NAME]["sha256"],
        )

    def load(self, *, with_training: bool = True) -> tuple[Generation | None, list[Notice]]:
        """The newest generation whose checksums hold, and a notice for every damaged one passed over.

        Args:
            with_training: also read what is needed to go on training.

        Returns:
            None when the model has never been saved.

        Raises:
            DataCorrupt: there are generations, and none of them is whole.
        """
        notices: list[Notice] = []
        damages: list[str] = []
        numbers = sorted(self._numbers(), reverse=True)
        for number in numbers:
            folder = self._generations_path / f"{number:08d}"
            try:
                return _read_generation(folder, number, with_training=with_training), notices
            except FileNotFoundError:
                if not folder.exists():
                    if max(self._numbers(), default=0) > numbers[0]:
                        return self.load(with_training=with_training)
                    continue  # a trainer dropped it while we looked; there are newer ones now
                fault = "a file is missing"
            except DataCorrupt as error:
                fault = error.message
            except OSError as error:
                fault = f"{error.strerror or error}"
            damages.append(f"Generation {number} of {self.path} is damaged ({fault})")
            notices.append(
                Notice(
                    message=f"{damages[-1]}; the one before it is used.",
                    reason="GENERATION_DAMAGED",
                    details={"path": str(folder), "generation": str(number)},
                )
            )
        if not notices:
            return None, notices
        raise DataCorrupt(
            f"No generation of {self.path} is whole; restore the folder from a backup. {damages[0]}.",
            reason="MODEL_DAMAGED",
            path=self.path,
        )

    def set_aside_damaged(self, number: int) -> list[Path]:
        """Move generations newer than ``number`` out of the way, so that they neither load nor count.

        All that are moved now stay: a network disk may only have been away. Of those moved earlier the oldest beyond
        :data:`KEPT_DAMAGED` in all are removed, or a failing disk would fill up with them.

        Returns:
            What was removed.
        """
        earlier = self._damaged()
        damaged = [newer for newer in self._numbers() if newer > number]
        for newer in damaged:
            folder = self._generations_path / f"{newer:08d}"
            folder.rename(folder.with_name(f"damaged-{newer:08d}-{secrets.token_hex(2)}"))
        doomed = earlier[max(KEPT_DAMAGED - len(damaged), 0) :]
        for folder in doomed:
            _drop(folder)
        return [folder for folder in doomed if not folder.exists()]

    def back_up(self, keep: int) -> Path:
        """Make the newest generation a model folder of its own, which no later save touches. Inside :meth:`lock`.

        Its files are links to the generation's where the file system has them, so it takes hardly any room while the
        generation lives.

        Args:
            keep: older backups beyond this many are dropped.

        Returns:
            The backup's folder.

        Raises:
            NotFound: nothing has been saved.
            ResourceExhausted, InvalidInput: it cannot be written; backups made before are untouched.
        """
        number = max(self._numbers(), default=0)
        if not number:
            raise NotFound(f"{self.path} has never been saved.", reason="MODEL_NOT_TRAINED", path=self.path)
        newest = self._generations_path / f"{number:08d}"
        iteration = int(json.loads((newest / STATE_NAME).read_text("utf-8"))["iteration"])
        name = f"iteration_{iteration:08d}"
        for made in self.backups_path.glob(f"{name}*"):
            if _content_of(made) == _content(newest):
                return made
        # iterations count anew after pretraining, and from further back after a divergence
        names = itertools.chain([name], (f"{name}-{twin}" for twin in itertools.count(2)))
        final = next(path for path in map(self.backups_path.joinpath, names) if not path.exists())
        temporary = self.backups_path / f".{final.name}{TEMPORARY_MARK}{secrets.token_hex(4)}"
        try:
            with _translate_write_errors(final):
                self._make(self.backups_path)
                copy = temporary / GENERATIONS_NAME / newest.name
                copy.mkdir(parents=True)
                for entry in newest.iterdir():
                    _link_or_copy(entry, copy / entry.name)
                shutil.copy2(self.path / DESCRIPTION_NAME, temporary / DESCRIPTION_NAME)
                for folder in (copy, temporary / GENERATIONS_NAME, temporary):
                    sync_folder(folder)
                os.rename(temporary, final)
                sync_folder(self.backups_path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        others = (path for path in self.backups_path.glob("iteration_*") if path != final)
        for old in sorted(others, key=_backup_age, reverse=True)[keep - 1 :]:
            _drop(old)
        return final

    @property
    def backups_path(self) -> Path:
        return self.path / BACKUPS_NAME

    @property
    def is_saved(self) -> bool:
        """It holds a generation, good or damaged; before that nothing has been learnt."""
        return bool(self._numbers())

    def describe_anew(self, description: ModelDescription) -> None:
        """Make it another network. Only inside :meth:`lock` and before the first save.

        Raises:
            Conflict: it has been saved.
        """
        if self.is_saved:
            raise Conflict(
                f"{self.path} has been trained; its network is fixed.", reason="MODEL_EXISTS", path=self.path
            )
        self.description = description
        self._write_description()

    def _write_description(self) -> None:
        description = self.description
        values = {"format": FORMAT, **asdict(description), "face_type": description.face_type.value}
        write_text(self.path / DESCRIPTION_NAME, json.dumps(values, indent=2) + "\n")

    @property
    def _generations_path(self) -> Path:
        return self.path / GENERATIONS_NAME

    def _numbers(self) -> list[int]:
        if not self._generations_path.is_dir():
            return []
        return [int(entry.name) for entry in self._generations_path.iterdir() if re.fullmatch(r"\d{8}", entry.name)]

    def _damaged(self) -> list[Path]:
        """Generations that were set aside, newest first; what holds anything else than a generation's files is a
        person's own."""
        found = [
            folder
            for folder in self._generations_path.glob("damaged-*")
            if re.fullmatch(r"damaged-\d{8}-[0-9a-f]{4}", folder.name)
            and folder.is_dir()
            and not folder.is_symlink()
            and {entry.name for entry in folder.iterdir()} <= _GENERATION_FILES
        ]
        return sorted(found, key=lambda folder: folder.stat().st_mtime, reverse=True)

    def _prune(self, keep: int) -> None:
        for number in sorted(self._numbers(), reverse=True)[keep:]:
            _drop(self._generations_path / f"{number:08d}")

    def _make(self, place: Path) -> None:
        """A folder of the model's that a power cut does not take back."""
        if not place.is_dir():
            place.mkdir(parents=True, exist_ok=True)
            sync_folder(self.path)

    def _remove_leftovers(self) -> None:
        """What killed trainers left half written; nobody else writes while the lock is held."""
        leftovers = [*self.path.glob(f".{Path(DESCRIPTION_NAME).stem}{TEMPORARY_MARK}*")]
        leftovers += self.previews_path.rglob(f".*{TEMPORARY_MARK}*")
        for place in (self._generations_path, self.backups_path):
            leftovers += place.glob(f".*{TEMPORARY_MARK}*")
        for leftover in leftovers:
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


def load_model(
    path: Path, device: torch.device | str = "cpu"
) -> tuple[FaceModel, ModelFolder, Generation, list[Notice]]:
    """The door for merging: a trained network, ready to swap, and what is known about it.

    Returns:
        The network in evaluation mode on ``device``, its folder, the generation it came from (without training
        state), and notices about damaged generations passed over.

    Raises:
        NotFound: there is no model, or it has never been saved.
        InvalidInput: it is no face model.
        DataCorrupt: it is damaged beyond its generations, or its weights do not fit its description.
    """
    folder = ModelFolder.open(path)
    folder.require_kind(FACE_KIND)
    generation, notices = folder.load(with_training=False)
    if generation is None:
        raise NotFound(f"The model {path} has never been saved; train it first.", reason="MODEL_NOT_TRAINED", path=path)
    model = build_described(folder.description)
    load_weights(model, generation, folder.path)
    return model.to(device).eval(), folder, generation, notices


def build_described(description: ModelDescription) -> FaceModel:
    """A new network as the description says, freshly initialised."""
    preset = load_preset(description.preset)
    return preset.build(preset.resolve_network(description.network))


def load_weights(model: nn.Module, generation: Generation, path: Path) -> None:
    """Put a generation's weights into the network; every tensor must be there and fit.

    Raises:
        DataCorrupt: names are missing or unknown, or shapes differ.
    """
    try:
        model.load_state_dict(generation.weights, strict=True)
    except RuntimeError as error:
        raise DataCorrupt(
            f"The weights in {path} do not fit the network its {DESCRIPTION_NAME} describes: {error}",
            reason="WEIGHTS_DIFFER",
            path=path,
        ) from error


def _drop(folder: Path) -> None:
    """Remove a generation or backup; killed on the way, it leaves none that looks whole and is not."""
    doomed = folder.with_name(f".{folder.name}{TEMPORARY_MARK}{secrets.token_hex(4)}")
    with contextlib.suppress(OSError):  # a reader on a network disk may hold it; the next save tries again
        folder.rename(doomed)
        shutil.rmtree(doomed)


def _content(generation: Path) -> bytes:
    """What tells two generations apart."""
    return (generation / MANIFEST_NAME).read_bytes()


def _content_of(backup: Path) -> bytes | None:
    """Of its generation; None where it cannot be read."""
    try:
        return _content(max((backup / "generations").iterdir()))
    except (OSError, ValueError):
        return None


def _backup_age(backup: Path) -> tuple[int, str]:
    """Grows with every backup: iterations may count anew, generations do not."""
    numbers = [int(entry.name) for entry in backup.glob("generations/*") if entry.name.isdigit()]
    return max(numbers, default=0), backup.name


def _link_or_copy(source: Path, copy: Path) -> None:
    try:
        os.link(source, copy)
    except OSError:
        shutil.copy2(source, copy)
        sync_file(copy)


def _write_generation(folder: Path, generation: Generation, description: ModelDescription) -> dict[str, dict[str, Any]]:
    about = {"model_id": description.model_id, "iteration": str(generation.iteration), "software": SOFTWARE}
    _save_tensors(folder / WEIGHTS_NAME, generation.weights, about)
    _save_tensors(folder / TRAINING_NAME, generation.training, about)
    _save_tensors(folder / HISTORY_NAME, {"losses": generation.history}, about)
    (folder / STATE_NAME).write_text(json.dumps(generation.state, indent=2) + "\n", "utf-8")
    manifest = {
        name: {"sha256": _sha256(folder / name), "size": (folder / name).stat().st_size}
        for name in (WEIGHTS_NAME, TRAINING_NAME, HISTORY_NAME, STATE_NAME)
    }
    (folder / MANIFEST_NAME).write_text(json.dumps({"format": FORMAT, "files": manifest}, indent=2) + "\n", "utf-8")
    mode = (folder / MANIFEST_NAME).stat().st_mode  # the tensor writer makes files only their owner may read
    for name in (*manifest, MANIFEST_NAME):
        (folder / name).chmod(mode)
        sync_file(folder / name)
    sync_folder(folder)
    return manifest


def _read_generation(folder: Path, number: int, *, with_training: bool) -> Generation:
    """Raises FileNotFoundError, or DataCorrupt with a short message."""
    try:
        files = json.loads((folder / MANIFEST_NAME).read_text("utf-8"))["files"]
        wanted = [WEIGHTS_NAME, HISTORY_NAME, STATE_NAME] + ([TRAINING_NAME] if with_training else [])
        for name in wanted:
            if _sha256(folder / name) != files[name]["sha256"]:
                raise DataCorrupt(f"{name} differs from its checksum", reason="CHECKSUM", path=folder / name)
        state = json.loads((folder / STATE_NAME).read_text("utf-8"))
        for name in ("iteration", "elapsed_s"):
            float(state[name])  # a run cannot go on without them
        return Generation(
            weights=load_file(folder / WEIGHTS_NAME),
            training=load_file(folder / TRAINING_NAME) if with_training else {},
            history=load_file(folder / HISTORY_NAME)["losses"],
            state=state,
            number=number,
            weights_sha256=str(files[WEIGHTS_NAME]["sha256"]),
        )
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise DataCorrupt(f"unreadable: {error}", reason="GENERATION_DAMAGED", path=folder) from error


def _save_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, str]) -> None:
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(plain, path, metadata=about)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _translate_write_errors(path: Path) -> Iterator[None]:
    """The tensor writer reports a full disk in words; say it as everything else does. The same for a file that may not
    grow as large."""
    try:
        with translate_disk_errors(path):
            yield
    except (SafetensorError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EFBIG:
            raise
        if isinstance(error, OSError) or _DISK_FULL.search(str(error)):
            raise ResourceExhausted(
                f"The disk is full while saving {path}. Free some space and go on; the generations saved before are "
                "untouched.",
                reason="DISK_FULL",
                path=path,
            ) from error
        raise InvalidInput(f"Cannot write {path}: {error}.", reason="NOT_WRITABLE", path=path) from error
