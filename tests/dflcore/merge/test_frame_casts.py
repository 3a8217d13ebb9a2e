"""Single frames with several models: all stay loaded, all need permission, all are told of."""

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from dflcore.config.merge import MergeSettings
from dflcore.errors import InvalidInput
from dflcore.merge import warm_inputs
from dflcore.merge.frame import FrameRequest, WarmFrames
from dflcore.merge.swapper import ModelSwapper
from dflcore.merge.tools import MergeTools
from dflcore.progress import Notice
from dflcore.types import Authorization, FaceType
from frame_shot import FrameShot, save_model, write_plate
from small_facesets import make_image, make_record, plate_landmarks, write_faceset

SIZE = (400, 200)
YESTERDAY = (date.today() - timedelta(days=2)).isoformat()
ALLOWED = Authorization(person="Ada", reference="R-1")


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> FrameShot:
    """A frame with three people, tracks 1 to 3, and models for each; nobody changes it."""
    made = FrameShot(tmp_path_factory.mktemp("crowd"))
    write_plate(made, 1001, SIZE)
    faces = []
    for index in range(3):
        points = plate_landmarks(scale=70.0, shift=(40.0 + 120.0 * index, 50.0))
        changes = {"plate": made.plate, "plate_size": SIZE, "track_id": index + 1}
        faces.append((make_record(1001, index, landmarks=points, **changes), make_image(index)))
    write_faceset(made.faceset, faces)
    for seed, name in enumerate(("model", "anna", "bob")):
        save_model(made.folder / name, seed=1 + seed)
    return made


@pytest.fixture
def records() -> dict[str, Authorization]:
    """Model folder's name → what its save says of permission; whoever is not there is allowed."""
    return {}


