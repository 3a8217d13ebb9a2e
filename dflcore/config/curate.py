"""Settings of what is done to whole facesets. One class per operation; :data:`OPERATIONS` is the list of them.

An operation works on one faceset. Some also read another path (``other``: a faceset, a folder, a model) or write to one
(``output``); which, and what those are, stands beside the settings class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dflcore.config.base import Settings
from dflcore.config.knobs import PERMISSION, Audience, knob
from dflcore.types import FaceType

MaskFiles = Literal["masks", "labelme", "debug"]
RestoreWhat = Literal["last", "all"]


class MeasureSettings(Settings):
    """Measure what sorts and filters need to know of the pictures; what was measured before is kept."""

    threads: int = knob(0, "Pictures measured side by side; 0 takes one per core.", ge=0, le=64, audience=Audience.TD)


class SortSettings(Settings):
    """Order the faces as a view; no file is renamed."""

    by: str = knob("best", "What to sort by: a name from the list of sorts, for example blur, face-yaw or best.")
    reverse: bool = knob(False, "Last first.")
    count: int = knob(
        2000, "Faces that best and best-fast choose, spread over 128 directions of the head.", ge=128, le=1_000_000
    )
    dissimilar: bool = knob(False, "Of absdiff: each face followed by the most dissimilar picture instead.")
    reference: str = knob(
        "", "Face of the set, or a picture, that identity compares with; empty takes the set's middle."
    )
    where: str = knob("", 'Sort only faces for which this holds, for example "abs(yaw) < 40 and sharpness > 0.002".')
    view: str = knob("", "Name under which the order is kept in the faceset; empty takes the sort's name.")
    trash_rejected: bool = knob(False, "Move faces the sort leaves out to the trash.")
    browse: bool = knob(False, "Also make a folder with numbered links to the pictures, to look through in this order.")


class TrashSettings(Settings):
    """Move faces to the faceset's trash, from where they can be restored."""

    where: str = knob("", 'Faces for which this holds, for example "blur < 0.3 or abs(yaw) > 70".')
    view: str = knob("", "Faces of a saved view.")
    not_in_view: bool = knob(False, "Faces that are not in the view instead.")
    names: str = knob("", "File names, joined by commas.")


class RestoreSettings(Settings):
    """Move faces back from the trash."""

    what: RestoreWhat = knob("last", "The faces moved last, or all of them.")
    names: str = knob("", "Only these file names, joined by commas.")


class EmptyTrashSettings(Settings):
    """Delete the faces in the trash for good."""


class CoverageSettings(Settings):
    """Draw which poses and expressions a source set lacks that a target needs."""

    reach: float = knob(5.0, "A pose is covered when the source has one this near.", ge=0.5, le=45.0, unit="deg")


class ChangeSettings(Settings):
    """Make a faceset of another face type or size from this one, without detecting anew."""

    face_type: FaceType | None = knob(None, "How much of the head the new faces show; empty keeps it.")
    aligned_size: int | None = knob(None, "Side of the new faces; empty keeps it.", ge=64, le=2048, unit="px")
    from_plate: bool = knob(True, "Cut from the plate where it is still there, else from the aligned faces.")


class EnhanceSettings(Settings):
    """Make a faceset with enhanced pictures from this one."""

    enhancer: str = knob("faceenhancer", "Enhancer by registry name; onnx:NAME takes a network from the weights.")
    strength: float = knob(1.0, "Share of the enhanced picture in the result.", ge=0.0, le=1.0)
    device: str = knob("auto", "Torch device: auto, cpu, cuda, cuda:1.", audience=Audience.TD, affects_pixels=False)


class PackSettings(Settings):
    """Put all pictures of the faceset into one file."""


class UnpackSettings(Settings):
    """Put the pictures of a packed faceset back into single files."""


class ImportLegacySettings(Settings):
    """Read a faceset of the reference implementation: a folder of JPEGs with metadata, or a faceset.pak."""

    meta_dat: str = knob("", "Its meta.dat, where the pictures were edited in another tool and lost their metadata.")
    plate: str = knob("", "The plate the faces came from, if it is still there; empty makes a name up.")
    face_type: FaceType | None = knob(None, "Of a mixed set, take only faces of this type; needs aligned_size.")
    aligned_size: int | None = knob(
        None, "Of a mixed set, take only faces of this size; needs face_type.", ge=64, le=2048, unit="px"
    )
    authorization_person: str = knob("", "Whose face this is.", group=PERMISSION, affects_pixels=False)
    authorization_project: str = knob(
        "", "The production this face may be used for.", group=PERMISSION, affects_pixels=False
    )
    authorization_use: str = knob("", "What this face may be used for.", group=PERMISSION, affects_pixels=False)
    authorization_until: str = knob(
        "", "Last day of the permission, as 2027-12-31; empty for no end.", group=PERMISSION, affects_pixels=False
    )
    authorization_reference: str = knob(
        "", "Contract or release number that gives the permission.", group=PERMISSION, affects_pixels=False
    )


