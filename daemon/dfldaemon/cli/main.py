"""The command ``dfl``: reads flags and environment, runs one command, turns errors into a sentence and an exit code.

Kept light: commands are modules of this package that are imported when they are asked for, so that ``dfl --help`` loads
neither gRPC nor torch.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dflcore.errors import DflError, Internal, Unsupported
from dfldaemon.cli.exit_codes import INTERRUPTED
from dfldaemon.cli.output import Output
from dfldaemon.cli.parser import build_parser
from dfldaemon.cli.session import CliSession
from dfldaemon.discovery import state_folder
from dfldaemon.jobs import INSTALL_COMMAND

ADDRESS_VARIABLE = "DFL_ADDRESS"
TOKEN_FILE_VARIABLE = "DFL_TOKEN_FILE"


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run one command and return its exit code; see :mod:`dfldaemon.cli.exit_codes`."""
    output = Output(is_json="--json" in (sys.argv if arguments is None else arguments))
    try:
        options = build_parser().parse_args(arguments)
        output = Output(is_json=options.json, is_quiet=options.quiet)
        return _run(options, output, os.environ if environ is None else environ)
    except DflError as error:
        return output.error(error)
    except KeyboardInterrupt:
        output.remark("Stopped.")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our lines left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERRUPTED
    except ImportError as error:
        if os.environ.get("DFL_TRACEBACK"):
            raise
        message = f"A part that this command needs is not installed ({error}); run `{INSTALL_COMMAND}`."
        return output.error(Unsupported(message, reason="NOT_INSTALLED"))
    except Exception as error:  # the edge of the process: no stack trace for people
        if os.environ.get("DFL_TRACEBACK"):
            raise
        message = f"{type(error).__name__}: {error}. This is a defect; set DFL_TRACEBACK=1 to see where, and report it."
        return output.error(Internal(message, reason="UNEXPECTED_ERROR"))


def _run(options: argparse.Namespace, output: Output, environ: Mapping[str, str]) -> int:
    token_file = environ.get(TOKEN_FILE_VARIABLE)
    session = CliSession(
        output=output,
        environ=environ,
        state_dir=state_folder(environ),
        working_dir=Path.cwd(),
        address=options.address or environ.get(ADDRESS_VARIABLE, ""),
        token_path=Path(token_file) if token_file else None,
    )
    module_name, _, function_name = str(options.command).partition(":")
    command = getattr(importlib.import_module(f"dfldaemon.cli.{module_name}"), function_name)
    return int(command(session, options))


if __name__ == "__main__":
    raise SystemExit(main())
