"""The label editor: a page for drawing include and exclude polygons on the aligned faces of a faceset.

``python -m dfldaemon.label_editor --faceset FOLDER`` serves it on loopback, to the one browser that was given its
token, for as long as the page is open. It is a process of its own: it decodes pictures, which the daemon never does.

=============  =====================================================================
module         what it does
=============  =====================================================================
workspace      faces, labels and masks of one faceset; knows no HTTP
pictures       what the page is shown, encoded for a browser
access         who may ask: Host, Origin, token, one-time ticket
lifetime       when to end: the page was closed, or nothing was heard of it
routes         the table of methods and paths, and what each answers
server         the HTTP server: limits, headers, errors
page/          the page itself: HTML, one style sheet, JavaScript modules, no build
=============  =====================================================================
"""
