"""Facesets of the reference implementation: JPEG with metadata, ``faceset.pak``, ``meta.dat``. Nothing is executed.

Convention:
    The reference counts points from the *centre* of the top-left pixel (OpenCV's way: a transform and the points it
    moves name pixels by whole numbers), this product from its corner. Everything in this package that is called
    legacy is in the reference's count; :mod:`dflcore.curate.interchange` converts. Label polygons are the exception:
    the reference's editor counts them from the corner, and cuts them to the pixel they lie in.
"""
