"""Menu script of DaVinci Resolve, found under Workspace, Scripts. The package lies in DFL beside the Scripts folder."""

# ruff: noqa: T201, UP032, UP036 - an older Python than ours must be able to read this file and say so in the console
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

if sys.version_info < (3, 9):
    print("Face Swap needs Python 3.9 or newer; this is {}.{}.".format(*sys.version_info[:2]))
else:
    try:
        from dflresolve.start import main
    except ImportError as error:
        print("Face Swap is not installed properly ({}): run `dfl hosts install resolve`.".format(error))
    else:
        given = globals()
        app = given.get("resolve") or (given["bmd"].scriptapp("Resolve") if given.get("bmd") else None)
        main(app, given.get("fusion") or given.get("fu"), given.get("bmd"))
