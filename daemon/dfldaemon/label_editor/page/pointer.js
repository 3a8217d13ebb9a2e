// The mouse or pen on the stage: turns presses, drags and wheel turns into edits of the drawing and moves of the view.

import * as drawings from "./drawing.js";
import { distance, hit, polygonAt } from "./geometry.js";

/** How near, in screen pixels, counts as on it. */
const REACH = 8;
const WHEEL_ZOOM = 0.0016;
const LONGEST_WHEEL_STEP = 300;
const LINE_HEIGHT = 16;

export class Pointer {
  /**
   * @param canvas the stage.
   * @param viewport see viewport.js.
   * @param editor holds the drawing; has edit(), preview(), select(), and asks for a new frame through redraw().
   */
  constructor(canvas, viewport, editor) {
    this.canvas = canvas;
    this.viewport = viewport;
    this.editor = editor;
    this.drag = null;
    this.hover = null;
    this.cursor = null;
    this.isPanKeyDown = false;
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("pointercancel", () => this.cancelDrag());
    canvas.addEventListener("pointerleave", () => this.leave());
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("auxclick", (event) => event.preventDefault());
  }

  press(event) {
    if (this.drag || !this.editor.isReady) return;
    const screen = this.screenOf(event);
    if (event.button === 1 || (event.button === 0 && this.isPanKeyDown)) {
      event.preventDefault();
      this.begin(event, { kind: "pan", last: screen });
    } else if (event.button === 0) {
      this.pressLeft(event, this.viewport.toPicture(screen));
    }
    this.look(event);
  }

  pressLeft(event, p) {
    const { editor } = this;
    const place = drawings.settle(p, editor.size);
    if (editor.drawing.draft) {
      const isDouble = event.detail > 1 && editor.drawing.draft.points.length >= 3;
      if (isDouble || this.closesDraft(p)) editor.closeDraft();
      else editor.edit(drawings.addDraftPoint(editor.drawing, place, editor.include));
      return;
    }
    const { polygons } = editor.drawing;
    const found = editor.show.label ? hit(polygons, p, this.reach, editor.selection?.polygon ?? null) : null;
    if (event.ctrlKey || event.metaKey) {
      this.pressWithControl(event, found);
    } else if (event.shiftKey) {
      const polygon = found?.polygon ?? polygonAt(polygons, p);
      if (polygon === null) return;
      editor.select({ polygon, point: null });
      this.begin(event, { kind: "polygon", polygon, from: p, before: editor.drawing });
    } else if (found) {
      editor.select({ polygon: found.polygon, point: found.point });
      if (found.point !== null) this.begin(event, { kind: "point", ...found, before: editor.drawing });
    } else {
      editor.show.label = true;
      editor.select(null);
      editor.edit(drawings.addDraftPoint(editor.drawing, place, editor.include));
    }
  }

  /** Insert a point on an edge, which may be dragged on at once, or delete one. */
  pressWithControl(event, found) {
    const { editor } = this;
    if (!found) return;
    if (found.point !== null) {
      editor.select(null);
      editor.edit(drawings.deletePoint(editor.drawing, found.polygon, found.point));
      return;
    }
    const place = drawings.settle(found.place, editor.size);
    editor.edit(drawings.insertPoint(editor.drawing, found.polygon, found.before, place));
    editor.select({ polygon: found.polygon, point: found.before });
    this.begin(event, { kind: "point", polygon: found.polygon, point: found.before, before: editor.drawing });
  }

  begin(event, drag) {
    this.drag = drag;
    this.canvas.setPointerCapture(event.pointerId);
  }

  move(event) {
    const screen = this.screenOf(event);
    const p = this.viewport.toPicture(screen);
    const { drag, editor } = this;
    if (drag?.kind === "pan") {
      this.viewport.panBy([screen[0] - drag.last[0], screen[1] - drag.last[1]]);
      drag.last = screen;
    } else if (drag?.kind === "point") {
      editor.preview(drawings.setPoint(drag.before, drag.polygon, drag.point, drawings.settle(p, editor.size)));
    } else if (drag?.kind === "polygon") {
      const step = [p[0] - drag.from[0], p[1] - drag.from[1]];
      editor.preview(drawings.movePolygon(drag.before, drag.polygon, step, editor.size));
    }
    this.look(event);
  }

  release(event) {
    if (this.drag) this.editor.keepPreview();
    this.drag = null;
    this.look(event);
  }

  /** Put back what is being dragged. Says whether anything was. */
  cancelDrag() {
    const wasDragging = this.drag !== null;
    if (wasDragging) this.editor.preview(null);
    this.drag = null;
    return wasDragging;
  }

  leave() {
    this.cursor = this.hover = null;
    this.editor.redraw();
  }

  wheel(event) {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? LINE_HEIGHT : 1);
    const step = Math.min(Math.max(pixels, -LONGEST_WHEEL_STEP), LONGEST_WHEEL_STEP);
    this.viewport.zoomAt(this.screenOf(event), Math.exp(-step * WHEEL_ZOOM));
    this.look(event);
  }

  /** What is under the cursor now: for the frame that is painted, and the shape of the cursor. */
  look(event) {
    const { editor } = this;
    this.cursor = this.viewport.toPicture(this.screenOf(event));
    this.hover = null;
    if (editor.drawing.draft) {
      this.hover = this.closesDraft(this.cursor) ? { closes: true } : null;
    } else if (editor.show.label && !this.drag) {
      const found = hit(editor.drawing.polygons, this.cursor, this.reach, editor.selection?.polygon ?? null);
      this.hover = found && { ...found, inserts: event.ctrlKey || event.metaKey };
    }
    this.canvas.style.cursor = this.cursorShape();
    editor.redraw();
  }

  cursorShape() {
    if (this.drag?.kind === "pan") return "grabbing";
    if (this.isPanKeyDown) return "grab";
    if (this.drag || this.hover?.point != null) return "move";
    return this.hover ? "pointer" : "crosshair";
  }

  setPanKey(isDown) {
    this.isPanKeyDown = isDown;
    this.canvas.style.cursor = this.cursorShape();
  }

  closesDraft(p) {
    const { points } = this.editor.drawing.draft;
    return points.length >= 3 && distance(p, points[0]) <= this.reach;
  }

  get reach() {
    return REACH / this.viewport.scale;
  }

  screenOf(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }
}
