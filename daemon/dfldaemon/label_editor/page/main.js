// The page: binds keys, buttons and pictures to the editor.

import { Api, CallFailed } from "./api.js";
import { Editor } from "./editor.js";
import { Faces } from "./faces.js";
import { Pointer } from "./pointer.js";
import { colorOf, paint } from "./render.js";
import { Strip } from "./strip.js";
import { Viewport } from "./viewport.js";

const STILL_HERE_MS = 60_000;
const MESSAGE_MS = 6_000;
const KEY_ZOOM = 1.25;
const BIG_STEP = 5;
const FACE_KEY = "face";
const SAVE_STATES = { unsaved: "Unsaved changes", saving: "Saving…", saved: "Saved", "": "No label yet" };

const element = (id) => document.getElementById(id);
const stage = element("stage");
const context = stage.getContext("2d");
const viewport = new Viewport();
const pageId = crypto.randomUUID();

let editor = null;
let pointer = null;
let strip = null;
let frame = 0;
let messageTimer = 0;

const ui = {
  redraw() {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      paintStage();
    });
  },
  changed() {
    showState();
    ui.redraw();
  },
  tell(text, kind = "note") {
    const box = element("messages");
    box.textContent = text;
    box.className = kind;
    clearTimeout(messageTimer);
    if (kind !== "error") messageTimer = setTimeout(() => (box.textContent = ""), MESSAGE_MS);
  },
  async askAboutConflict(name, polygons) {
    element("conflict-text").textContent = `${name} was saved with ${polygons} polygon${polygons === 1 ? "" : "s"} by another editor since you opened it.`;
    const dialog = element("conflict");
    dialog.returnValue = "";
    dialog.showModal();
    await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
    return dialog.returnValue;
  },
};

// What can be done, by name; buttons and keys both call these.
const actions = {
  previous: (event) => editor.step(event?.shiftKey ? -BIG_STEP : -1, Boolean(event?.ctrlKey || event?.metaKey)),
  next: (event) => editor.step(event?.shiftKey ? BIG_STEP : 1, Boolean(event?.ctrlKey || event?.metaKey)),
  first: () => editor.go(0),
  last: () => editor.go(editor.faces.total - 1),
  "go-to": () => element("position").select(),
  include: () => editor.chooseKind(true),
  exclude: () => editor.chooseKind(false),
  hull: () => editor.startFromHull(),
  copy: () => editor.copyPrevious(),
  turn: () => editor.turnSelected(),
  close: () => editor.closeDraft(),
  escape: () => pointer.cancelDrag() || editor.escape(),
  delete: () => editor.deleteSelected(),
  undo: () => pointer.cancelDrag() || editor.undo(),
  redo: () => editor.redo(),
  save: async () => (editor.isDirty ? editor.save() : ui.tell("Nothing has changed since the last save.")),
  trash: () => editor.trash(),
  restore: () => editor.restore(),
  "show-label": () => editor.toggle("label"),
  "show-hull": () => editor.toggle("hull"),
  "show-mask": () => editor.nextMask(),
  "show-cutout": () => editor.toggle("cutout"),
  darker: () => editor.tone(-1),
  brighter: () => editor.tone(1),
  "tone-off": () => editor.tone(0),
  fit: () => zoom(0),
  "zoom-in": () => zoom(KEY_ZOOM),
  "zoom-out": () => zoom(1 / KEY_ZOOM),
  help: () => element("help").showModal(),
};

const KEYS = {
  a: "previous", d: "next", arrowleft: "previous", arrowright: "next", home: "first", end: "last", g: "go-to",
  q: "include", w: "exclude", h: "hull", c: "copy", t: "turn", enter: "close", escape: "escape",
  delete: "delete", backspace: "delete", s: "save", x: "trash", r: "restore", z: "undo", y: "redo",
  1: "show-label", 2: "show-hull", 3: "show-mask", 4: "show-cutout", "[": "darker", "]": "brighter", "\\": "tone-off",
  0: "fit", "+": "zoom-in", "=": "zoom-in", "-": "zoom-out", "?": "help",
};
const WITH_CONTROL = new Set(["a", "d", "arrowleft", "arrowright", "s", "z", "y"]);
const ONLY_WITH_CONTROL = new Set(["z", "y"]);
const NEED_A_FACE = new Set(["hull", "copy", "turn", "close", "escape", "delete", "undo", "redo", "save", "trash",
  "show-mask", "include", "exclude", "show-hull", "show-cutout"]);

