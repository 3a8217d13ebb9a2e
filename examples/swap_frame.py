"""Swap the face of one frame and write it to standard output as EXR: the beauty and its matte.

swap_frame.py PLATE FRAME MODEL FACESET > still.exr
"""

import os
import sys

from dflcore.errors import DflError
from dfldaemon.client import connect_or_start
from dfldaemon.discovery import state_folder
from dflproto.v1 import merge_service_pb2


def main(plate: str, frame: str, model: str, faceset: str) -> int:
    request = merge_service_pb2.MergeFrameRequest(
        plate_path=os.path.abspath(plate),
        frame=int(frame),
        model_path=os.path.abspath(model),
        faceset_path=os.path.abspath(faceset),
        layers=["beauty", "matte"],
        pixel_format=merge_service_pb2.PIXEL_FORMAT_EXR,
        road=merge_service_pb2.PIXEL_ROAD_STREAM,
    )
    client, _ = connect_or_start(state_folder(os.environ), environ=os.environ)
    with client:
        picture = client.merge_frame(request)
    sys.stdout.buffer.write(picture.data)
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 5 or not sys.argv[2].lstrip("-").isdecimal():
        sys.exit(__doc__)
    try:
        sys.exit(main(*sys.argv[1:]))
    except DflError as error:
        sys.exit(error.message)
