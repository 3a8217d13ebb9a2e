"""Menu script of DaVinci Resolve: tries the integration on a scratch project and writes a report."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(globals().get("__file__") or (sys.argv or [""])[0]))
HOME = os.path.expanduser("~")
FUSION = (  # of this user, on each system; a menu script is not always told where it lies
    os.path.join(HERE, "..", ".."),
    os.path.join(HOME, "Library", "Application Support", "Blackmagic Design", "DaVinci Resolve", "Fusion"),
    os.path.join(os.environ.get("APPDATA", HOME), "Blackmagic Design", "DaVinci Resolve", "Support", "Fusion"),
    os.path.join(HOME, ".local", "share", "DaVinciResolve", "Fusion"),
)
for folder in [os.environ.get("DFL_RESOLVE_PACKAGE", ""), HERE] + [os.path.join(one, "DFL") for one in FUSION]:
    if folder and os.path.isdir(os.path.join(folder, "dflresolve")):
        sys.path.insert(0, os.path.abspath(folder))
        break

from dflresolve import selftest  # noqa: E402 - found by the lines above

given = globals()
app = given.get("resolve") or (given["bmd"].scriptapp("Resolve") if given.get("bmd") else None)
selftest.tell(app, given.get("fusion") or given.get("fu"), given.get("bmd"))
