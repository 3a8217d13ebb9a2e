"""Version of this client; the daemon's log shows it. A test holds it to the distribution's."""

VERSION = "0.1.0"
