"""Buttons and states in the order in which every host shows them, with their tool tips; words are ``messages``'s."""

from __future__ import annotations

from .messages import (
    CANCEL,
    EXTRACT,
    IDLE,
    NOT_CONNECTED,
    REPORT,
    SHOW_RESULT,
    STALE,
    SWAP_FRAME,
    SWAP_RANGE,
    TRAIN,
    UPDATE,
)

MENU = "Face Swap"
"""Name of the tab, menu or panel."""
START_DAEMON_BUTTON, CONNECT_BUTTON = "Start Daemon", "Connect"
SETTINGS, MODEL, SOURCE, TARGET, FACES, OUTPUT, FRAMES = (
    "Settings",
    "Model",
    "Source",
    "Target",
    "Faces",
    "Output",
    "Frames",
)
"""Headings and labels of what a swap is made from."""
FIELDS = (FRAMES, SOURCE, FACES, MODEL, OUTPUT)
"""In the order in which every host asks for them, above the buttons."""
SETTINGS_BUTTON, CONNECTION_BUTTON = "Settings…", "Connection…"
CONNECTING, SENDING = "Connecting", "Sending plates"

STEPS = (EXTRACT, TRAIN)
BUTTONS = (SWAP_FRAME, SWAP_RANGE, UPDATE, CANCEL, SHOW_RESULT, REPORT)
STATES = (NOT_CONNECTED, IDLE, SENDING, "Queued", "Merging", "Done", STALE, "Failed")
"""First words of a state line; :attr:`dflhost.jobs.JobStatus.text` adds the numbers."""

TOOL_TIPS = {
    SWAP_FRAME: "Swap the face in the current frame and show it",
    SWAP_RANGE: "Swap the face in all frames and bring the result into this project",
    UPDATE: "Make again only what is out of date: new settings or a newer model go to a new version",
    CANCEL: "Stop after the frame being made; finished frames are kept",
    SHOW_RESULT: "Show the newest result",
    REPORT: "Open a text with the settings, versions and what went wrong, to pass on",
    EXTRACT: "Find the faces of this footage and keep them as a faceset",
    TRAIN: "Train the model on the source and target faces; pressing it again goes on where it stopped",
    SETTINGS_BUTTON: "Change how the face is swapped; what is not changed is the daemon's own choice",
    CONNECTION_BUTTON: "Say where the face swap daemon is, when it is on another computer",
    CONNECT_BUTTON: "Look for the face swap daemon",
    START_DAEMON_BUTTON: "Start the face swap daemon on this computer",
}
"""Button → one sentence without a full stop, as hosts write tool tips."""
