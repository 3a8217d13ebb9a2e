"""Models of the reference become ours: same pictures, nothing overwritten, nothing half done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dflcore.config.exchange import ModelImportSettings
from dflcore.errors import Cancelled, Conflict, DataCorrupt, InvalidInput, NotFound
from dflcore.exchange.importing import MAX_HISTORY_ROWS, import_legacy_model, summarize_losses
from dflcore.models.checkpoint import ModelFolder, load_model
from dflcore.progress import LoggedRun
from dflcore.types import FaceType
from legacy_files import dumps
from legacy_models import AMP_OPTIONS, QUICK96_OPTIONS, reference_swap, saehd_options, write_model
from small_facesets import Watcher

FLOAT_TOLERANCE = 1e-4
"""Ten times tighter than what is promised."""
EXACT_TOLERANCE = 1e-9
"""In double precision: the same function, not a similar one."""
LETTERS = ("", "-u", "-d", "-t", "-c", "-ud", "-ut", "-udt", "-udc", "-dt", "-udtc")


def import_model(tmp_path: Path, kind: str, options: dict[str, Any], **more: Any) -> tuple[Path, dict[str, Any]]:
    parts = write_model(tmp_path / "old", kind, options, **more)
    made = import_legacy_model(tmp_path / "old", tmp_path / "new", ModelImportSettings(), LoggedRun())
    return made.path, parts


def assert_same_pictures(path: Path, kind: str, options: dict[str, Any], parts: Any, morph: float = 1.0) -> None:
    """Ours, channels first and RGB, against the reference's, channels last and BGR."""
    model, *_ = load_model(path)
    faces = np.random.default_rng(5).random((2, model.resolution, model.resolution, 3), np.float32)
    wanted = reference_swap(kind, options, parts, faces, morph)
    ours = torch.from_numpy(np.ascontiguousarray(faces[..., ::-1].transpose(0, 3, 1, 2)))
    assert wanted["swap"].std() > 0.02  # else everything would agree with everything
    assert wanted["swap_mask"].std() > 0.02
    assert np.abs(wanted["swap"] - wanted["target"]).mean() > (0.01 if morph else -1.0)
    for dtype, tolerance in ((torch.float32, FLOAT_TOLERANCE), (torch.float64, EXACT_TOLERANCE)):
        model.to(dtype)
        with torch.inference_mode():
            swap = model.swap(ours.to(dtype), morph=morph)
            again = model.swap(ours.to(dtype), identity="target")
        for picture, name in ((swap.face, "swap"), (again.face, "target")):
            painted = picture.numpy().transpose(0, 2, 3, 1)[..., ::-1]
            np.testing.assert_allclose(painted, wanted[name], rtol=0, atol=tolerance)
        for mask, name in ((swap.source_mask, "swap_mask"), (swap.target_mask, "target_mask")):
            np.testing.assert_allclose(mask.numpy().transpose(0, 2, 3, 1), wanted[name], rtol=0, atol=tolerance)


@pytest.mark.parametrize("letters", LETTERS)
@pytest.mark.parametrize("wiring", ["df", "liae"])
def test_an_imported_model_paints_what_the_reference_paints(tmp_path: Path, wiring: str, letters: str) -> None:
    options = saehd_options(wiring + letters)
    path, parts = import_model(tmp_path, wiring, options)
    assert_same_pictures(path, wiring, options, parts)


@pytest.mark.parametrize("morph", [0.0, 0.5, 1.0])
def test_an_imported_amp_model_paints_what_the_reference_paints(tmp_path: Path, morph: float) -> None:
    path, parts = import_model(tmp_path, "amp", AMP_OPTIONS)
    assert_same_pictures(path, "amp", AMP_OPTIONS, parts, morph)


@pytest.mark.slow
def test_an_imported_quick96_model_paints_what_the_reference_paints(tmp_path: Path) -> None:
    path, parts = import_model(tmp_path, "quick96", QUICK96_OPTIONS)
    assert_same_pictures(path, "quick96", QUICK96_OPTIONS, parts)


@pytest.mark.parametrize(("protocol", "old_numpy"), [(2, True), (3, True), (4, False), (5, False)])
def test_files_of_other_python_and_numpy_versions_give_the_same_model(
    tmp_path: Path, protocol: int, old_numpy: bool
) -> None:
    options = saehd_options("liae-ud")
    path, parts = import_model(tmp_path, "liae", options, protocol=protocol, old_numpy=old_numpy)
    assert_same_pictures(path, "liae", options, parts)


