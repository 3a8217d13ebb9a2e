"""Trained models as ONNX files: DFM as the reference exports it, and our own plain form.

=======  =====================================================  ====================================================
         dfm (opset 12)                                         onnx (opset 17)
=======  =====================================================  ====================================================
input    ``in_face:0`` (N, R, R, 3) BGR                         ``faces`` (N, 3, R, R) RGB
         ``morph_value:0`` (1,), AMP only                       ``morph`` (1,), AMP only
outputs  ``out_face_mask:0`` (N, R, R, 1), the picture's face   ``face`` (N, 3, R, R) RGB
         ``out_celeb_face:0`` (N, R, R, 3) BGR                  ``source_mask`` (N, 1, R, R), the painted face
         ``out_celeb_face_mask:0`` (N, R, R, 1)                 ``target_mask`` (N, 1, R, R), the picture's face
=======  =====================================================  ====================================================

All values are in [0, 1], colours display-referred sRGB; N is free.

Source of dfm: measured facts of DeepFaceLab 46fc239 (GPL-3.0, nothing copied; fact sheet §1.12).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from dflcore.errors import Unsupported
from dflcore.exchange.graphs import FaceGraph, ReferenceFaceGraph, ReferenceGraph, SwapGraph
from dflcore.types import FloatArray

MAX_BYTES: Final = 2_000_000_000
"""An ONNX file is one protobuf message, of less than 2 GiB."""
EXAMPLE_FACES: Final = 2
"""More than one, so that nothing takes the batch for a constant."""
_INSTALL: Final = "install it with `pip install 'dfl-compositor[export]'`"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxForm:
    """How a model looks from outside.

    Attributes:
        opset: version of the operators.
        faces, morph: names of the inputs.
        outputs: their names, in order.
        order: for each output, which of :data:`~dflcore.exchange.graphs.Painting` it is.
        is_reference: (N, H, W, C) and BGR, else (N, C, H, W) and RGB.
    """

    opset: int
    faces: str
    morph: str
    outputs: tuple[str, str, str]
    order: tuple[int, int, int]
    is_reference: bool


DFM: Final = OnnxForm(
    opset=12,
    faces="in_face:0",
    morph="morph_value:0",
    outputs=("out_face_mask:0", "out_celeb_face:0", "out_celeb_face_mask:0"),
    order=(2, 0, 1),
    is_reference=True,
)
ONNX: Final = OnnxForm(
    opset=17,
    faces="faces",
    morph="morph",
    outputs=("face", "source_mask", "target_mask"),
    order=(0, 1, 2),
    is_reference=False,
)


def write_onnx(graph: SwapGraph, side: int, form: OnnxForm, about: Mapping[str, str], *, half: bool) -> bytes:
    """The file of a model.

    Args:
        side: R.
        about: goes into the file's metadata.
        half: keep the weights of convolutions in 16 bits; they are computed with in 32.

    Raises:
        Unsupported: onnx is not installed, or the model is larger than the format holds.
    """
    require_packages()
    import onnx

    size = sum(parameter.nbytes for parameter in graph.parameters())
    if size > MAX_BYTES:
        raise Unsupported(
            f"The model has {size / 1e9:.1f} GB of weights, more than the 2 GB an ONNX file holds; export it as "
            "torchscript.",
            reason="MODEL_TOO_LARGE",
            field="kind",
        )
    model = onnx.load_model_from_string(_record(graph, side, form))
    _state_shapes(model, side, form)
    if half:
        _halve_convolutions(model)
    model.producer_name = "dfl-compositor"
    onnx.helper.set_model_props(model, dict(about))
    onnx.checker.check_model(model)
    return model.SerializeToString()


class OnnxFile:
    """An exported file at work, in our own conventions.

    Raises:
        Unsupported: onnxruntime is not installed.
    """

    def __init__(self, path: str, form: OnnxForm) -> None:
        require_packages()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._form = form
        self.has_morph = form.morph in {one.name for one in self._session.get_inputs()}

    def paint(self, faces: Tensor, morph: float) -> tuple[Tensor, Tensor, Tensor]:
        """See :data:`~dflcore.exchange.graphs.Painting`."""
        given: dict[str, FloatArray] = {self._form.faces: self._outside(faces)}
        if self.has_morph:
            given[self._form.morph] = np.array([morph], dtype=np.float32)
        answers = self._session.run(list(self._form.outputs), given)
        painted = {place: self._inside(answer) for place, answer in zip(self._form.order, answers, strict=True)}
        return painted[0], painted[1], painted[2]

    def _outside(self, faces: Tensor) -> FloatArray:
        values = faces.numpy()
        return np.ascontiguousarray(values.transpose(0, 2, 3, 1)[..., ::-1]) if self._form.is_reference else values

    def _inside(self, answer: FloatArray) -> Tensor:
        values = answer.transpose(0, 3, 1, 2)[:, ::-1] if self._form.is_reference else answer
        return torch.from_numpy(values.copy())


def require_packages() -> None:
    """Raises Unsupported when what writes and checks ONNX files is not installed."""
    for name in ("onnx", "onnxruntime"):
        try:
            __import__(name)
        except ImportError as error:
            raise Unsupported(
                f"Exporting this kind of file needs the package {name}: {_INSTALL}, or export as torchscript.",
                reason="COMPONENT_NOT_INSTALLED",
                name=name,
            ) from error


def _record(graph: SwapGraph, side: int, form: OnnxForm) -> bytes:
    shape = (EXAMPLE_FACES, side, side, 3) if form.is_reference else (EXAMPLE_FACES, 3, side, side)
    inputs: tuple[Tensor, ...] = (torch.rand(shape, generator=torch.Generator().manual_seed(0)),)
    names = [form.faces]
    outer: nn.Module
    if graph.has_morph:
        inputs, names = (*inputs, torch.full((1,), 0.5)), [*names, form.morph]
        outer = ReferenceGraph(graph) if form.is_reference else graph
    else:
        outer = ReferenceFaceGraph(graph) if form.is_reference else FaceGraph(graph)
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the recorder is called legacy, and warns of every shape Python looks at
        torch.onnx.export(
            outer.eval(),
            inputs,
            buffer,  # type: ignore[arg-type]  # the recorder asked for here takes one
            dynamo=False,
            opset_version=form.opset,
            input_names=names,
            output_names=list(form.outputs),
            dynamic_axes={name: {0: "N"} for name in (form.faces, *form.outputs)},
        )
    return buffer.getvalue()


def _state_shapes(model: Any, side: int, form: OnnxForm) -> None:
    """Give the outputs their sizes, which the recorder leaves open."""
    for output, place in zip(model.graph.output, form.order, strict=True):
        channels = 1 if place else 3
        sizes = (side, side, channels) if form.is_reference else (channels, side, side)
        for dimension, size in zip(list(output.type.tensor_type.shape.dim)[1:], sizes, strict=True):
            dimension.dim_value = size


def _halve_convolutions(model: Any) -> None:
    """Keep the kernels of convolutions in half precision; a cast in front of each brings them back."""
    import onnx

    kernels = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    casts = []
    for tensor in model.graph.initializer:
        if tensor.name in kernels:
            name = tensor.name
            values = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
