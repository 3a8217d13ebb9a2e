"""Exported models paint what the live model paints, in the form other programs expect."""

from __future__ import annotations

import datetime
import itertools
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dflcore.config.exchange import ModelExportSettings, ModelImportSettings
from dflcore.config.network import NetworkSettings
from dflcore.errors import Cancelled, Conflict, InvalidInput, NotFound, Unsupported
from dflcore.exchange import exporting, onnx_files, verify
from dflcore.exchange.exporting import ExportResult, export_model
from dflcore.exchange.importing import import_legacy_model
from dflcore.exchange.torchscript import ABOUT_NAME
from dflcore.models.checkpoint import Generation, ModelDescription, ModelFolder, load_model
from dflcore.models.registry import load_preset
from dflcore.progress import LoggedRun, Notice
from dflcore.types import FaceType
from legacy_models import AMP_OPTIONS, saehd_options, write_model
from small_facesets import Watcher

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

SUFFIX = {"dfm": ".dfm", "onnx": ".onnx", "torchscript": ".pt"}
OPERATORS_OF_TORCH_1_12 = {
    "aten::__getitem__.t", "aten::_convolution", "aten::add.Scalar", "aten::add.Tensor", "aten::add_.Tensor",
    "aten::cat", "aten::clamp", "aten::contiguous", "aten::cos", "aten::div.Scalar", "aten::eq.int",
    "aten::flatten.using_ints", "aten::full", "aten::full_like", "aten::le.Scalar", "aten::le.Tensor",
    "aten::leaky_relu_", "aten::linear", "aten::mean.dim", "aten::minimum", "aten::mul.Scalar", "aten::mul.Tensor",
    "aten::nan_to_num", "aten::ones", "aten::pixel_shuffle", "aten::pixel_unshuffle", "aten::pow.Tensor_Scalar",
    "aten::rsqrt", "aten::sigmoid", "aten::size", "aten::size.int", "aten::slice.Tensor", "aten::square",
    "aten::sub.Scalar", "aten::sub.Tensor", "aten::to.dtype", "aten::upsample_bilinear2d", "aten::view",
    "aten::where.self", "aten::type_as", "prim::TupleUnpack", "prim::max.float", "prim::min.float",
}  # fmt: skip
"""Those of its operators that exports use."""


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models whose pictures differ visibly from grey, as imported ones do."""
    root = tmp_path_factory.mktemp("models")
    made = {}
    for kind, options in (
        ("df", saehd_options("df-ud")),
        ("liae", saehd_options("liae-udt")),
        ("amp", AMP_OPTIONS),
    ):
        write_model(root / f"old_{kind}", kind, options)
        settings = ModelImportSettings(authorization_person="A. Player", authorization_project="Demo")
        made[kind] = import_legacy_model(root / f"old_{kind}", root / kind, settings, LoggedRun()).path
    return made


def export(model: Path, path: Path, **settings: Any) -> ExportResult:
    return export_model(model, path, ModelExportSettings(**settings), LoggedRun())


def faces_of(model: Any, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, model.resolution, model.resolution, generator=torch.Generator().manual_seed(3))


def save_model(path: Path, preset: str, numbers: dict[str, Any], state: dict[str, Any] | None = None) -> Path:
    network: NetworkSettings = load_preset(preset).resolve_network(numbers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = load_preset(preset).build(network)
    folder = ModelFolder.create(
        path, ModelDescription(preset=preset, network=network.values(), face_type=FaceType.FULL)
    )
    history = torch.zeros((0, 4), dtype=torch.float64)
    about = {"iteration": 5, "elapsed_s": 1.0, **(state or {})}
    with folder.lock():
        folder.save(Generation(weights=dict(model.state_dict()), training={}, history=history, state=about), keep=1)
    return path


def nhwc_bgr(tensor: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.numpy().transpose(0, 2, 3, 1)[..., ::-1])


@pytest.mark.parametrize("kind", ["df", "liae", "amp"])
def test_a_dfm_file_has_the_references_names_layout_and_colours(
    models: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    result = export(models[kind], tmp_path / "hero.dfm", kind="dfm")
    session = onnxruntime.InferenceSession(str(result.path), providers=["CPUExecutionProvider"])
    inputs = {one.name: one.shape for one in session.get_inputs()}
    outputs = [(one.name, one.shape) for one in session.get_outputs()]
    assert inputs == {"in_face:0": ["N", 64, 64, 3]} | ({"morph_value:0": [1]} if kind == "amp" else {})
    assert outputs == [
        ("out_face_mask:0", ["N", 64, 64, 1]),
        ("out_celeb_face:0", ["N", 64, 64, 3]),
        ("out_celeb_face_mask:0", ["N", 64, 64, 1]),
    ]
    model, *_ = load_model(models[kind])
    for count in (1, 3):
        faces = faces_of(model, count)
        given = {"in_face:0": nhwc_bgr(faces)}
        if kind == "amp":
            given["morph_value:0"] = np.array([1.0], np.float32)
        target_mask, face, mask = session.run(None, given)
        with torch.inference_mode():
            swap = model.swap(faces)
        np.testing.assert_allclose(face, nhwc_bgr(swap.face), atol=1e-4)
        np.testing.assert_allclose(mask[..., 0], swap.source_mask[:, 0].numpy(), atol=1e-4)
        np.testing.assert_allclose(target_mask[..., 0], swap.target_mask[:, 0].numpy(), atol=1e-4)
    file = onnx.load(str(result.path))
    assert [(one.domain, one.version) for one in file.opset_import] == [("", 12)]
    assert result.difference < 1e-4


def test_the_morph_value_of_a_dfm_file_dials_likeness(models: dict[str, Path], tmp_path: Path) -> None:
    export(models["amp"], tmp_path / "hero.dfm", kind="dfm")
    session = onnxruntime.InferenceSession(str(tmp_path / "hero.dfm"), providers=["CPUExecutionProvider"])
    model, *_ = load_model(models["amp"])
    faces = faces_of(model)
    pictures = []
    for morph in (0.0, 0.3, 0.75, 1.0):
        given = {"in_face:0": nhwc_bgr(faces), "morph_value:0": np.array([morph], np.float32)}
        pictures.append(session.run(["out_celeb_face:0"], given)[0])
        with torch.inference_mode():
            wanted = model.swap(faces, morph=morph).face
        np.testing.assert_allclose(pictures[-1], nhwc_bgr(wanted), atol=1e-4)
    assert all(np.abs(one - other).mean() > 0.01 for one, other in itertools.pairwise(pictures))


@pytest.mark.parametrize("kind", ["df", "liae", "amp"])
@pytest.mark.parametrize("identity", ["source", "target"])
def test_an_onnx_file_paints_as_the_model(models: dict[str, Path], tmp_path: Path, kind: str, identity: str) -> None:
    result = export(models[kind], tmp_path / "hero.onnx", kind="onnx", identity=identity)
    session = onnxruntime.InferenceSession(str(result.path), providers=["CPUExecutionProvider"])
    model, *_ = load_model(models[kind])
    faces = faces_of(model, 3)
    given = {"faces": faces.numpy()} | ({"morph": np.array([0.5], np.float32)} if kind == "amp" else {})
    face, mask, target_mask = session.run(["face", "source_mask", "target_mask"], given)
    with torch.inference_mode():
        swap = model.swap(faces, identity=identity, morph=0.5)
    for mine, live in ((face, swap.face), (mask, swap.source_mask), (target_mask, swap.target_mask)):
        np.testing.assert_allclose(mine, live.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("preset", "numbers"),
    [
        ("quick", {"resolution": 64, "grid_blocks": 16, "code_dims": 16, "e_dims": 8}),
        ("df", {"resolution": 64, "ae_dims": 16, "e_dims": 8, "d_dims": 8, "d_mask_dims": 4, "sources": 2}),
        ("df", {"resolution": 64, "ae_dims": 16, "e_dims": 8, "d_dims": 8, "d_mask_dims": 4, "cosine": True}),
        ("dfhd", {"resolution": 64, "ae_dims": 16, "e_dims": 8, "d_dims": 8, "d_mask_dims": 4}),
        ("liaehd", {"resolution": 64, "ae_dims": 16, "e_dims": 8, "d_dims": 8, "d_mask_dims": 4}),
        pytest.param("deepfakes", {"resolution": 64, "ae_dims": 16}, marks=pytest.mark.slow),
    ],
)
def test_every_preset_can_be_exported_as_every_kind(tmp_path: Path, preset: str, numbers: dict[str, Any]) -> None:
    model = save_model(tmp_path / "model", preset, numbers)
    identity = "source2" if numbers.get("sources") else "source"
    for kind, suffix in SUFFIX.items():
        result = export(model, tmp_path / f"out{suffix}", kind=kind, identity=identity)
        assert result.difference < 1e-4


def load_script(path: Path) -> tuple[Any, dict[str, str]]:
    extra = {ABOUT_NAME: ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.load(str(path), _extra_files=extra)
    return script, json.loads(extra[ABOUT_NAME])


@pytest.mark.parametrize("kind", ["df", "liae", "amp"])
def test_a_torchscript_file_gives_face_and_matte(models: dict[str, Path], tmp_path: Path, kind: str) -> None:
    export(models[kind], tmp_path / "hero.pt", kind="torchscript", scene_linear=False)
    script, about = load_script(tmp_path / "hero.pt")
    model, *_ = load_model(models[kind])
    faces = faces_of(model, 1)
    with torch.no_grad():
        swap = model.swap(faces)
        picture = script(torch.cat([faces, torch.rand(1, 1, 64, 64)], dim=1))  # alpha is not looked at
        assert tuple(picture.shape) == (1, 4, 64, 64)
        torch.testing.assert_close(picture[:, :3], swap.face, rtol=0, atol=1e-4)
        torch.testing.assert_close(picture[:, 3:], swap.source_mask, rtol=0, atol=1e-4)
        script.matte = 1
        torch.testing.assert_close(script(faces)[:, 3:], swap.target_mask, rtol=0, atol=1e-4)
        script.matte = 2
        both = torch.minimum(swap.source_mask, swap.target_mask)
        torch.testing.assert_close(script(faces)[:, 3:], both, rtol=0, atol=1e-4)
        if kind == "amp":
            script.morph = 0.25
            torch.testing.assert_close(script(faces)[:, :3], model.swap(faces, morph=0.25).face, rtol=0, atol=1e-4)
    assert hasattr(script, "morph") is (kind == "amp")
    assert about["dfl/preset"] == kind


def test_a_torchscript_file_reads_and_writes_scene_linear_pictures(models: dict[str, Path], tmp_path: Path) -> None:
    export(models["df"], tmp_path / "hero.pt", kind="torchscript")
    script, _ = load_script(tmp_path / "hero.pt")
    model, *_ = load_model(models["df"])
    display = faces_of(model, 1).numpy().astype(np.float64)
    linear = np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)
    with torch.no_grad():
        face = model.swap(torch.from_numpy(display.astype(np.float32))).face.numpy().astype(np.float64)
        wanted = np.where(face <= 0.04045, face / 12.92, ((face + 0.055) / 1.055) ** 2.4)
        picture = script(torch.from_numpy(linear.astype(np.float32))).numpy()
        np.testing.assert_allclose(picture[:, :3], wanted, atol=2e-4)
        hot = torch.from_numpy(linear.astype(np.float32))
        hot[:, :, :8] = 40.0
        hot[:, :, 8:16] = -3.0
        hot[:, :, 16:20] = torch.nan
        assert torch.isfinite(script(hot)).all()


@pytest.mark.parametrize("size", [(64, 64), (100, 37), (512, 512)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_torchscript_file_takes_any_size_and_precision(
    models: dict[str, Path], tmp_path: Path, size: tuple[int, int], dtype: torch.dtype
) -> None:
    export(models["df"], tmp_path / "hero.pt", kind="torchscript")
    script, _ = load_script(tmp_path / "hero.pt")
    with torch.no_grad():
        picture = script(torch.rand(1, 3, *size).to(dtype))
    assert tuple(picture.shape) == (1, 4, *size)
    assert picture.dtype is dtype


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("kind", ["df", "amp"])
def test_a_host_can_make_the_whole_module_half(models: dict[str, Path], tmp_path: Path, kind: str, half: bool) -> None:
    export(models[kind], tmp_path / "hero.pt", kind="torchscript", half=half, scene_linear=False)
    script, _ = load_script(tmp_path / "hero.pt")
    model, *_ = load_model(models[kind])
    faces = faces_of(model, 1)
    with torch.no_grad():
        picture = script.half()(faces.half())
        wanted = model.swap(faces)
    assert picture.dtype is torch.float16
    torch.testing.assert_close(picture[:, :3].float(), wanted.face, rtol=0, atol=0.02)
    with torch.no_grad():  # the model in this process was not touched
        torch.testing.assert_close(load_model(models[kind])[0].swap(faces).face, wanted.face, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["df", "liae", "amp"])
def test_a_torchscript_file_uses_operators_that_older_torch_knows(
    models: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    export(models[kind], tmp_path / "hero.pt", kind="torchscript", half=True)
    script, _ = load_script(tmp_path / "hero.pt")
    assert set(torch.jit.export_opnames(script)) - OPERATORS_OF_TORCH_1_12 == set()


@pytest.mark.parametrize("kind", ["dfm", "onnx"])
def test_half_precision_keeps_kernels_in_16_bits(models: dict[str, Path], tmp_path: Path, kind: str) -> None:
    full = export(models["df"], tmp_path / f"full{SUFFIX[kind]}", kind=kind)
    half = export(models["df"], tmp_path / f"half{SUFFIX[kind]}", kind=kind, half=True)
    assert half.size_bytes < 0.6 * full.size_bytes
    assert full.difference < half.difference < verify.MAX_HALF_DIFFERENCE
    graph = onnx.load(str(half.path)).graph
    halves = [one for one in graph.initializer if one.data_type == onnx.TensorProto.FLOAT16]
    assert halves
    assert all(len(one.dims) == 4 for one in halves)  # dense layers stay exact


@pytest.mark.parametrize("kind", ["dfm", "onnx"])
def test_a_file_says_what_it_is(models: dict[str, Path], tmp_path: Path, kind: str) -> None:
    result = export(models["liae"], tmp_path / f"hero{SUFFIX[kind]}", kind=kind)
    about = {one.key: one.value for one in onnx.load(str(result.path)).metadata_props}
    _, folder, generation, _ = load_model(models["liae"])
    assert about["dfl/synthetic"] == "1"
    assert about["dfl/digitalSourceType"].endswith("compositeWithTrainedAlgorithmicMedia")
    assert about["dfl/modelDigest"] == generation.weights_sha256 == result.model_digest
    assert about["dfl/modelId"] == folder.description.model_id
    assert about["dfl/faceType"] == "full"
    assert about["dfl/channelOrder"] == {"dfm": "BGR", "onnx": "RGB"}[kind]
    assert about["dfl/authorizationPerson"] == "A. Player"
    assert about["dfl/authorizationProject"] == "Demo"
    assert "dfl/authorizationUntil" not in about
    assert "sRGB" in about["dfl/colorSpace"]


def test_an_expired_permission_ends_the_export(tmp_path: Path) -> None:
    write_model(tmp_path / "old", "df", saehd_options("df"))
    settings = ModelImportSettings(authorization_person="A. Player", authorization_until="2020-01-01")
    model = import_legacy_model(tmp_path / "old", tmp_path / "model", settings, LoggedRun()).path
    assert datetime.date.today() > datetime.date(2020, 1, 1)
    with pytest.raises(InvalidInput, match="ended on 2020-01-01"):
        export(model, tmp_path / "hero.dfm", kind="dfm")
    assert not (tmp_path / "hero.dfm").exists()


def test_a_file_is_replaced_only_on_request(models: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "hero.pt"
    path.write_bytes(b"precious")
    with pytest.raises(Conflict, match="--overwrite"):
        export(models["df"], path, kind="torchscript")
    assert path.read_bytes() == b"precious"
    result = export(models["df"], path, kind="torchscript", overwrite=True)
    assert path.stat().st_size == result.size_bytes > 10_000
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["dfm", "onnx", "torchscript"])
def test_a_file_that_paints_something_else_is_not_kept(
    models: dict[str, Path], tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = exporting.build_graph

    def crooked(model: Any, identity: str) -> Any:
        graph = honest(model, identity)
        for parameter in graph.parameters():  # those of the heads are the graph's own; the others are put back below
            parameter.data = parameter.data * 1.01
        return graph

    before = {name: tensor.clone() for name, tensor in load_model(models["df"])[0].state_dict().items()}
    live = load_model(models["df"])[0]
    monkeypatch.setattr(exporting, "build_graph", crooked)
    monkeypatch.setattr(exporting, "measure_difference", lambda _, *rest: verify.measure_difference(live, *rest))
    path = tmp_path / f"hero{SUFFIX[kind]}"
    with pytest.raises(InvalidInput, match=r"differ from the model's by .*, at most 0\.001"):
        export(models["df"], path, kind=kind)
    assert list(tmp_path.iterdir()) == []
    assert all(torch.equal(before[name], tensor) for name, tensor in live.state_dict().items())


def test_numbers_that_are_none_count_as_different(models: dict[str, Path]) -> None:
    class Broken:
        has_morph = False

        def paint(self, faces: torch.Tensor, morph: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            mask = torch.full((len(faces), 1, 64, 64), torch.nan)
            return torch.full_like(faces, torch.nan), mask, mask

    model, *_ = load_model(models["df"])
    assert verify.measure_difference(model, "source", Broken()) == float("inf")
    with pytest.raises(InvalidInput):
        verify.require_same(float("inf"), 1e-3, "hero.dfm")


@pytest.mark.parametrize("kind", ["dfm", "onnx", "torchscript"])
def test_a_wrong_suffix_is_refused(models: dict[str, Path], tmp_path: Path, kind: str) -> None:
    with pytest.raises(InvalidInput, match=f"ends? in {SUFFIX[kind]}"):
        export(models["df"], tmp_path / "hero.bin", kind=kind)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_stopped_export_leaves_nothing(models: dict[str, Path], tmp_path: Path, after: int) -> None:
    with pytest.raises(Cancelled):
        export_model(models["df"], tmp_path / "hero.dfm", ModelExportSettings(), Watcher(after))
    assert list(tmp_path.iterdir()) == []


def test_progress_and_result_are_reported(models: dict[str, Path], tmp_path: Path) -> None:
    watcher = Watcher()
    result = export_model(models["df"], tmp_path / "hero.dfm", ModelExportSettings(), watcher)
    steps = watcher.progress()
    assert [step.done for step in steps] == [0, 1, 2, 3]
    assert steps[-1].path == str(result.path)
    notice = next(event for event in watcher.events if isinstance(event, Notice))
    assert notice.reason == "MODEL_EXPORTED"
    assert float(notice.details["difference"]) == pytest.approx(result.difference, rel=1e-2)


def test_what_cannot_be_exported_says_why(models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no model in"):
        export(tmp_path / "nowhere", tmp_path / "hero.dfm", kind="dfm")
    with pytest.raises(InvalidInput, match="knows nobody called 'source9'"):
        export(models["df"], tmp_path / "hero.dfm", kind="dfm", identity="source9")


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_with_its_extra(
    models: dict[str, Path], tmp_path: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    with pytest.raises(Unsupported, match=rf"package {missing}: .*dfl-compositor\[export\]") as caught:
        export(models["df"], tmp_path / "hero.dfm", kind="dfm")
    assert caught.value.reason == "COMPONENT_NOT_INSTALLED"
    assert export(models["df"], tmp_path / "hero.pt", kind="torchscript").difference < 1e-4


def test_a_model_larger_than_an_onnx_file_holds_is_refused(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_files, "MAX_BYTES", 1000)
    with pytest.raises(Unsupported, match="torchscript"):
        export(models["df"], tmp_path / "hero.dfm", kind="dfm")
