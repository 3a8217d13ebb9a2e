"""Words that artists read, the same in all hosts: errors, states, buttons."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import HostError
from .version import VERSION

SWAP_FRAME, SWAP_RANGE, UPDATE, CANCEL, SHOW_RESULT, REPORT = (
    "Swap Frame",
    "Swap Range",
    "Update",
    "Cancel",
    "Show Result",
    "Report…",
)
"""Buttons, in this order."""
EXTRACT, TRAIN = "Extract Faces", "Train"
NOT_CONNECTED, IDLE, STALE = "Not connected", "Idle", "Stale"
"""States beside those of a job, see :attr:`dflhost.jobs.JobStatus.text`."""

START_DAEMON, OPEN_PREFERENCES, TRY_AGAIN, OPEN_REPORT, NOTHING = "start", "preferences", "again", "report", ""
"""What a button beside an error may offer."""


@dataclass(frozen=True)
class Explanation:
    """An error in an artist's words.

    Attributes:
        sentence: what happened, one sentence. remedy: what to do, one sentence; may be empty.
        action: ``start`` (the daemon), ``preferences``, ``again``, ``report`` or empty.
    """

    sentence: str
    remedy: str
    action: str

    @property
    def text(self) -> str:
        """Both sentences."""
        return f"{self.sentence} {self.remedy}".strip()


_WORDS: Mapping[str, tuple[str, str, str]] = {
    # the way to the daemon
    "DAEMON_NOT_RUNNING": ("The face swap daemon is not running.", "Start it, then try again.", START_DAEMON),
    "DAEMON_GONE": (
        "The face swap daemon has stopped unexpectedly.",
        "Start it again; its jobs are kept.",
        START_DAEMON,
    ),
    "DAEMON_UNREACHABLE": (
        "The face swap daemon cannot be reached.",
        "Look whether its address in the preferences is right and whether it runs; its jobs are kept.",
        OPEN_PREFERENCES,
    ),
    "DAEMON_DID_NOT_START": ("The face swap daemon did not start.", "The report has the end of its log.", OPEN_REPORT),
    "DFL_NOT_INSTALLED": (
        "The face swap software was not found on this computer.",
        "Install it, or name its program `dfl` in the preferences.",
        OPEN_PREFERENCES,
    ),
    "DAEMON_IS_NEWER": (
        "The face swap daemon is newer than this integration.",
        "Update the integration with `dfl hosts install`.",
        NOTHING,
    ),
    "DAEMON_IS_OLDER": ("The face swap daemon is older than this integration.", "Update and restart it.", NOTHING),
    "DAEMON_TIMEOUT": ("The face swap daemon did not answer in time.", "It may be busy; try again.", TRY_AGAIN),
    "DAEMON_STOPPING": ("The face swap daemon is shutting down.", "Start it again; its jobs are kept.", START_DAEMON),
    "DAEMON_LOST": ("The face swap daemon was restarted too often during this job.", "See the report.", OPEN_REPORT),
    "SESSION_FILE_DAMAGED": ("The daemon's session file cannot be read.", "Restart the daemon.", START_DAEMON),
    "TOKEN_NOT_FOUND": (
        "The file with the daemon's token is not there.",
        "Restart the daemon, or name the file in the preferences.",
        OPEN_PREFERENCES,
    ),
    "TOKEN_NOT_READABLE": (
        "The daemon belongs to another user.",
        "Start one of your own, or name its token in the preferences.",
        START_DAEMON,
    ),
    "TOKEN_REFUSED": (
        "The daemon does not accept this workstation's token.",
        "It was restarted or is another user's: try again, or name the right token in the preferences.",
        OPEN_PREFERENCES,
    ),
    "CERTIFICATE_REFUSED": (
        "The daemon on the other machine could not prove who it is.",
        "Check the certificates and the server name in the preferences.",
        OPEN_PREFERENCES,
    ),
    "CERTIFICATE_NOT_USABLE": (
        "A certificate or key of this workstation cannot be used.",
        "Check the certificate files in the preferences.",
        OPEN_PREFERENCES,
    ),
    "OWN_CERTIFICATE_REFUSED": (
        "The daemon on the other machine does not accept this workstation's certificate.",
        "Name the certificate and key that were made for this workstation in the preferences.",
        OPEN_PREFERENCES,
    ),
    "BAD_ADDRESS": ("The daemon's address cannot be used.", "Write unix:/path or host:port.", OPEN_PREFERENCES),
    "BAD_PATH_MAP": ("The path map in the preferences cannot be read.", "", OPEN_PREFERENCES),
    "SESSION_CLOSED": ("The connection to the daemon was closed here.", "Connect again.", TRY_AGAIN),
    # what artists meet
    "JOB_NOT_FOUND": ("The daemon does not know this job any more.", "Swap the range again.", TRY_AGAIN),
    "PLATE_NOT_FOUND": ("The plate {path} was not found.", "Check the path; render the plate if it must be.", NOTHING),
    "FRAME_NOT_FOUND": ("Frame {frame} of the plate is not on disk.", "Check the range.", NOTHING),
    "FRAMES_MISSING": ("Frames of the plate are not on disk.", "Check the range, or skip missing frames.", NOTHING),
    "COLOR_SPACE_REQUIRED": ("The plate's colour space must be stated.", "Choose it for this plate.", NOTHING),
    "FRAME_CORRUPT": ("Frame {frame} of the plate is damaged.", "Render or copy it again.", NOTHING),
    "FACESET_NOT_FOUND": ("The faceset {path} was not found.", "Extract the faces of this plate first.", NOTHING),
    "FOLDER_NOT_FOUND": ("The folder {path} was not found.", "Check the path and the path map.", NOTHING),
    "NO_FACES_FOR_PLATE": (
        "The faceset holds no face of this plate.",
        "Extract the faces of this plate, or choose its faceset.",
        NOTHING,
    ),
    "NO_FACE_FOUND": ("No face was found.", "Look whether the right plate and range are chosen.", NOTHING),
    "EMPTY_FACESET": ("The faceset is empty.", "Extract faces first.", NOTHING),
    "MODEL_NOT_FOUND": ("There is no model at {path}.", "Choose a trained model.", NOTHING),
    "MODEL_NOT_TRAINED": ("The model was not trained yet.", "Train it first.", NOTHING),
    "MODEL_BUSY": ("The model is in use by another job.", "Wait for it or cancel it.", TRY_AGAIN),
    "FACESET_BUSY": ("The faceset is in use by another job.", "Wait for it or cancel it.", TRY_AGAIN),
    "OUTPUT_EXISTS": (
        "Frames made otherwise are there already; nothing was written.",
        "Use versions, another folder, or allow overwriting.",
        NOTHING,
    ),
    "OUTPUT_IS_PLATE": ("The output would overwrite the plate.", "Choose another folder.", NOTHING),
    "OUTPUT_IS_INPUT": ("The output would overwrite the input.", "Choose another folder.", NOTHING),
    "PATH_OUTSIDE_ROOTS": (
        "The daemon may not use {path}.",
        "Use a folder it may, or let its `roots` setting include this one; check the path map.",
        OPEN_PREFERENCES,
    ),
    "NOT_WRITABLE": (
        "The daemon may not write to {path}.",
        "Choose another folder or change its permissions.",
        NOTHING,
    ),
    "NO_PERMISSION": ("{path} may not be read or written.", "Change its permissions or choose another one.", NOTHING),
    "DISK_FULL": ("The disk is full.", "Make room, then press Update: finished frames are kept.", TRY_AGAIN),
    "OUT_OF_MEMORY": ("There was not enough memory.", "Close other programs or choose a smaller size.", TRY_AGAIN),
    "DEVICE_OUT_OF_MEMORY": (
        "The graphics card has not enough memory.",
        "Close other programs that use it, or choose a smaller batch or the CPU.",
        TRY_AGAIN,
    ),
    "INBOX_FULL": (
        "The daemon has no room for the files.",
        "Send fewer frames, wait for its jobs, or raise inbox_gb in its settings.",
        TRY_AGAIN,
    ),
    "FILE_CHANGED": ("{path} changed while it was sent.", "Send it again once it is finished.", TRY_AGAIN),
    "FILE_NOT_READABLE": ("{path} cannot be read.", "Check the file and its permissions.", TRY_AGAIN),
    "QUEUE_FULL": ("The daemon's queue is full.", "Try again later.", TRY_AGAIN),
    "WEIGHTS_MISSING": ("A network the job needs is not installed.", "Fetch it with `dfl weights fetch`.", OPEN_REPORT),
    "WORKER_KILLED": ("The process that did the work was ended from outside.", "Try again.", TRY_AGAIN),
    "WORKER_CRASHED": ("The process that did the work crashed.", "Try again; please send the report.", OPEN_REPORT),
    "FRAME_WORKER_LOST": ("The process that renders frames ended.", "Try again: another one starts.", TRY_AGAIN),
    "SUPERSEDED": ("A newer frame was asked for.", "", NOTHING),
    "MESSAGE_TOO_LARGE": ("That is too much for one call.", "Ask for a smaller picture or fewer frames.", NOTHING),
    "UNEXPECTED_ERROR": ("The integration met an error of its own.", "Please send the report.", OPEN_REPORT),
}
"""Reason → sentence, remedy, action. Words in braces are details of the error; without them the daemon's own message
is shown."""


def explain(error: HostError) -> Explanation:
    """An error in an artist's words, by its reason; a reason nobody wrote words for keeps the daemon's own.

    A frame the error names is named, unless the words have it already.
    """
    words = _WORDS.get(error.reason)
    if words is not None:
        sentence, remedy, action = words
        try:
            sentence = sentence.format_map(error.details)
        except KeyError:
            words = None
    if words is None:
        is_ours = error.category == "INTERNAL" and error.reason not in _WORDS
        return Explanation(error.message.strip() or error.reason, "", OPEN_REPORT if is_ours else NOTHING)
    frame = error.details.get("frame", "")
    if frame and frame not in sentence:
        sentence = f"Frame {frame}: {sentence}"
    return Explanation(sentence, remedy, action)


def report(error: HostError | None = None, **facts: object) -> str:
    """Text behind *Report…*: what went wrong, versions, and whatever the host knows; no token, no stack trace.

    Args:
        facts: name → value, shown in this order: settings, versions, the end of the daemon's log...
    """
    lines = [f"face swap client {VERSION}, Python {platform.python_version()}, {platform.platform()}"]
    if error is not None:
        words = explain(error)
        lines += ["", words.text, f"reason: {error.reason} ({error.category})"]
        lines += [f"message: {error.message}"] if error.message != words.sentence else []
        lines += [f"{name}: {value}" for name, value in sorted(error.details.items())]
    if facts:
        lines.append("")
    for name, value in facts.items():
        text = "\n".join(f"    {line}" for line in str(value).splitlines())
        lines.append(f"{name}:\n{text}" if "\n" in str(value) else f"{name}: {value}")
    return "\n".join(lines) + "\n"
