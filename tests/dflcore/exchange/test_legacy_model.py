"""Reading the reference's model folders: everything that is wrong with a file is said, nothing in it is run."""

from __future__ import annotations

import contextlib
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflcore.errors import Conflict, DataCorrupt, InvalidInput, NotFound, Unsupported
from dflcore.exchange.legacy_model import list_legacy_models, read_legacy_model, read_weights
from dflcore.types import FaceType
from legacy_files import dumps
from legacy_models import AMP_OPTIONS, saehd_options, write_model

DATA = "new_SAEHD_data.dat"
ENCODER = "new_SAEHD_encoder.npy"


class Canary:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path, "df", saehd_options("df-ud"))
    return tmp_path


def test_a_model_is_read_whole(folder: Path) -> None:
    model = read_legacy_model(folder)
    assert (model.name, model.class_name, model.iteration) == ("new", "SAEHD", 4)
    assert model.options["archi"] == "df-ud"
    assert model.network.preset == "df"
    assert model.network.face_type is FaceType.FULL
    assert list(model.parts) == ["encoder", "inter", "decoder_src", "decoder_dst"]
    assert model.parts["encoder"]["down1/downs_0/conv1/weight:0"].shape == (5, 5, 3, 8)
    assert model.losses.tolist() == [[1.0, 2.0], [0.5, 1.0], [1 / 3, 2 / 3], [0.25, 0.5]]
    assert model.has_optimizer


def test_models_are_listed_by_name_and_class(folder: Path) -> None:
    write_model(folder, "amp", AMP_OPTIONS, name="old hero")
    (folder / "XSeg_data.dat").write_bytes(b"")
    (folder / "SAEHD_default_options.dat").write_bytes(b"")
    assert [str(one) for one in list_legacy_models(folder)] == ["new_SAEHD", "old hero_AMP"]
    with pytest.raises(Conflict):
        read_legacy_model(folder)
    assert read_legacy_model(folder, "old hero").class_name == "AMP"


def test_one_name_in_two_classes_is_told_apart(folder: Path) -> None:
    write_model(folder, "amp", AMP_OPTIONS)
    with pytest.raises(Conflict, match="new_AMP, new_SAEHD"):
        read_legacy_model(folder, "new")
    assert read_legacy_model(folder, "new_AMP").class_name == "AMP"


def test_a_folder_without_models_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no SAEHD, AMP or Quick96 model.*_data\.dat"):
        read_legacy_model(tmp_path)
    with pytest.raises(NotFound, match="There is no folder"):
        read_legacy_model(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [DATA, ENCODER])
def test_what_would_run_a_program_is_refused_and_not_run(folder: Path, tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    for protocol in (2, 3, 4):
        value = {"iter": 1, "options": {}, "weight:0": Canary(canary)}
        (folder / name).write_bytes(pickle.dumps(value, protocol))
        with pytest.raises(InvalidInput, match=f"{name} is refused.*no model needs") as caught:
            read_legacy_model(folder)
        assert caught.value.reason == "HOSTILE_PICKLE"
        assert not canary.exists()


def test_arrays_of_objects_are_refused(folder: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    weights = {"dense1/weight:0": np.array([Canary(canary)], dtype=object)}
    (folder / ENCODER).write_bytes(pickle.dumps(weights, 4))
    with pytest.raises(InvalidInput, match="array of objects"):
        read_weights(folder / ENCODER)
    assert not canary.exists()


def test_a_missing_part_is_named(folder: Path) -> None:
    (folder / "new_SAEHD_inter.npy").unlink()
    with pytest.raises(NotFound, match=r"new_SAEHD_inter\.npy of the model is missing.*backup") as caught:
        read_legacy_model(folder)
    assert caught.value.details["path"] == str(folder / "new_SAEHD_inter.npy")


@pytest.mark.parametrize("name", [DATA, ENCODER])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_named(folder: Path, name: str, share: float) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataCorrupt, match=f"{name}.*backup") as caught:
        read_legacy_model(folder)
    assert caught.value.details["path"] == str(folder / name)


def test_a_file_of_zeros_after_a_power_cut_is_explained(folder: Path) -> None:
    (folder / ENCODER).write_bytes(bytes(5000))
    with pytest.raises(DataCorrupt, match=f"{ENCODER} is damaged: .*zeros only, as after a power cut"):
        read_legacy_model(folder)


def test_flipped_bytes_end_in_an_error_or_a_model_but_never_elsewhere(folder: Path) -> None:
    data = (folder / DATA).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(data)
        position = int(rng.integers(min(len(data), 600)))
        broken[position] = int(rng.integers(256))
        (folder / DATA).write_bytes(broken)
        with contextlib.suppress(DataCorrupt, InvalidInput, Unsupported):
            read_legacy_model(folder)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ([1, 2], "no dictionary"),
        ({}, "holds no weights"),
        ({"a": "text"}, "no array of floating-point numbers"),
        ({"a": np.arange(3)}, "no array of floating-point numbers"),
        ({"a": np.array([1.0, np.nan], np.float32)}, "not finite"),
    ],
)
def test_a_part_that_holds_no_weights_is_damaged(folder: Path, value: Any, fault: str) -> None:
    (folder / ENCODER).write_bytes(dumps(value, 4))
    with pytest.raises(DataCorrupt, match=f"{ENCODER}.*{fault}"):
        read_legacy_model(folder)


