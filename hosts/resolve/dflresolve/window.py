"""The window, made of Resolve's own widgets (UIManager), whose timer moves everything on.

Resolve draws the widgets from tables; a window's widgets cannot be changed once it is there, so the daemon's settings
get a window of their own when they are known.
"""

from __future__ import annotations

import contextlib
import html
from collections.abc import Callable, Mapping
from typing import Any

from dflhost.errors import HostError
from dflhost.folders import KnownFolder
from dflhost.knobs import BOOL, CHOICE, FLOAT, INT, KnobSpec, Value, changed_settings
from dflhost.messages import (
    CANCEL,
    EXTRACT,
    REPORT,
    SHOW_RESULT,
    SWAP_FRAME,
    SWAP_RANGE,
    TRAIN,
    UPDATE,
    explain,
)
from dflhost.words import (
    CONNECT_BUTTON,
    FACES,
    FRAMES,
    MENU,
    MODEL,
    OUTPUT,
    SETTINGS,
    SOURCE,
    START_DAEMON_BUTTON,
    TARGET,
    TOOL_TIPS,
)

from .app import SCOPES, App
from .desk import Run
from .orders import EXTRACT_SOURCE, EXTRACT_TARGET, HANDLED, PLATE_TIPS, PLATES
from .place import PLACE_TIPS, PLACES

WINDOW, SETTINGS_WINDOW, REPORT_WINDOW = "dflFaceSwap", "dflSettings", "dflReport"
EXTRACT_OF_SOURCE, EXTRACT_OF_TARGET = f"{EXTRACT}: {SOURCE}", f"{EXTRACT}: {TARGET}"
ROWS = (
    (EXTRACT_OF_SOURCE, EXTRACT_OF_TARGET, TRAIN),
    (SWAP_FRAME, SWAP_RANGE, UPDATE),
    (CANCEL, SHOW_RESULT, REPORT),
)
"""The steps, in the order of all hosts."""
SETTINGS_OF = {
    "merge": (f"Swap {SETTINGS}…", "settings", HANDLED),
    "extract": (f"Extract {SETTINGS}…", "extract_settings", frozenset({"input_colorspace"})),
    "train": (f"Train {SETTINGS}…", "train_settings", frozenset()),
}
"""Kind of job → button, field of the preferences, settings that the window's own fields decide."""
FIELDS = {
    "Source": "source",
    "Faces": "faces",
    "Model": "model",
    "Folder": "folder",
    "Frames": "frames",
    "ColorSpace": "color_space",
}
"""Name of a line → field of the preferences."""
MENUS = {"Source": "SourceMenu", "Faces": "FacesMenu", "Model": "ModelMenu"}
"""Name of a line → the menu beside it, of what the daemon knows."""
_KNOWN = "Known…"
CONNECTION, CONNECTION_WINDOW = "Connection…", "dflConnection"
TIMER = "dflTimer"
INTERVAL_MS = 200
LOOK_TICKS = 15
"""So often the playhead is looked at while nothing is done: another clip may have a result that is out of date."""
_WIDE, _LABEL = 0.8, 0.2
_LIMIT = 1_000_000.0
"""Of a number whose setting has no limit; the widget wants one."""
_CONNECTION_FIELDS = (
    ("address", "Address", "Of the daemon, host:port or unix:/path; empty finds the one of this computer"),
    ("token_path", "Token file", "Of a daemon on another machine"),
    ("ca_path", "Certificates", "File that a daemon on another machine is known by"),
    ("certificate_path", "Own certificate", "File that a daemon on another machine knows this computer by"),
    ("key_path", "Own key", "File with the key of that certificate"),
    ("path_map", "Path map", "Folder here=folder on the daemon's machine, several joined by semicolons"),
)


def open_window(app: App) -> bool:
    """Show the window until it is closed; answers False where this Resolve has none to give."""
    ui = getattr(app.host.fusion, "UIManager", None) if app.host.fusion is not None else None
    make = getattr(app.host.bmd, "UIDispatcher", None) if app.host.bmd is not None else None
    if not ui or not callable(make):
        return False
    dispatcher = make(ui)
    if not dispatcher:
        return False
    there = ui.FindWindow(WINDOW)
    if there:  # a second start brings the first one's window to the front
        there.Show()
        there.Raise()
        return True
    Window(app, ui, dispatcher).show()
    return True


