"""The HTTP/2 state machine: the copy that :mod:`dflhost.vendor` made, else the installed package."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.errors import ErrorCodes
    from h2.events import (
        DataReceived,
        Event,
        PingAckReceived,
        RemoteSettingsChanged,
        ResponseReceived,
        StreamEnded,
        StreamReset,
        TrailersReceived,
        WindowUpdated,
    )
    from h2.exceptions import ProtocolError
    from h2.settings import SettingCodes
else:
    try:
        from .._vendor.h2 import config, connection, errors, events, exceptions, settings
    except ImportError:
        from h2 import config, connection, errors, events, exceptions, settings
    H2Configuration = config.H2Configuration
    H2Connection = connection.H2Connection
    ErrorCodes = errors.ErrorCodes
    DataReceived = events.DataReceived
    Event = events.Event
    PingAckReceived = events.PingAckReceived
    RemoteSettingsChanged = events.RemoteSettingsChanged
    ResponseReceived = events.ResponseReceived
    StreamEnded = events.StreamEnded
    StreamReset = events.StreamReset
    TrailersReceived = events.TrailersReceived
    WindowUpdated = events.WindowUpdated
    ProtocolError = exceptions.ProtocolError
    SettingCodes = settings.SettingCodes

__all__ = [
    "DataReceived",
    "ErrorCodes",
    "Event",
    "H2Configuration",
    "H2Connection",
    "PingAckReceived",
    "ProtocolError",
    "RemoteSettingsChanged",
    "ResponseReceived",
    "SettingCodes",
    "StreamEnded",
    "StreamReset",
    "TrailersReceived",
    "WindowUpdated",
]