@pytest.mark.parametrize(
    "change",
    [{"options": [1]}, {"options": {"archi": "df", "ae_dims": "wide"}}, {"options": {"archi": 3}}, {"iter": "many"}],
)
def test_data_of_the_wrong_kind_is_damaged(folder: Path, change: dict[str, Any]) -> None:
    data = {"iter": 4, "options": saehd_options("df-ud"), "loss_history": [], **change}
    (folder / DATA).write_bytes(dumps(data, 4))
    with pytest.raises(DataCorrupt, match=DATA):
        read_legacy_model(folder)


@pytest.mark.parametrize("archi", ["dfhd", "liaehd", "df-udx", "styleae", "liaeuhd"])
def test_networks_without_a_counterpart_are_named(folder: Path, archi: str) -> None:
    data = {"iter": 4, "options": saehd_options(archi), "loss_history": []}
    (folder / DATA).write_bytes(dumps(data, 4))
    with pytest.raises(Unsupported, match=f"'{archi}'.*df and liae"):
        read_legacy_model(folder)


def test_options_that_old_versions_did_not_ask_get_their_later_defaults(folder: Path) -> None:
    data = {"iter": 4, "options": {"archi": "df-ud"}, "loss_history": []}
    (folder / DATA).write_bytes(dumps(data, 4))
    network = read_legacy_model(folder).network
    assert network.face_type is FaceType.FULL
    assert {name: network.network[name] for name in ("resolution", "ae_dims", "e_dims", "d_dims", "d_mask_dims")} == {
        "resolution": 128,
        "ae_dims": 256,
        "e_dims": 64,
        "d_dims": 64,
        "d_mask_dims": 22,
    }


def test_losses_may_be_numpy_numbers_and_odd_rows_are_left_out(folder: Path) -> None:
    losses = [[np.float32(0.5), np.float64(0.25)], [1, 2, 3], "broken", [None, 1.0], [0.125, 0.0625]]
    data = {"iter": 4, "options": saehd_options("df-ud"), "loss_history": losses}
    (folder / DATA).write_bytes(dumps(data, 4))
    assert read_legacy_model(folder).losses.tolist() == [[0.5, 0.25], [1.0, 2.0], [0.125, 0.0625]]


@pytest.mark.slow
def test_half_a_million_iterations_of_losses_are_read(folder: Path) -> None:
    losses = [[float(step), 0.5] for step in range(500_000)]
    data = {"iter": 500_000, "options": saehd_options("df-ud"), "loss_history": losses}
    (folder / DATA).write_bytes(dumps(data, 4))
    model = read_legacy_model(folder)
    assert model.losses.shape == (500_000, 2)
    assert model.losses[-1, 0] == 499_999


def test_a_bomb_of_shared_values_is_refused(folder: Path) -> None:
    opcodes = b"\x80\x04}\x94(\x8c\x04iterK\x01\x8c\x07options"
    opcodes += b"]q\x01" + b"".join(
        b"]" + b"(" + b"h" + bytes([level]) * 1 + (b"h" + bytes([level])) * 40 + b"eq" + bytes([level + 1])
        for level in range(1, 12)
    )
    (folder / DATA).write_bytes(opcodes + b"u.")
    with pytest.raises(DataCorrupt):
        read_legacy_model(folder)


def test_an_array_that_claims_more_than_the_file_holds_is_damaged(folder: Path) -> None:
    data = bytearray((folder / ENCODER).read_bytes())
    start = data.index(b"B")  # the first long byte string
    data[start + 1 : start + 5] = struct.pack("<I", 0xFFFFFFF0)
    (folder / ENCODER).write_bytes(data)
    with pytest.raises(DataCorrupt, match=ENCODER):
        read_weights(folder / ENCODER)
