"""Where a new model may be made."""

from pathlib import Path

import pytest

from dflcore.errors import Conflict
from dflcore.models.new_folder import check_free
from small_facesets import noise_faceset


def test_new_and_empty_folders_are_free(tmp_path: Path) -> None:
    check_free(tmp_path / "new" / "deep")
    (tmp_path / ".lock").touch()
    check_free(tmp_path)


def test_what_holds_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="is a faceset"):
        check_free(noise_faceset(tmp_path / "faces", 1))
    with pytest.raises(Conflict, match="holds other things"):
        check_free(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(Conflict, match="is a file"):
        check_free(tmp_path / "file")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "new_SAEHD_data.dat").touch()
    with pytest.raises(Conflict, match="dfl model import"):
        check_free(tmp_path / "old")


@pytest.mark.parametrize("inside", [".", "generations", "generations/00000001", "mine"])
def test_a_model_holds_no_other(tmp_path: Path, inside: str) -> None:
    (tmp_path / "model.json").touch()
    with pytest.raises(Conflict, match="holds a model already" if inside == "." else "lies inside the model"):
        check_free(tmp_path / inside)
