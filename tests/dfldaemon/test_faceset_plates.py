import sqlite3
import subprocess
import sys

import pytest

from dflcore.errors import DataCorrupt, NotFound
from dflcore.io.faceset import INDEX_NAME
from dfldaemon import faceset_plates
from dfldaemon.faceset_plates import plates_of_faceset
from small_facesets import PLATE, make_image, make_record, write_faceset


def test_plates_come_in_the_order_they_were_extracted(tmp_path):
    faces = [(make_record(1), make_image(1)), (make_record(2, plate="/plätes/ß.mov", name="b.png"), make_image(2))]
    folder = write_faceset(tmp_path / "sét #1?", faces)
    assert plates_of_faceset(folder) == sorted([PLATE, "/plätes/ß.mov"])
    assert faceset_plates.INDEX_NAME == INDEX_NAME


def test_what_is_no_faceset_is_said(tmp_path):
    with pytest.raises(NotFound, match="not a faceset"):
        plates_of_faceset(tmp_path)
    (tmp_path / INDEX_NAME).write_bytes(b"no database at all, but long enough to look like one" * 40)
    with pytest.raises(DataCorrupt, match="cannot be read"):
        plates_of_faceset(tmp_path)


def test_a_plate_that_is_no_text_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / INDEX_NAME) as database:
        database.execute("CREATE TABLE plate (id INTEGER PRIMARY KEY, name)")
        database.execute("INSERT INTO plate VALUES (1, x'00ff')")
    database.close()
    with pytest.raises(DataCorrupt, match="no text"):
        plates_of_faceset(tmp_path)


def test_no_image_library_is_loaded_for_it():
    code = "import sys, dfldaemon.submission; print({'torch', 'cv2', 'OpenImageIO'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "set()"
