"""A TorchScript network from the model store as an enhancer: ``torchscript:<weights name>?option=value&...``.

Options are those of :mod:`dflcore.enhance.onnx_model`. Layout is NCHW, any size.

Safety: a TorchScript archive is a program. torch warns that loading a manipulated one may run any code, and nothing
fences in the operators it may call once it is loaded, some of which reach files. So it is loaded only when it is one of
the published files of the store's index: a name, never a path, with a published SHA-256, and what is hashed is the very
bytes that are loaded. ONNX files hold no code and may come from anywhere. TorchScript is deprecated besides: publish
new networks as ONNX.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dflcore.enhance.onnx_model import OnnxEnhancer, OnnxOptions
from dflcore.errors import DataCorrupt, InvalidInput, NotFound, Unsupported
from dflcore.models.device import resolve_device
from dflcore.weights.store import WeightStore


def create_torchscript_enhancer(store: WeightStore, *, device: str = "cpu", argument: str = "") -> OnnxEnhancer:
    """An enhancer from ``<weights name>?options``.

    Raises:
        InvalidInput: nothing was named, or an option is unknown.
        NotFound: the store's index has no such name, or the file is missing.
        Unsupported: no checksum of it is published, or it is no image-to-image network.
        DataCorrupt: the file is not the published one, or no TorchScript archive.
    """
    named, _, options = argument.partition("?")
    if not named:
        raise InvalidInput(
            "Say which network: torchscript:<weights name>; `dfl weights list` shows the names.", reason="BAD_ARGUMENT"
        )
    parsed = OnnxOptions.parse(options)
    if named not in store.names():  # a path is no name
        raise NotFound(
            f"The index has no weights named {named!r}, and a TorchScript file is loaded by its name only; "
            "`dfl weights list` shows the names.",
            reason="UNKNOWN_WEIGHTS",
            name=named,
        )
    info = store.info(named)
    if not info.sha256:
        raise Unsupported(
            f"No checksum is published for the weights {named}, and a TorchScript file is a program: it is not loaded "
            "unverified. Use the network's ONNX form.",
            reason="WEIGHTS_UNVERIFIED",
            name=named,
        )
    data = store.find(named).read_bytes()
    if hashlib.sha256(data).hexdigest() != info.sha256:  # changed since the store looked
        raise DataCorrupt(
            f"The weights {named} changed while they were read; try again.", reason="WEIGHTS_DAMAGED", name=named
        )
    return OnnxEnhancer(_ScriptSession(_load(data, named, device), device), parsed, named, info.sha256)


def _load(data: bytes, name: str, device: str) -> Any:
    """Raises DataCorrupt: no TorchScript archive."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch would rather see exported programs
            network = torch.jit.load(io.BytesIO(data), map_location=resolve_device(device))  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise DataCorrupt(
            f"The network {name} cannot be loaded: {reason}", reason="WEIGHTS_DAMAGED", name=name
        ) from error
    return network.eval()


@dataclass(frozen=True, slots=True)
class _Input:
    """As onnxruntime describes an input."""

    name: str = "faces"
    shape: tuple[Any, ...] = ("N", 3, "H", "W")
    type: str = "tensor(float)"


class _ScriptSession:
    """A scripted network with the two methods of an onnxruntime session that the enhancer calls."""

    def __init__(self, network: Any, device: str) -> None:
        self._network, self._device = network, resolve_device(device)

    def get_inputs(self) -> list[_Input]:
        return [_Input()]

    def run(self, outputs: None, feeds: dict[str, Any]) -> list[Any]:
        (batch,) = feeds.values()
        with torch.inference_mode():
            answer = self._network(torch.from_numpy(batch).to(self._device))
        return [np.asarray(answer.float().cpu().numpy())]