class ExportLegacySettings(Settings):
    """Write the faceset for the reference implementation: a folder of JPEGs, or a file ending in .pak."""

    jpeg_quality: int = knob(100, "Quality of the JPEGs.", ge=50, le=100, unit="%")


class SaveMetadataSettings(Settings):
    """Write everything the index knows to a JSON file."""


class RestoreMetadataSettings(Settings):
    """Read the index back from a JSON file and bring edited pictures back to the faceset's size."""


class RecoverNamesSettings(Settings):
    """Give the pictures the names of the frames they came from."""


class ImportLabelsSettings(Settings):
    """Read polygons drawn elsewhere: labelme JSON, one file per face."""


class ImportMasksSettings(Settings):
    """Read mask pictures painted elsewhere, one per face, named as the face is."""

    source: str = knob("painted", "Name the masks get in the faceset.")


class ImportMattesSettings(Settings):
    """Read mattes of the plate, EXR or PNG frames, and warp them to the faces."""

    source: str = knob("matte", "Name the masks get in the faceset.")
    plate: str = knob("", "The plate the mattes belong to; empty takes the faceset's only one.")


class ExportMasksSettings(Settings):
    """Write masks as pictures, labels for other tools, or pictures with landmarks drawn in."""

    what: MaskFiles = knob("masks", "Mask pictures, labelme JSON, or debug pictures with landmarks and hull.")
    recipe: str = knob("label > xseg > hull", "Which masks, combined with >, |, & and !.")


class RemoveMasksSettings(Settings):
    """Take masks or labels away; they can be restored."""

    source: str = knob("xseg", "Which masks; label for the polygons.")
    restore: bool = knob(False, "Bring back what was removed last instead.")


class ApplyMasksSettings(Settings):
    """Mask every face with a trained segmenter."""

    source: str = knob("xseg", "Name the masks get in the faceset.")
    batch_size: int = knob(8, "Faces segmented at once.", ge=1, le=256, audience=Audience.TD)
    device: str = knob("auto", "Torch device: auto, cpu, cuda, cuda:1.", audience=Audience.TD, affects_pixels=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationDescription:
    """One thing that can be done to a faceset.

    Attributes:
        settings_class: its settings; the first line of its docstring is its help.
        other: what ``other`` is, empty where it is not read; ``other_flag`` is what the command line calls it.
        output: what is written besides the faceset itself, empty where nothing is.
        is_other_optional, is_output_optional: may be left out.
        makes_faceset: the faceset named need not be there before.
    """

    settings_class: type[Settings]
    other: str = ""
    other_flag: str = "from"
    output: str = ""
    is_other_optional: bool = False
    is_output_optional: bool = False
    makes_faceset: bool = False

    @property
    def help(self) -> str:
        return (self.settings_class.__doc__ or "").strip().splitlines()[0]


OPERATIONS: dict[str, OperationDescription] = {
    "measure": OperationDescription(settings_class=MeasureSettings),
    "sort": OperationDescription(
        settings_class=SortSettings, output="folder for contact sheets of the order", is_output_optional=True
    ),
    "trash": OperationDescription(settings_class=TrashSettings),
    "restore": OperationDescription(settings_class=RestoreSettings),
    "empty_trash": OperationDescription(settings_class=EmptyTrashSettings),
    "coverage": OperationDescription(
        settings_class=CoverageSettings,
        other="faceset of the target plate",
        other_flag="target",
        output="PNG of the report",
    ),
    "change": OperationDescription(settings_class=ChangeSettings, output="folder of the new faceset"),
    "enhance": OperationDescription(settings_class=EnhanceSettings, output="folder of the new faceset"),
    "pack": OperationDescription(settings_class=PackSettings),
    "unpack": OperationDescription(settings_class=UnpackSettings),
    "import_legacy": OperationDescription(
        settings_class=ImportLegacySettings, other="folder of JPEGs, or a faceset.pak", makes_faceset=True
    ),
    "export_legacy": OperationDescription(
        settings_class=ExportLegacySettings, output="new folder, or file ending in .pak"
    ),
    "save_metadata": OperationDescription(settings_class=SaveMetadataSettings, output="JSON file, .json or .json.gz"),
    "restore_metadata": OperationDescription(
        settings_class=RestoreMetadataSettings, other="JSON file", makes_faceset=True
    ),
    "recover_names": OperationDescription(settings_class=RecoverNamesSettings),
    "import_labels": OperationDescription(settings_class=ImportLabelsSettings, other="folder of labelme JSON files"),
    "import_masks": OperationDescription(settings_class=ImportMasksSettings, other="folder of mask pictures"),
    "import_mattes": OperationDescription(
        settings_class=ImportMattesSettings, other="frames of mattes, as 'matte.####.exr'"
    ),
    "export_masks": OperationDescription(settings_class=ExportMasksSettings, output="new folder"),
    "remove_masks": OperationDescription(settings_class=RemoveMasksSettings),
    "apply_masks": OperationDescription(
        settings_class=ApplyMasksSettings, other="folder of the trained segmenter", other_flag="model"
    ),
}
"""By the name of the field in the message ``CurateSpec``; the command line writes them with hyphens."""
