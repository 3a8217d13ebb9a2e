from dflcore import errors


def test_every_class_has_its_own_reason_and_is_listed() -> None:
    subclasses = set(errors.DflError.__subclasses__())
    assert subclasses == set(errors.ERROR_CLASSES)
    reasons = [cls.default_reason for cls in errors.ERROR_CLASSES]
    assert len(set(reasons)) == len(reasons)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    for cls in errors.ERROR_CLASSES:
        assert cls.__name__ in errors.__doc__


def test_details_are_plain_text() -> None:
    error = errors.NotFound("No plate a.exr.", reason="PLATE_NOT_FOUND", frame=3, path="a.exr")
    assert str(error) == "No plate a.exr."
    assert error.details == {"frame": "3", "path": "a.exr"}
    assert errors.NotFound("x").reason == "NOT_FOUND"