class Window:
    """The main window."""

    def __init__(self, app: App, ui: Any, dispatcher: Any) -> None:
        self._app, self._ui, self._dispatcher = app, ui, dispatcher
        self._others: list[Any] = []
        self._timer: Any = None
        self._stale = self._shown = ""
        self._ticks = 0
        self._said: list[str] = []
        self._told: HostError | None = None
        self._listed: Any = None
        self._known: dict[str, list[str]] = {line: [] for line in MENUS}
        self._window = dispatcher.AddWindow(
            {"ID": WINDOW, "WindowTitle": MENU, "Geometry": [200, 120, 620, 640]}, [self._layout()]
        )
        self._items = self._window.GetItems()
        self._items["Scope"].AddItems(list(SCOPES))
        self._items["Place"].AddItems(list(PLACES))
        self._items["Plates"].AddItems(list(PLATES))
        for menu in MENUS.values():
            self._items[menu].AddItems([_KNOWN])
        self._fill()
        self._connect()

    def show(self) -> None:
        """Until it is closed."""
        self._timer = self._ui.Timer({"ID": TIMER, "Interval": INTERVAL_MS})
        self._dispatcher.On.Timeout = self._guarded(self._tick)
        self._window.Show()
        self._timer.Start()
        self._guarded(self._greet)(None)
        try:
            self._dispatcher.RunLoop()
        finally:
            self._timer.Stop()
            for one in (*self._others, self._window):
                one.Hide()
            self._app.desk.close()

    @property
    def widget_count(self) -> int:
        """Of those with a name."""
        return len(self._items)

    def _layout(self) -> Any:
        ui = self._ui
        tips = {"Place": PLACE_TIPS, "Plates": PLATE_TIPS}
        combos = {
            name: ui.ComboBox({"ID": name, "Weight": _WIDE, "ToolTip": _tips(tips.get(name, {}))})
            for name in ("Scope", "Place", "Plates")
        }
        rows = [
            self._row("Clip", combos["Scope"]),
            self._row(
                FRAMES,
                self._line(
                    "Frames",
                    "As the clip's files are numbered, 1 to its length where Resolve "
                    "renders it; empty is the whole clip",
                ),
            ),
            self._row(SOURCE, *self._folder("Source", "Faceset of the person whose face is put on, for training")),
            self._row(FACES, *self._folder("Faces", "Faceset of this clip; empty keeps one per clip in the output")),
            self._row(MODEL, *self._folder("Model", "Folder of the model; empty trains one in the output")),
            self._row(OUTPUT, self._line("Folder", "For plates, facesets and results"), self._browse("Folder")),
            self._row("Result as", combos["Place"]),
            self._row("Plate", combos["Plates"]),
            self._row(
                "Color space",
                self._line("ColorSpace", "Of the plate, for example ACEScg; files that say it themselves need none"),
            ),
            *(ui.HGroup({"Weight": 0}, [self._button(label) for label in row]) for row in ROWS),
            ui.Label({"ID": "State", "Text": "", "Weight": 0, "WordWrap": True}),
            ui.TextEdit({"ID": "Notes", "ReadOnly": True, "Weight": 1}),
            ui.HGroup({"Weight": 0}, [self._button(label) for label, _, _ in SETTINGS_OF.values()]),
            ui.HGroup({"Weight": 0}, [*map(self._button, (CONNECTION, CONNECT_BUTTON, START_DAEMON_BUTTON))]),
        ]
        return ui.VGroup({"Spacing": 6}, rows)

    def _row(self, label: str, *widgets: Any) -> Any:
        ui = self._ui
        return ui.HGroup({"Weight": 0}, [ui.Label({"Text": label, "Weight": _LABEL}), *widgets])

    def _line(self, name: str, tip: str) -> Any:
        return self._ui.LineEdit({"ID": name, "ToolTip": tip, "Weight": _WIDE})

    def _folder(self, name: str, tip: str) -> tuple[Any, Any, Any]:
        """A path, the menu of what the daemon knows, and a way to look for it."""
        menu = self._ui.ComboBox({"ID": MENUS[name], "Weight": 0, "ToolTip": "What the daemon knows"})
        return self._line(name, tip), menu, self._browse(name)

    def _browse(self, line: str) -> Any:
        return self._ui.Button({"ID": f"Browse{line}", "Text": "…", "Weight": 0})

    def _button(self, label: str) -> Any:
        tip = TOOL_TIPS.get(label, TOOL_TIPS[EXTRACT] if label.startswith(EXTRACT) else "")
        return self._ui.Button({"ID": button_id(label), "Text": label, "ToolTip": tip})

    def _fill(self) -> None:
        chosen, items = self._app.preferences, self._items
        for line, name in FIELDS.items():
            items[line].Text = getattr(chosen, name)
        items["Place"].CurrentIndex = PLACES.index(chosen.choices.place)
        items["Plates"].CurrentIndex = PLATES.index(chosen.choices.plates)

    def _connect(self) -> None:
        on, app = self._window.On, self._app
        actions: dict[str, Callable[[], None]] = {
            EXTRACT_OF_SOURCE: lambda: app.extract(self._scope, EXTRACT_SOURCE),
            EXTRACT_OF_TARGET: lambda: app.extract(self._scope, EXTRACT_TARGET),
            TRAIN: lambda: app.train(self._scope),
            SWAP_FRAME: lambda: app.swap_frame(self._show_still),
            SWAP_RANGE: lambda: app.swap_range(self._scope),
            UPDATE: lambda: app.update(self._scope),
            CANCEL: app.desk.cancel,
            SHOW_RESULT: lambda: app.show_result(self._scope),
            REPORT: self._show_report,
            CONNECTION: self._show_connection,
            CONNECT_BUTTON: app.desk.connect,
            START_DAEMON_BUTTON: lambda: app.desk.connect(start=True),
            **{label: self._settings_asker(kind) for kind, (label, _, _) in SETTINGS_OF.items()},
        }
        for label, action in actions.items():
            on[button_id(label)].Clicked = self._guarded(self._pressed(action))
        for line in (*MENUS, "Folder"):
            on[f"Browse{line}"].Clicked = self._guarded(self._browser(line))
        for line, menu in MENUS.items():
            on[menu].CurrentIndexChanged = self._guarded(self._picker(line))
        on[WINDOW].Close = self._guarded(lambda _: self._dispatcher.ExitLoop())

    def _guarded(self, action: Callable[[Any], object]) -> Callable[[Any], None]:
        """Where Resolve calls us: an error ends in the window, never in the console."""

        def call(event: Any = None) -> None:
            try:
                action(event)
            except Exception as error:  # the edge between Resolve and us
                self._show_error(error)

        return call

    def _pressed(self, action: Callable[[], object]) -> Callable[[Any], None]:
        def press(_: Any) -> None:
            self._app.error = None
            self._stale, self._said, self._told = "", [], None
            self._write_notes("")
            self._keep()
            action()
            self._tick(None)

        return press

    def _browser(self, field: str) -> Callable[[Any], None]:
        def browse(_: Any) -> None:
            path = self._app.host.fusion.RequestDir(self._items[field].Text)
            if path:
                self._items[field].Text = str(path)

        return browse

    def _picker(self, line: str) -> Callable[[Any], None]:
        def pick(_: Any) -> None:
            index = int(self._items[MENUS[line]].CurrentIndex or 0)
            if 0 < index <= len(self._known[line]):
                self._items[line].Text = self._known[line][index - 1]

        return pick

    @property
    def _scope(self) -> str:
        return SCOPES[int(self._items["Scope"].CurrentIndex or 0)]

    def _keep(self) -> None:
        items, app = self._items, self._app
        texts = {name: str(items[line].Text) for line, name in FIELDS.items()}
        place = PLACES[int(items["Place"].CurrentIndex or 0)]
        plates = PLATES[int(items["Plates"].CurrentIndex or 0)]
        app.remember(app.preferences.with_values(place=place, plates=plates, **texts))

    def _greet(self, _: Any) -> None:
        self._app.desk.connect()
        self._app.attach_running()
        self._app.has_moved()
        self._look_for_stale()

    def _look_for_stale(self) -> None:
        """Of a clip that cannot be a plate nothing is said: nobody pressed anything."""
        self._stale = ""
        with contextlib.suppress(HostError):
            self._app.look_for_stale(self._show_stale)

    def _show_stale(self, sentence: str) -> None:
        self._stale = sentence

    def _tick(self, _: Any) -> None:
        app, desk = self._app, self._app.desk
        before = app.preferences
        app.tick()
        for line, name in FIELDS.items():  # where faces and a model were made
            if getattr(app.preferences, name) != getattr(before, name):
                self._items[line].Text = getattr(app.preferences, name)
        text = self._stale if self._stale and not desk.is_busy and desk.session is not None else desk.text
        if self._items["State"].Text != text:
            self._items["State"].Text = text
        self._tell_ended()
        self._ticks += 1
        if self._ticks % LOOK_TICKS == 0 and desk.session is not None and not desk.is_busy and app.has_moved():
            self._look_for_stale()
        if desk.session is not None and desk.session is not self._listed:
            self._listed = desk.session
            app.look_for_folders(self._list)
        if desk.error is not None and desk.session is None and desk.error is not self._told:
            self._told = desk.error
            if not self._said:
                self._said.append(explain(desk.error).text)
        run = desk.run
        live = [f"{run.name}: {note}" for note in run.notes] if run is not None and not run.is_ended else []
        self._write_notes("\n".join([*self._said, *live]))

    def _tell_ended(self) -> None:
        """A line for each clip that something is to be said of."""
        desk = self._app.desk
        for run in desk.ended:
            lines = [*run.notes, explain(run.error).text if run.error is not None else ""]
            if run.error is None and (self._said or desk.waiting_count or lines != [""]):
                lines.insert(0, run.text)
            self._said += [f"{run.name}: {line}" for line in lines if line]
            self._list_anew(run)
        desk.ended.clear()

    def _list_anew(self, run: Run) -> None:
        if run.made:
            self._listed = None

    def _list(self, models: list[KnownFolder], facesets: list[KnownFolder]) -> None:
        """Into the menus: what is new there; what is gone stays until the window is opened again."""
        for line, menu in MENUS.items():
            known = self._known[line]
            new = [one for one in (models if line == "Model" else facesets) if one.path not in known]
            known += [one.path for one in new]
            if new:
                self._items[menu].AddItems([one.name for one in new])

    def _write_notes(self, text: str) -> None:
        if text != self._shown:
            self._items["Notes"].PlainText = self._shown = text

    def _show_error(self, error: Exception) -> None:
        known = (
            error
            if isinstance(error, HostError)
            else HostError(
                f"The integration met an error of its own ({type(error).__name__}: {error}); please report it.",
                reason="UNEXPECTED_ERROR",
            )
        )
        self._app.error = self._told = known
        self._said.append(explain(known).text)
        self._write_notes("\n".join(self._said))

    def _show_still(self, path: str, error: HostError | None) -> None:
        if error is not None:
            self._show_error(error)
        else:
            self._items["Notes"].HTML = f'<img src="{html.escape(path)}" width="500">'

    def _show_report(self) -> None:
        ui = self._ui
        window = self._dispatcher.AddWindow(
            {"ID": REPORT_WINDOW, "WindowTitle": REPORT, "Geometry": [260, 260, 640, 420]},
            [ui.VGroup([ui.TextEdit({"ID": "Text", "ReadOnly": True, "PlainText": self._app.report_text()})])],
        )
        self._add(window, REPORT_WINDOW)

    def _settings_asker(self, kind: str) -> Callable[[], None]:
        def show(answer: Any) -> None:
            self._show_settings(kind, answer)

        return lambda: self._app.desk.ask(lambda session: session.describe_settings(kind), show)

    def _show_settings(self, kind: str, answer: Any) -> None:
        if isinstance(answer, HostError):
            self._show_error(answer)
            return
        label, name, handled = SETTINGS_OF[kind]
        knobs = [knob for knob in answer if knob.name not in handled]
        ui, values = self._ui, getattr(self._app.preferences, name)
        rows = [self._row(knob.label, knob_widget(ui, knob, values.get(knob.name, knob.default))) for knob in knobs]
        window = self._dispatcher.AddWindow(
            {"ID": settings_window(kind), "WindowTitle": f"{MENU}: {label}", "Geometry": [300, 240, 480, 620]},
            [ui.VGroup([*rows, ui.Button({"ID": "Keep", "Text": "Keep", "Weight": 0})])],
        )
        items = window.GetItems()
        for knob in knobs:
            if knob.kind == CHOICE:
                choices = list(choices_of(knob))
                items[knob.name].AddItems(choices)
                value = values.get(knob.name, knob.default)
                items[knob.name].CurrentIndex = choices.index(str(value or "")) if str(value or "") in choices else 0

        def keep(_: Any) -> None:
            given = {knob.name: read_widget(items[knob.name], knob) for knob in knobs}
            kept = {one: value for one, value in values.items() if one not in given}
            changed = {**kept, **changed_settings(knobs, given)}
            self._app.remember(self._app.preferences.with_values(**{name: changed}))
            window.Hide()
            self._look_for_stale()

        window.On["Keep"].Clicked = self._guarded(keep)
        self._add(window, settings_window(kind))

    def _show_connection(self) -> None:
        ui, chosen = self._ui, self._app.preferences
        rows = [
            self._row(label, ui.LineEdit({"ID": name, "Text": getattr(chosen, name), "ToolTip": tip, "Weight": _WIDE}))
            for name, label, tip in _CONNECTION_FIELDS
        ]
        window = self._dispatcher.AddWindow(
            {"ID": CONNECTION_WINDOW, "WindowTitle": f"{MENU}: {CONNECTION}", "Geometry": [300, 240, 480, 240]},
            [ui.VGroup([*rows, ui.Button({"ID": "Keep", "Text": "Keep", "Weight": 0})])],
        )
        items = window.GetItems()

        def keep(_: Any) -> None:
            values = {name: str(items[name].Text) for name, _, _ in _CONNECTION_FIELDS}
            wanted = self._app.preferences.with_values(**values)
            wanted.connection()  # a path map that cannot be read is refused here
            self._app.remember(wanted)
            self._app.desk.disconnect()
            window.Hide()

        window.On["Keep"].Clicked = self._guarded(keep)
        self._add(window, CONNECTION_WINDOW)

    def _add(self, window: Any, name: str) -> None:
        window.On[name].Close = lambda _: window.Hide()
        self._others.append(window)
        window.Show()