function press(event) {
  if (document.querySelector("dialog[open]") || event.target === element("position") || event.isComposing) return;
  const isOnControl = event.target.closest?.("button, input") !== null;
  if (isOnControl && (event.code === "Space" || event.key === "Enter")) return;
  if (event.code === "Space") {
    event.preventDefault();
    pointer?.setPanKey(true);
    return;
  }
  const key = keyOf(event);
  // AltGr is Control and Alt on some systems, and how brackets are typed on some keyboards.
  const hasControl = (event.ctrlKey || event.metaKey) && !event.getModifierState("AltGraph");
  if ((event.altKey && !event.getModifierState("AltGraph")) || !(key in KEYS)) return;
  if (hasControl ? !WITH_CONTROL.has(key) : ONLY_WITH_CONTROL.has(key)) return;
  event.preventDefault();
  act(key === "z" && event.shiftKey ? "redo" : KEYS[key], event);
}

/** The letter on the key; on keyboards without Latin letters, what stands there on one that has them. */
function keyOf(event) {
  const key = event.key.toLowerCase();
  const code = /^(?:Key|Digit)(.)$/.exec(event.code);
  return !(key in KEYS) && code && key.codePointAt(0) > 127 ? code[1].toLowerCase() : key;
}

async function act(name, event) {
  if (!editor || (NEED_A_FACE.has(name) && !editor.isReady)) return;
  try {
    await actions[name](event);
  } catch (error) {
    ui.tell(error.message, "error");
  }
}

function zoom(factor) {
  if (factor === 0) viewport.fit();
  else viewport.zoomAt(pointer.cursor ? viewport.toScreen(pointer.cursor) : [viewport.width / 2, viewport.height / 2], factor);
  ui.redraw();
}

function paintStage() {
  if (!editor) return;
  viewport.size = editor.size;
  const { session } = editor;
  paint(context, {
    viewport,
    ratio: devicePixelRatio,
    face: editor.shownFace,
    hull: session?.hull,
    mask: editor.mask?.picture,
    drawing: editor.drawing,
    show: editor.show,
    selection: editor.selection,
    hover: pointer.hover,
    cursor: pointer.cursor,
  });
  element("zoom").textContent = viewport.zoom > 1 ? `${viewport.zoom.toFixed(1)}×` : "";
}

function showState() {
  const { faces, drawing } = editor;
  element("total").textContent = faces.total.toLocaleString("en");
  if (document.activeElement !== element("position")) element("position").value = editor.index < 0 ? "" : String(editor.index + 1);
  element("face-name").textContent = editor.name;
  element("face-name").title = editor.name;
  element("labelled-count").textContent = `${faces.labelled.length.toLocaleString("en")} labelled of ${faces.total.toLocaleString("en")}`;
  element("save-state").textContent = editor.isReady ? SAVE_STATES[editor.saveState] : "";
  element("save-state").className = editor.saveState;
  element("mask-name").textContent = editor.mask?.source ?? (editor.sources.includes(editor.shownSource) ? editor.shownSource : "none");
  element("tone").textContent = `Gamma ${editor.gamma.toFixed(2)}`;
  element("hint").textContent = hintFor(drawing);
  element("empty").hidden = faces.total > 0;
  const pressed = {
    include: (drawing.draft?.include ?? editor.include), exclude: !(drawing.draft?.include ?? editor.include),
    "show-label": editor.show.label, "show-hull": editor.show.hull, "show-cutout": editor.show.cutout,
    "show-mask": editor.sources.includes(editor.shownSource),
  };
  for (const [name, isOn] of Object.entries(pressed)) {
    document.querySelector(`[data-do="${name}"]`).setAttribute("aria-pressed", String(isOn));
  }
  listPolygons(drawing.polygons);
  strip.show(editor.index);
  if (editor.name) sessionStorage.setItem(FACE_KEY, editor.name);
  document.title = `${editor.isDirty ? "• " : ""}${editor.name || "Label editor"}`;
}

function hintFor({ draft }) {
  if (!draft) return "";
  const kind = draft.include ? "Include" : "Exclude";
  if (draft.points.length < 3) return `${kind}: click to add points`;
  return `${kind}: click on the first point or press Enter to close, Esc drops it`;
}

