"""Who may ask the editor anything: this machine's own browser, on the editor's own page, with this start's token.

A loopback port is reachable by every page the user's browser has open. What keeps them out:

- The ``Host`` must be exactly ours, so a name that an attacker's DNS points at 127.0.0.1 gets nowhere.
- The ``Origin`` must be exactly ours wherever a browser sends one, and has to be there for anything but a read.
- Every call of the API carries a token in a header of its own. A form cannot send that header, and a script of another
  origin may not without a CORS permission, which is never given.

The token is new for every start. It is printed inside the address, in the fragment, which browsers send nobody. The
browser we start ourselves gets a ticket instead, because a command line is visible to every user of the machine: it is
exchanged for the token once, and a ticket that is shown twice has been stolen, so the editor ends.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Mapping, Sequence

from dflcore.errors import Conflict, InvalidInput, NotFound

TOKEN_HEADER = "X-DFL-Token"
LOOPBACK = "127.0.0.1"
_TOKEN_BYTES = 32


class Refused(InvalidInput):
    """The request does not come from the editor's own page. Answered with 403, without saying more than needed."""

    default_reason = "REFUSED"


class TicketShownTwice(Conflict):
    """A one-time ticket came a second time: somebody else has seen it."""

    default_reason = "TICKET_SHOWN_TWICE"


class Access:
    """The checks of one start of the editor.

    Args:
        port: the port that is listened on.
    """

    def __init__(self, port: int) -> None:
        self.token = secrets.token_urlsafe(_TOKEN_BYTES)
        self._ticket = secrets.token_urlsafe(_TOKEN_BYTES)
        self._is_ticket_used = False
        self._lock = threading.Lock()
        self.host = f"{LOOPBACK}:{port}"
        self.origin = f"http://{self.host}"

    @property
    def address(self) -> str:
        """What the user opens; good for as long as the editor runs."""
        return f"{self.origin}/#token={self.token}"

    @property
    def ticket_address(self) -> str:
        """What a started browser is given; good once."""
        return f"{self.origin}/#ticket={self._ticket}"

    def check_sender(self, method: str, headers: Mapping[str, Sequence[str]]) -> None:
        """Refuse what was not sent by our own page to our own address.

        Args:
            headers: by lower-case name, every value that was sent.

        Raises:
            Refused: Host or Origin is another, missing where it has to be, or there twice.
        """
        if list(headers.get("host", ())) != [self.host]:
            raise Refused(f"The editor answers only as {self.host}.", reason="WRONG_HOST")
        origins = list(headers.get("origin", ()))
        if origins != [self.origin] and (origins or method != "GET"):
            raise Refused("The editor answers only to its own page.", reason="WRONG_ORIGIN")

    def check_call(self, headers: Mapping[str, Sequence[str]]) -> None:
        """Refuse a call of the API without the token, or from a page of another site.

        Raises:
            Refused: the token is missing or wrong, or the browser says the call is cross-site.
        """
        if list(headers.get("sec-fetch-site", ("same-origin",))) != ["same-origin"]:
            raise Refused("The editor answers only to its own page.", reason="WRONG_SITE")
        shown = list(headers.get(TOKEN_HEADER.lower(), ()))
        if len(shown) != 1 or not hmac.compare_digest(shown[0].encode(), self.token.encode()):
            raise Refused("This page may not speak to the editor; open the address it printed.", reason="WRONG_TOKEN")

    def redeem(self, ticket: str) -> str:
        """The token in exchange for the ticket.

        Raises:
            NotFound: it is no ticket of this start.
            TicketShownTwice: it was redeemed before.
        """
        if not hmac.compare_digest(ticket.encode(), self._ticket.encode()):
            raise NotFound("This link belongs to an editor that has ended; start it again.", reason="TICKET_UNKNOWN")
        with self._lock:
            if self._is_ticket_used:
                raise TicketShownTwice("The link was opened twice, by somebody else perhaps; the editor has ended.")
            self._is_ticket_used = True
        return self.token
