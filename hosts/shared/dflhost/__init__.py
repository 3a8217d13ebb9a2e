"""What every host integration shares: the daemon's client in pure Python, and the words artists read.

Needs the standard library of Python 3.9 and three pure packages (h2, hpack, hyperframe), which :mod:`dflhost.vendor`
copies under the private name ``_vendor`` when a host is installed. Neither gRPC nor protobuf nor numpy is imported,
and no host: everything here is tested without one. Imports between the modules are relative, so that the folder works
under any name.

Start with :func:`dflhost.session.connect`. Rules that hold for all hosts: the interface's thread calls nothing that
waits (a :class:`~dflhost.jobs.Job` and a :class:`~dflhost.tasks.Task` are made for it), no thread of ours calls the
host, and a timer of the host's own drains what has happened.
"""