function listPolygons(polygons) {
  element("no-polygons").hidden = polygons.length > 0;
  element("polygons").replaceChildren(
    ...polygons.map((polygon, index) => {
      const button = document.createElement("button");
      button.className = "kind";
      button.setAttribute("aria-pressed", String(editor.selection?.polygon === index));
      const mark = document.createElement("i");
      mark.style.background = colorOf(polygon);
      const points = document.createElement("small");
      points.textContent = `${polygon.points.length} points`;
      button.append(mark, polygon.include ? "Include" : "Exclude", points);
      button.addEventListener("click", () => {
        editor.select({ polygon: index, point: null });
        stage.focus();
      });
      const row = document.createElement("li");
      row.append(button);
      return row;
    }),
  );
}

function resize() {
  const box = stage.parentElement.getBoundingClientRect();
  stage.width = Math.round(box.width * devicePixelRatio);
  stage.height = Math.round(box.height * devicePixelRatio);
  Object.assign(viewport, { width: box.width, height: box.height });
  paintStage();
}

/** Look at the faceset again: faces came or went. The open face stays open when it is still there. */
async function lookAgain(api, name) {
  const facts = await api.faceset(name);
  editor.faces.describe(facts);
  element("faceset-name").textContent = facts.name;
  const view = facts.view ? `view “${facts.view}”, ` : "";
  element("faceset-facts").textContent = `${view}${facts.face_type}, ${facts.size} px`;
  element("empty").textContent = facts.view ? "None of this view’s faces is there any more." : "This faceset has no faces.";
  editor.size = viewport.size = facts.size;
  return facts;
}

async function reloadList(api) {
  const { name, index } = editor;
  const facts = await lookAgain(api, name);
  const last = facts.total - 1;
  const found = last < 0 ? null : await editor.faces.at(facts.position);
  if (editor.isReady && found?.name === name) {
    editor.index = editor.target = facts.position;
  } else if (editor.isReady) {
    editor.forget();
  }
  ui.changed();
  if (!editor.isReady && last >= 0) await editor.go(Math.min(Math.max(index, 0), last));
}

function bind() {
  document.addEventListener("keydown", press);
  document.addEventListener("keyup", (event) => {
    if (event.code === "Space") pointer?.setPanKey(false);
  });
  addEventListener("blur", () => pointer?.setPanKey(false));
  for (const button of document.querySelectorAll("[data-do]")) {
    button.addEventListener("click", (event) => {
      act(button.dataset.do, event);
      stage.focus();
    });
  }
  const position = element("position");
  position.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    const wanted = Number.parseInt(position.value.replaceAll(/\D/g, ""), 10);
    stage.focus();
    if (event.key === "Enter" && wanted >= 1) editor.go(Math.min(wanted, editor.faces.total) - 1);
    showState();
  });
  element("strip-position").addEventListener("change", () => stage.focus());
  new ResizeObserver(resize).observe(stage.parentElement);
}

function bindLeaving(api) {
  const stillHere = () => document.visibilityState === "visible" && api.hello(pageId).catch((error) => ui.tell(error.message, "error"));
  setInterval(stillHere, STILL_HERE_MS);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") stillHere();
    else if (editor.isReady && !editor.going) editor.save();
  });
  addEventListener("beforeunload", (event) => {
    if (editor.drawing.draft) event.preventDefault();
  });
  addEventListener("pagehide", () => {
    editor.saveOnTheWayOut();
    api.goodbye(pageId).catch(() => {});
  });
  addEventListener("pageshow", (event) => event.persisted && stillHere());
}

async function start() {
  bind();
  let api;
  try {
    api = await Api.connect();
    await api.hello(pageId);
  } catch (error) {
    element("empty").hidden = false;
    const isStranger = error instanceof CallFailed && error.status === 403;
    element("empty").textContent = isStranger ? "This tab has no access to the editor any more. Open the address that the editor printed." : error.message;
    return;
  }
  let looking = null;
  const faces = new Faces(api, () => {
    looking ??= reloadList(api).catch((error) => ui.tell(error.message, "error")).finally(() => (looking = null));
  });
  editor = new Editor(api, faces, ui);
  pointer = new Pointer(stage, viewport, editor);
  strip = new Strip(element("strip"), element("strip-position"), faces, api, (index) => {
    editor.go(index);
    stage.focus();
  });
  bindLeaving(api);
  try {
    const facts = await lookAgain(api, sessionStorage.getItem(FACE_KEY) ?? "");
    showState();
    resize();
    await editor.go(facts.position);
  } catch (error) {
    ui.tell(error.message, "error");
  }
  document.body.dataset.ready = "yes";
}

start();
