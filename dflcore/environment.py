"""What this machine can run: system libraries the wheels need, and the versions that are installed.

``python -m dflcore.environment`` is the last step of the set-up; it says in one sentence what is missing.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import platform
import sys
from importlib import metadata

from dflcore.errors import Unsupported
from dflcore.version import __version__

PACKAGES = (
    "torch",
    "numpy",
    "opencv-python",
    "OpenImageIO",
    "opencolorio",
    "av",
    "dlib-bin",
    "face-alignment",
    "onnxruntime",
    "safetensors",
    "grpcio",
    "protobuf",
    "pydantic",
)
MODULES = ("cv2", "OpenImageIO", "PyOpenColorIO", "av", "dlib", "safetensors")
"""Imported by the check; torch is left out because a broken one says so itself and takes seconds."""


def check_system_libraries() -> None:
    """Make sure that the compiled packages can be loaded.

    Raises:
        Unsupported: names the missing system package and how to install it.
    """
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libGL.so.1")
        except OSError as error:
            raise Unsupported(
                "opencv-python needs the system library libGL.so.1, which is not here. Install it: "
                "Debian/Ubuntu `apt-get install libgl1`, Fedora/Rocky `dnf install mesa-libGL`.",
                reason="SYSTEM_LIBRARY_MISSING",
                library="libGL.so.1",
            ) from error
    for module in MODULES:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise Unsupported(
                f"The package behind `import {module}` cannot be loaded: {error}. Run the set-up again (`make test`), "
                "or install the extras with `pip install 'dfl-compositor[core,daemon]'`.",
                reason="PACKAGE_MISSING",
                module=module,
            ) from error


def package_versions() -> dict[str, str]:
    """Version of each package that matters, empty where it is not installed."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = ""
    return versions


def installed_versions() -> dict[str, str]:
    """What a report states: ours, Python's, and those of :func:`package_versions`."""
    return {"dfl": __version__, "python": platform.python_version(), **package_versions()}


def processor_name() -> str:
    """The processor as the system calls it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            names = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def machine_name() -> str:
    """Processor, cores and system in one line, as benchmarks and reports state it."""
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    return f"{processor_name()}, {os.cpu_count()} cores, {system}"


def main() -> int:
    """Check, and say the result in one line."""
    try:
        check_system_libraries()
    except Unsupported as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    versions = ", ".join(f"{name} {version or '-'}" for name, version in installed_versions().items())
    sys.stdout.write(f"Ready on {machine_name()}: {versions}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
