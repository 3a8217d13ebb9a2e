"""Settings of taking models over from other programs and of handing them on."""

from __future__ import annotations

from typing import Literal

from dflcore.config.base import Settings
from dflcore.config.knobs import PERMISSION, Audience, knob
from dflcore.types import FaceType

ExportKind = Literal["dfm", "onnx", "torchscript"]


class ModelImportSettings(Settings):
    """Take a model over from the reference's model folder; the folder is only read."""

    name: str = knob(
        "", "Which model of the folder: what stands before the first underscore of its files; empty takes the only one."
    )
    face_type: FaceType | None = knob(
        None, "How much of the head the model paints; empty takes what the model says.", audience=Audience.TD
    )
    authorization_person: str = knob("", "Whose face the model paints.", group=PERMISSION, affects_pixels=False)
    authorization_project: str = knob(
        "", "The production this model may be used for.", group=PERMISSION, affects_pixels=False
    )
    authorization_use: str = knob("", "What this model may be used for.", group=PERMISSION, affects_pixels=False)
    authorization_until: str = knob(
        "", "Last day of the permission, such as 2027-12-31; empty for no end.", group=PERMISSION, affects_pixels=False
    )
    authorization_reference: str = knob(
        "", "Contract or release number that permits this model.", group=PERMISSION, affects_pixels=False
    )


class ModelExportSettings(Settings):
    """Hand a trained model on to other programs, as one file."""

    kind: ExportKind = knob(
        "dfm",
        "dfm for programs that read the reference's exports, onnx for other runtimes, torchscript for Nuke's "
        "CatFileCreator.",
    )
    identity: str = knob(
        "source",
        "Who is painted: source, or another person the model knows; target turns the direction round and paints the "
        "target from pictures of the source.",
    )
    half: bool = knob(
        False,
        "Half precision: dfm and onnx keep the weights of their convolutions in 16 bits, torchscript carries a second "
        "copy of the network for half-precision pictures.",
        audience=Audience.TD,
    )
    scene_linear: bool = knob(
        True,
        "torchscript: pictures are scene-linear with Rec.709 primaries, as in Nuke; off for display-referred ones. Can "
        "be changed in the host.",
    )
    overwrite: bool = knob(False, "Replace a file of that name.", affects_pixels=False)