@pytest.fixture
def frames(records: dict[str, Authorization]):
    warm = WarmFrames(lambda path, digest: records.get(path.name, ALLOWED), cache_bytes=64 << 20)
    yield warm
    warm.close()


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of model folders as they are opened."""
    names: list[str] = []
    real = warm_inputs.open_swapper

    def opened(path: Path, device: str) -> tuple[ModelSwapper, list[Notice]]:
        names.append(path.name)
        return real(path, device)

    monkeypatch.setattr(warm_inputs, "open_swapper", opened)
    return names


def ask(shot: FrameShot, *, cast: str | None = None, **settings) -> FrameRequest:
    text = f"track 1 = {shot.folder / 'anna'}; track 2 = {shot.folder / 'bob'}" if cast is None else cast
    return FrameRequest(
        plate=shot.plate,
        frame=1001,
        model=shot.model,
        faceset=shot.faceset,
        settings=MergeSettings(cast=text, **settings),
        layers=("beauty", "raw"),
    )


def reasons(rendered) -> list[str]:
    return [notice.reason for notice in rendered.notices]


def test_as_many_models_stay_as_a_frame_needs(shot: FrameShot, frames: WarmFrames, loaded: list[str]) -> None:
    for opacity in (0.2, 0.5, 0.9):
        frames.render(ask(shot, opacity=opacity))
    assert sorted(loaded) == ["anna", "bob", "model"]
    alone = replace(ask(shot, cast=""), model=shot.folder / "bob")
    frames.render(alone)
    assert sorted(loaded) == ["anna", "bob", "model"]


def test_a_part_that_was_trained_on_is_seen(
    shot: FrameShot, frames: WarmFrames, loaded: list[str], tmp_path: Path
) -> None:
    save_model(tmp_path / "carl", seed=5)
    request = ask(shot, cast=f"track 1 = {tmp_path / 'carl'}")
    first = frames.render(request)
    save_model(tmp_path / "carl", seed=6)
    second = frames.render(request)
    changed = (first.layers[1].pixels != second.layers[1].pixels).any(axis=(0, 2))
    assert changed[:150].any()
    assert not changed[170:].any(), "the other two are painted by another model"
    assert loaded == ["model", "carl", "carl"]
    assert first.key != second.key


@pytest.mark.parametrize("expired", ["model", "anna", "bob"])
def test_every_models_permission_must_hold(
    shot: FrameShot, frames: WarmFrames, records: dict[str, Authorization], expired: str
) -> None:
    frames.render(ask(shot))
    records[expired] = Authorization(person="Ada", until=YESTERDAY)
    with pytest.raises(InvalidInput, match=f"model {expired}") as caught:
        frames.render(ask(shot))
    assert caught.value.reason == "AUTHORIZATION_EXPIRED"


def test_what_is_to_be_said_of_any_model_is_said_once(
    shot: FrameShot, frames: WarmFrames, records: dict[str, Authorization]
) -> None:
    records |= {"model": Authorization(), "anna": Authorization(), "bob": Authorization(person="Bo", project="B")}
    anna = shot.folder / "anna"
    text = f"track 1 = {anna}; track 2 = {anna}, identity source; track 3 = {shot.folder / 'bob'}; others = model"
    said = frames.render(ask(shot, cast=text, authorization_project="A")).notices
    missing = [notice.message for notice in said if notice.reason == "AUTHORIZATION_MISSING"]
    assert len(missing) == 2
    assert "model model" in missing[0].lower()
    assert "model anna" in missing[1].lower()
    assert [notice.reason for notice in said].count("AUTHORIZATION_DIFFERS") == 1


def test_the_header_says_who_allowed_each_face_of_the_cast(
    shot: FrameShot, frames: WarmFrames, records: dict[str, Authorization]
) -> None:
    records |= {"model": Authorization(person="Eve"), "bob": Authorization()}
    records["anna"] = Authorization(person="Ada", use="film")
    attributes = frames.render(ask(shot, provenance_attributes="full")).attributes
    assert attributes["dfl/authorizationPerson"] == "Eve"
    said = {name.split(" ")[0]: facts for name, facts in json.loads(attributes["dfl/castAuthorization"]).items()}
    assert said == {"anna": {"person": "Ada", "use": "film"}, "bob": {}}


def test_notices_about_tools_and_face_types_arrive(
    shot: FrameShot, frames: WarmFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = warm_inputs.open_swapper

    def opened(path: Path, device: str) -> tuple[ModelSwapper, list[Notice]]:
        swapper, notices = real(path, device)
        if path.name == "bob":
            swapper.face_type = FaceType.HEAD
            notices = [Notice(message="A generation was passed over.", reason="GENERATION_SKIPPED")]
        return swapper, notices

    tools = MergeTools(notices=[Notice(message="A segmenter's generation was passed over.", reason="FROM_TOOLS")])
    monkeypatch.setattr(warm_inputs, "open_swapper", opened)
    monkeypatch.setattr(warm_inputs, "open_tools", lambda settings, store, device: tools)
    for _ in range(2):  # the second time from what is kept
        rendered = frames.render(ask(shot))
        assert sorted(reasons(rendered)) == ["FACE_TYPE_CONVERTED", "FROM_TOOLS", "GENERATION_SKIPPED"]
    (converted,) = [notice for notice in rendered.notices if notice.reason == "FACE_TYPE_CONVERTED"]
    assert "bob" in converted.message


def test_the_header_names_every_model(shot: FrameShot, frames: WarmFrames) -> None:
    rendered = frames.render(ask(shot, provenance_attributes="full"))
    named = str(rendered.attributes["dfl/model"])
    assert all(f"{name} (df, iteration 5)" in named for name in ("model", "anna", "bob"))
    assert rendered.face_count == 3
    assert np.isfinite(rendered.layers[0].pixels).all()


def test_measured_colours_count_as_memory(shot: FrameShot, frames: WarmFrames) -> None:
    """Looks that are tried out one after the other leave palettes behind; the bound on faces holds for them too."""
    sizes = []
    for settings in ({"color_transfer": "none"}, {"color_transfer": "sot"}, {"color_transfer": "sot"}):
        frames.render(ask(shot, **settings))
        sizes.append(frames._faces_painted.size)
    assert sizes[0] < sizes[1] == sizes[2]
