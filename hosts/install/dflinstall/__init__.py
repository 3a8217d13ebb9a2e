"""Installs the integrations into Nuke, Blender and DaVinci Resolve, takes them out again, and says what is wrong.

``dfl hosts install|uninstall|doctor nuke|blender|resolve`` runs this as ``python -m dflinstall``. Every command may be
given twice: the second time changes nothing. Nothing is touched but what the list of installed files
(:mod:`dflinstall.installed`) names; a file somebody changed is kept and named. A command that is killed leaves what
was there before, or what was asked for; the next one clears up.
"""
