"""Files of faces set by hand, as requests; their form is described in :mod:`dflcore.extract.corrections`.

Read here without that module, which needs the image libraries; the daemon checks the numbers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dflcore.errors import InvalidInput, NotFound
from dflproto.v1 import faceset_service_pb2

MAX_CORRECTIONS_BYTES = 64 << 20


def correction_request(faceset: str, plate: str, path: str) -> faceset_service_pb2.CorrectFacesRequest:
    """The request that a file of corrections stands for; what is wrong with an entry is said by the daemon.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is no JSON, or no list of corrections.
    """
    file = Path(path)
    try:
        if file.stat().st_size > MAX_CORRECTIONS_BYTES:
            raise InvalidInput(f"{file} is too large for a file of corrections.", reason="BAD_CORRECTION", path=file)
        values = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {file}.", reason="FILE_NOT_FOUND", path=file) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{file} is no JSON file: {error}.", reason="BAD_CORRECTION", path=file) from error
    entries = values.get("corrections") if isinstance(values, dict) else values
    if not isinstance(entries, list):
        raise InvalidInput(
            f'{file} holds no list of corrections; expected {{"corrections": [{{"frame": 1, "box": [...]}}, ...]}}.',
            reason="BAD_CORRECTION",
            path=file,
        )
    request = faceset_service_pb2.CorrectFacesRequest(path=faceset, plate=plate)
    for number, entry in enumerate(entries, start=1):
        try:
            request.corrections.append(_correction(entry))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput(
                f"Correction {number} of {file} cannot be read: {error}.", reason="BAD_CORRECTION", path=file
            ) from error
    return request


def _correction(entry: dict[str, Any]) -> faceset_service_pb2.FaceCorrection:
    values = dict(entry)
    message = faceset_service_pb2.FaceCorrection(frame=values.pop("frame"))
    message.box_xyxy_px.extend(values.pop("box", ()))
    for point in values.pop("landmarks", ()):
        x, y = point
        message.landmarks_px.extend((x, y))
    placement = values.pop("placement", None)
    if placement is not None:
        nose_x, nose_y = placement["nose"]
        message.placement.nose_x_px, message.placement.nose_y_px = nose_x, nose_y
        message.placement.size_px = placement["size"]
        message.placement.roll_deg = placement.get("roll", 0.0)
    message.remove = values.pop("remove", False)
    if values:
        raise ValueError(f"unknown fields {', '.join(values)}")
    return message