def settings_window(kind: str) -> str:
    """ID of the window with a kind of job's settings."""
    return f"{SETTINGS_WINDOW}{kind.title()}"


def button_id(label: str) -> str:
    """``Swap Frame`` → ``SwapFrame``: ids are attributes of Resolve's tables."""
    return "".join(letter for letter in label if letter.isalnum())


def choices_of(knob: KnobSpec) -> tuple[str, ...]:
    """With an empty one where the daemon may decide."""
    return ("", *knob.choices) if knob.is_optional else knob.choices


def knob_widget(ui: Any, knob: KnobSpec, value: Value) -> Any:
    """A widget for a setting; a number that may be empty is a line, as Resolve's number fields cannot be."""
    table: dict[str, Any] = {"ID": knob.name, "ToolTip": knob.tool_tip, "Weight": _WIDE}
    if knob.kind == BOOL and not knob.is_optional:
        return ui.CheckBox({**table, "Checked": bool(value), "Text": ""})
    if knob.kind == CHOICE:
        return ui.ComboBox(table)
    if knob.kind in (INT, FLOAT) and not knob.is_optional and isinstance(value, (int, float)):
        low = knob.minimum if knob.minimum is not None else -_LIMIT
        high = knob.maximum if knob.maximum is not None else _LIMIT
        if knob.kind == INT:
            return ui.SpinBox({**table, "Minimum": int(low), "Maximum": int(high), "Value": int(value)})
        return ui.DoubleSpinBox({**table, "Minimum": low, "Maximum": high, "Decimals": 3, "Value": float(value)})
    return ui.LineEdit({**table, "Text": "" if value is None else str(value)})


def read_widget(item: Any, knob: KnobSpec) -> Value:
    """What a widget of :func:`knob_widget` holds."""
    if knob.kind == BOOL and not knob.is_optional:
        return bool(item.Checked)
    if knob.kind == CHOICE:
        return choices_of(knob)[int(item.CurrentIndex or 0)]
    if knob.kind in (INT, FLOAT) and not knob.is_optional and isinstance(knob.default, (int, float)):
        number: Value = item.Value
        return number
    return str(item.Text)


def _tips(tips: Mapping[str, str]) -> str:
    return "\n".join(f"{choice}: {tip}" for choice, tip in tips.items())
