"""Make everything that is made from ``protos/dflproto/v1/*.proto``.

::

    python protos/generate.py            write the files into the repository
    python protos/generate.py --check    write them elsewhere; list what differs, and leave 1 if anything does

Written are the messages (``*_pb2.py``), the services (``*_pb2_grpc.py``), type stubs of both, the digest of the schema,
and ``hosts/shared/dflhost/schema.py``: the same schema as plain Python literals for the hosts, which have no protobuf.

The generator is old on purpose: code from protobuf 5.29 runs on every later runtime, newer code refuses older ones. It
lives in an environment of its own under ``build/``, made when it is missing.
"""

from __future__ import annotations

import argparse
import filecmp
import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
PROTO_ROOT = REPOSITORY / "protos"
PACKAGE_FOLDER = Path("dflproto", "v1")
SCHEMA_PATH = Path("hosts", "shared", "dflhost", "schema.py")
DIGEST_NAME = "schema_digest.py"
ENVIRONMENT = REPOSITORY / "build" / "protoc-venv"
REQUIREMENTS = (
    "grpcio-tools==1.71.2",
    "grpcio==1.71.2",
    "protobuf==5.29.5",
    "setuptools<80",
    "mypy-protobuf==3.6.0",
    "googleapis-common-protos==1.70.0",
)
FOREIGN_MESSAGES = ("google.protobuf.Timestamp", "google.protobuf.Any", "google.rpc.Status", "google.rpc.ErrorInfo")
"""Messages of others that hosts meet: in fields, and in the details of a failed call."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; list files that are not current")
    parser.add_argument("--schema-from", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.schema_from:
        write_schema(Path(options.schema_from))
        return 0
    with tempfile.TemporaryDirectory(prefix="dflproto-") as folder:
        fresh = generate(Path(folder))
        stale = [path for path in fresh if not _equals(Path(folder) / path, REPOSITORY / path)]
        orphaned = [path for path in _present() if path not in fresh]
        if options.check:
            for path in stale + orphaned:
                sys.stderr.write(f"not current: {path}\n")
            return 1 if stale or orphaned else 0
        for path in stale:
            shutil.copyfile(Path(folder) / path, REPOSITORY / path)
        for path in orphaned:
            (REPOSITORY / path).unlink()
        sys.stderr.write(f"{len(stale)} files written, {len(orphaned)} removed, {len(fresh)} in all\n")
    return 0


def generate(folder: Path) -> list[Path]:
    """Write everything below ``folder`` in the layout of the repository; answers with the relative paths."""
    python = generator_python()
    out = folder / "protos"
    out.mkdir()
    sources = sorted(str(path) for path in (PROTO_ROOT / PACKAGE_FOLDER).glob("*.proto"))
    services = [path for path in sources if path.endswith("_service.proto")]
    environment = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    protoc = [str(python), "-m", "grpc_tools.protoc", f"-I{PROTO_ROOT}"]
    messages = [f"--python_out={out}", f"--pyi_out={out}", f"--descriptor_set_out={out / 'set.binpb'}"]
    subprocess.run([*protoc, *messages, *sources], env=environment, check=True)
    stubs = [f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}"]
    subprocess.run([*protoc, *stubs, *services], env=environment, check=True)
    digest = hashlib.sha256((out / "set.binpb").read_bytes()).hexdigest()
    (out / "set.binpb").unlink()
    text = f'"""Made by protos/generate.py. DO NOT EDIT!"""\n\nSCHEMA_DIGEST = "{digest}"\n'
    (out / PACKAGE_FOLDER / DIGEST_NAME).write_text(text, "utf-8")
    subprocess.run([str(python), __file__, "--schema-from", str(folder)], check=True)
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")


def generator_python() -> Path:
    """The interpreter of the generator's environment, which is made or remade when it is not as required."""
    python = ENVIRONMENT / "bin" / "python"
    marker = ENVIRONMENT / "requirements.txt"
    wanted = "\n".join(REQUIREMENTS)
    if not marker.is_file() or marker.read_text("utf-8") != wanted:
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        venv.create(ENVIRONMENT, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
        marker.write_text(wanted, "utf-8")
    return python


def write_schema(folder: Path) -> None:
    """The hosts' table, from the messages just generated below ``folder``. Runs in the generator's environment."""
    sys.path[0] = str(folder / "protos")  # in place of the repository's own
    sys.dont_write_bytecode = True
    names = sorted(path.stem for path in (folder / "protos" / PACKAGE_FOLDER).glob("*_pb2.py"))
    files = [importlib.import_module(f"dflproto.v1.{name}").DESCRIPTOR for name in names]
    digest = importlib.import_module("dflproto.v1.schema_digest").SCHEMA_DIGEST
    path = folder / SCHEMA_PATH
    path.parent.mkdir(parents=True)
    path.write_text(schema_text(files, digest), "utf-8")


SCHEMA_HEAD = '''\
"""The wire protocol as plain values, for the hosts' own codec. Made by protos/generate.py. DO NOT EDIT!

MESSAGES
    full name -> list of rows (number, field name, label, type, type name, oneof name).
    label: single, optional (presence counts), repeated, or map (repeated entries of type ``type name``, which has the
    rows 1 key and 2 value). type: string, bytes, bool, int32, int64, float, double, message or enum; type name: of
    the last two, else empty. Repeated numbers are packed. oneof name: empty when the field is in none.
ENUMS
    full name -> value name -> number.
SERVICES
    full name -> method name -> (request, response, whether a stream is answered).
DIGEST
    equals GetServerInfoResponse.schema_digest of a daemon of the same build.
"""
'''


def schema_text(files: list[Any], digest: str) -> str:
    """Source of ``dflhost/schema.py``."""
    from google.protobuf import any_pb2, timestamp_pb2
    from google.rpc import error_details_pb2, status_pb2

    foreign = [timestamp_pb2.DESCRIPTOR, any_pb2.DESCRIPTOR, status_pb2.DESCRIPTOR, error_details_pb2.DESCRIPTOR]
    messages: dict[str, Any] = {}
    for file in [*files, *foreign]:
        for message in file.message_types_by_name.values():
            if file in files or message.full_name in FOREIGN_MESSAGES:
                _collect(message, messages)
    lines = [SCHEMA_HEAD, f'DIGEST = "{digest}"', "", "MESSAGES = {"]
    for name in sorted(messages):
        lines += _message_lines(messages[name])
    lines += ["}", "", "ENUMS = {"]
    for enum in sorted((enum for file in files for enum in file.enum_types_by_name.values()), key=_full_name):
        lines += [f'    "{enum.full_name}": {{']
        lines += [f'        "{value.name}": {value.number},' for value in enum.values] + ["    },"]
    lines += ["}", "", "SERVICES = {"]
    for service in sorted((one for file in files for one in file.services_by_name.values()), key=_full_name):
        lines += [f'    "{service.full_name}": {{', *map(_method_line, service.methods), "    },"]
    return "\n".join([*lines, "}", ""])


def _full_name(descriptor: Any) -> str:
    return str(descriptor.full_name)


def _collect(message: Any, into: dict[str, Any]) -> None:
    into[message.full_name] = message
    for nested in message.nested_types:
        _collect(nested, into)


def _message_lines(message: Any) -> list[str]:
    if not message.fields:
        return [f'    "{message.full_name}": [],']
    rows = [f"        {_row(field)}," for field in sorted(message.fields, key=lambda field: int(field.number))]
    return [f'    "{message.full_name}": [', *rows, "    ],"]


def _row(field: Any) -> str:
    words = [field.name, _label(field), _type_name(field), "", ""]
    if field.message_type is not None or field.enum_type is not None:
        words[3] = (field.message_type or field.enum_type).full_name
    if field.containing_oneof is not None and not _is_optional(field):
        words[4] = field.containing_oneof.name
    return f"({field.number}, " + ", ".join(f'"{word}"' for word in words) + ")"


def _label(field: Any) -> str:
    if field.label == field.LABEL_REPEATED:
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        return "map" if is_map else "repeated"
    return "optional" if _is_optional(field) else "single"


def _is_optional(field: Any) -> bool:
    """Declared ``optional``: proto3 puts such a field into a oneof of its own, named after it with an underscore."""
    oneof = field.containing_oneof
    return oneof is not None and len(oneof.fields) == 1 and oneof.name == f"_{field.name}"


def _type_name(field: Any) -> str:
    names = {getattr(field, name): name[len("TYPE_") :].lower() for name in dir(field) if name.startswith("TYPE_")}
    return names[field.type]


def _method_line(method: Any) -> str:
    request, response = method.input_type.full_name, method.output_type.full_name
    return f'        "{method.name}": ("{request}", "{response}", {method.server_streaming}),'


def _present() -> list[Path]:
    """Generated files in the repository."""
    folder = PROTO_ROOT / PACKAGE_FOLDER
    found = [path for pattern in ("*_pb2.py*", "*_pb2_grpc.py*", DIGEST_NAME) for path in folder.glob(pattern)]
    return [path.relative_to(REPOSITORY) for path in found if path.suffix in (".py", ".pyi")]


def _equals(fresh: Path, present: Path) -> bool:
    return present.is_file() and filecmp.cmp(fresh, present, shallow=False)


if __name__ == "__main__":
    sys.exit(main())