def test_arrays_that_were_flattened_find_their_shape_again(tmp_path: Path) -> None:
    options = saehd_options("df-ud")
    path, parts = import_model(tmp_path, "df", options, flat=True)
    assert_same_pictures(path, "df", options, parts)


def test_numbers_history_and_origin_are_kept(tmp_path: Path) -> None:
    options = saehd_options("liae-udt", face_type="wf", d_mask_dims=6, pretrain=True)
    write_model(tmp_path / "old", "liae", options, name="hero v2", iteration=7)
    settings = ModelImportSettings(
        authorization_person="A. Player", authorization_until="2027-12-31", authorization_use="one trailer"
    )
    watcher = Watcher()
    import_legacy_model(tmp_path / "old", tmp_path / "new", settings, watcher)
    _, folder, generation, notices = load_model(tmp_path / "new")
    assert folder.description.preset == "liae"
    assert folder.description.face_type is FaceType.WHOLE
    assert folder.description.resolution == 64
    assert folder.description.network["d_mask_dims"] == 6
    assert {name for name in ("likeness", "subpixel", "deep", "cosine") if folder.description.network[name]} == {
        "likeness",
        "subpixel",
        "deep",
    }
    assert generation.iteration == 7
    assert generation.history[:, 0].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert generation.history[1, 2:].tolist() == [0.5, 1.0]
    assert generation.state["pretrain"] is True
    provenance = generation.state["provenance"]
    assert provenance["imported"]["name"] == "hero v2"
    assert provenance["imported"]["class"] == "SAEHD"
    assert provenance["imported"]["options"]["archi"] == "liae-udt"
    assert provenance["source"]["authorization"]["person"] == "A. Player"
    assert provenance["use"] == "one trailer"
    assert notices == []
    assert watcher.reasons() == ["MODEL_IMPORTED"]
    last = watcher.progress()[-1]
    assert last.done == last.total


def test_amp_keeps_its_morph_factor(tmp_path: Path) -> None:
    path, _ = import_model(tmp_path, "amp", AMP_OPTIONS)
    description = ModelFolder.open(path).description
    assert description.preset == "amp"
    assert description.network["morph_factor"] == 0.25
    assert description.network["inter_dims"] == 48


def test_a_model_is_never_overwritten(tmp_path: Path) -> None:
    path, _ = import_model(tmp_path, "df", saehd_options("df"))
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(Conflict, match="holds a model already"):
        import_legacy_model(tmp_path / "old", path, ModelImportSettings(), LoggedRun())
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


def test_a_folder_with_other_files_is_not_imported_into(tmp_path: Path) -> None:
    write_model(tmp_path / "old", "df", saehd_options("df"))
    with pytest.raises(Conflict, match="holds a model of another program"):
        import_legacy_model(tmp_path / "old", tmp_path / "old", ModelImportSettings(), LoggedRun())


def test_the_old_folder_is_only_read(tmp_path: Path) -> None:
    write_model(tmp_path / "old", "df", saehd_options("df"))
    before = {file: file.read_bytes() for file in (tmp_path / "old").iterdir()}
    import_legacy_model(tmp_path / "old", tmp_path / "new", ModelImportSettings(), LoggedRun())
    assert {file: file.read_bytes() for file in (tmp_path / "old").iterdir()} == before


def test_several_models_of_a_folder_are_told_apart_by_name(tmp_path: Path) -> None:
    write_model(tmp_path / "old", "df", saehd_options("df"), name="first", iteration=3)
    write_model(tmp_path / "old", "liae", saehd_options("liae"), name="second", iteration=5)
    with pytest.raises(Conflict, match=r"first_SAEHD, second_SAEHD.*--name") as caught:
        import_legacy_model(tmp_path / "old", tmp_path / "new", ModelImportSettings(), LoggedRun())
    assert caught.value.details["names"] == "first_SAEHD,second_SAEHD"
    with pytest.raises(NotFound, match="holds no model 'third'"):
        import_legacy_model(tmp_path / "old", tmp_path / "new", ModelImportSettings(name="third"), LoggedRun())
    assert not (tmp_path / "new").exists()
    import_legacy_model(tmp_path / "old", tmp_path / "new", ModelImportSettings(name="second"), LoggedRun())
    assert load_model(tmp_path / "new")[2].iteration == 5


def test_weights_that_do_not_fit_end_the_import_where_the_reference_starts_that_part_anew(tmp_path: Path) -> None:
    write_model(tmp_path / "old", "df", saehd_options("df", d_dims=8), seed=1)
    write_model(tmp_path / "other", "df", saehd_options("df", d_dims=10), seed=1)
    (tmp_path / "other" / "new_SAEHD_decoder_dst.npy").replace(tmp_path / "old" / "new_SAEHD_decoder_dst.npy")
    with pytest.raises(DataCorrupt, match=r"new_SAEHD_decoder_dst\.npy.*upscale0/conv1/weight:0.*\(3, 3, 24, 320\)"):
        import_legacy_model(tmp_path / "old", tmp_path / "new", ModelImportSettings(), LoggedRun())
    assert not (tmp_path / "new").exists()


def test_a_variable_that_is_missing_is_named(tmp_path: Path) -> None:
    write_model(tmp_path / "old", "df", saehd_options("df"))
    write_model(tmp_path / "other", "df", saehd_options("df-t"))
    (tmp_path / "other" / "new_SAEHD_inter.npy").replace(tmp_path / "old" / "new_SAEHD_inter.npy")
    with pytest.raises(DataCorrupt, match=r"new_SAEHD_inter\.npy.*dense1/weight:0|upscale1/conv1/weight:0"):
        import_legacy_model(tmp_path / "old", tmp_path / "new", ModelImportSettings(), LoggedRun())


def test_weights_without_a_place_are_mentioned(tmp_path: Path) -> None:
    options = saehd_options("df")
    parts = write_model(tmp_path / "old", "df", options)
    parts["inter"]["forgotten/weight:0"] = np.zeros(3, np.float32)
    (tmp_path / "old" / "new_SAEHD_inter.npy").write_bytes(dumps(parts["inter"], 4))
    watcher = Watcher()
    made = import_legacy_model(tmp_path / "old", tmp_path / "new", ModelImportSettings(), watcher)
    assert watcher.reasons() == ["MODEL_IMPORTED", "WEIGHTS_LEFT_OUT"]
    assert_same_pictures(made.path, "df", options, parts)


def test_an_unknown_face_type_can_be_stated(tmp_path: Path) -> None:
    write_model(tmp_path / "old", "df", saehd_options("df", face_type="torso"))
    with pytest.raises(InvalidInput, match=r"'torso'.*--face-type"):
        import_legacy_model(tmp_path / "old", tmp_path / "new", ModelImportSettings(), LoggedRun())
    settings = ModelImportSettings(face_type=FaceType.HEAD)
    made = import_legacy_model(tmp_path / "old", tmp_path / "new", settings, LoggedRun())
    assert made.description.face_type is FaceType.HEAD


def test_a_resolution_the_network_cannot_have_is_refused(tmp_path: Path) -> None:
    options = saehd_options("df-ud")
    write_model(tmp_path / "old", "df", options)
    changed = {"iter": 1, "options": {**options, "resolution": 80}, "loss_history": []}
    (tmp_path / "old" / "new_SAEHD_data.dat").write_bytes(dumps(changed, 4))
    with pytest.raises(InvalidInput, match="multiple of 32"):
        import_legacy_model(tmp_path / "old", tmp_path / "new", ModelImportSettings(), LoggedRun())
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("after", [0, 2, 5])
def test_a_stopped_import_leaves_nothing(tmp_path: Path, after: int) -> None:
    write_model(tmp_path / "old", "df", saehd_options("df"))
    with pytest.raises(Cancelled):
        import_legacy_model(tmp_path / "old", tmp_path / "new", ModelImportSettings(), Watcher(after))
    assert not (tmp_path / "new").exists()


def test_a_failed_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "old", "df", saehd_options("df"))

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ModelFolder, "save", fail)
    with pytest.raises(OSError, match="No space"):
        import_legacy_model(tmp_path / "old", tmp_path / "new", ModelImportSettings(), LoggedRun())
    assert not (tmp_path / "new").exists()


def test_losses_of_a_long_training_are_averaged() -> None:
    count = MAX_HISTORY_ROWS * 2 + 1
    losses = np.arange(count, dtype=np.float64)[:, None] * [1.0, -1.0]
    rows = summarize_losses(losses, count + 10)
    assert len(rows) <= MAX_HISTORY_ROWS
    assert rows[0].tolist() == [13.0, 0.0, 1.0, -1.0]  # steps 11 to 13
    assert rows[-1, 0] == count + 10
    np.testing.assert_allclose(rows[-1, 2], losses[rows[-2].astype(int)[0] - 10 :, 0].mean())
    assert summarize_losses(np.zeros((0, 2)), 5).shape == (0, 4)
