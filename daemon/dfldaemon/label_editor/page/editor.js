// What the page is about: one open face, its drawing and history, saving it, and moving from face to face.

import * as drawings from "./drawing.js";
import { toned, tinted } from "./render.js";

const GAMMA_STEP = 1.2;
const GAMMA_STEPS = 8;
const PREFETCHED = [1, -1, 2];

export class Editor {
  /**
   * @param ui redraw(), changed(), tell(text, kind), askAboutConflict(): what the page shows of it.
   */
  constructor(api, faces, ui) {
    Object.assign(this, { api, faces, ui });
    this.index = -1;
    this.target = -1;
    this.name = "";
    this.size = 1;
    this.include = true;
    this.show = { label: true, hull: false, cutout: false };
    this.shownSource = null; // of the masks, or null
    this.sources = [];
    this.gammaStep = 0;
    this.sessions = new Map(); // name → {history, version, saved}: undo lists outlive a visit to another face
    this.session = null;
    this.trashed = []; // names, in the order they went
    this.previewed = null;
    this.selection = null;
    this.saveState = "";
    this.hasWarned = false;
  }

  get isReady() {
    return this.session !== null;
  }

  get drawing() {
    return this.previewed ?? this.session?.history.present ?? drawings.EMPTY;
  }

  get isDirty() {
    return this.session !== null && !drawings.sameLabel(this.session.history.present, this.session.saved);
  }

  get gamma() {
    return GAMMA_STEP ** this.gammaStep;
  }

  redraw() {
    this.ui.redraw();
  }

  // Drawing

  edit(next) {
    this.session.history.push(next);
    this.afterChange();
  }

  /** Show a drawing while something is dragged; null shows the real one again. */
  preview(drawing) {
    this.previewed = drawing;
    this.redraw();
  }

  keepPreview() {
    const drawing = this.previewed;
    this.previewed = null;
    if (drawing && !drawings.sameLabel(drawing, this.drawing)) this.edit(drawing);
  }

  select(selection) {
    this.selection = selection;
    this.ui.changed();
  }

  chooseKind(include) {
    this.include = include;
    if (this.drawing.draft && this.drawing.draft.include !== include) {
      this.edit(drawings.setDraftKind(this.drawing, include));
    } else {
      this.ui.changed();
    }
  }

  closeDraft() {
    if (!this.drawing.draft) return;
    if (this.drawing.draft.points.length < 3) {
      this.ui.tell("A polygon needs three points or more.", "warning");
      return;
    }
    this.edit(drawings.closeDraft(this.drawing));
    this.select({ polygon: this.drawing.polygons.length - 1, point: null });
  }

  /** Drop the unfinished polygon, or let go of the selection. */
  escape() {
    if (this.drawing.draft) this.edit(drawings.dropDraft(this.drawing));
    else this.select(null);
  }

  deleteSelected() {
    if (this.drawing.draft) {
      this.undo();
    } else if (this.selection) {
      const { polygon, point } = this.selection;
      this.select(null);
      if (point === null) this.edit(drawings.deletePolygon(this.drawing, polygon));
      else this.edit(drawings.deletePoint(this.drawing, polygon, point));
    } else {
      this.ui.tell("Select a polygon or a point first: click on it.");
    }
  }

  turnSelected() {
    if (this.selection && !this.drawing.draft) this.edit(drawings.turnKind(this.drawing, this.selection.polygon));
  }

  undo() {
    if (!this.session.history.undo()) this.ui.tell("Nothing to undo on this face.");
    this.afterChange();
  }

  redo() {
    if (!this.session.history.redo()) this.ui.tell("Nothing to redo on this face.");
    this.afterChange();
  }

  afterChange() {
    if (this.selection && this.selection.polygon >= this.drawing.polygons.length) this.selection = null;
    if (this.selection?.point >= this.drawing.polygons[this.selection?.polygon]?.points.length) this.selection = null;
    this.hasWarned = false;
    this.saveState = this.isDirty ? "unsaved" : this.session.version > 0 ? "saved" : "";
    this.ui.changed();
  }

  async startFromHull() {
    const session = this.session;
    const points = await this.hullOf(session);
    if (session !== this.session) return;
    if (points.length < 3) {
      this.ui.tell("The landmarks of this face have no hull inside the picture.", "warning");
      return;
    }
    this.edit(drawings.addPolygon(this.drawing, { include: true, points }));
    this.select({ polygon: this.drawing.polygons.length - 1, point: null });
  }

  /** Take over the polygons of the nearest labelled face before this one. */
  async copyPrevious() {
    const session = this.session;
    const from = this.faces.nextLabelled(this.index, -1);
    const face = from === null ? null : await this.faces.at(from);
    if (!face) {
      this.ui.tell("No face before this one has a label.", "warning");
      return;
    }
    const { label } = await this.api.label(face.name);
    if (session !== this.session) return;
    this.edit({ ...this.drawing, polygons: [...this.drawing.polygons, ...label.polygons] });
    this.select(null);
    this.ui.tell(`Copied from face ${from + 1}.`);
  }

  // Showing

  toggle(layer) {
    this.show[layer] = !this.show[layer];
    this.loadLayers();
    this.ui.changed();
  }

  /** No mask, then each stored source of this face in turn. */
  nextMask() {
    if (this.sources.length === 0) this.ui.tell("This face has no stored masks.");
    const position = this.sources.indexOf(this.shownSource);
    this.shownSource = this.sources[position + 1] ?? null;
    this.loadLayers();
    this.ui.changed();
  }

  tone(step) {
    this.gammaStep = step === 0 ? 0 : Math.min(Math.max(this.gammaStep + step, -GAMMA_STEPS), GAMMA_STEPS);
    this.shownFace = this.picture ? toned(this.picture, this.gamma) : null;
    this.ui.changed();
  }

  async hullOf(session) {
    session.hull ??= await this.api.hull(session.name);
    return session.hull;
  }

  /** Fetch what the switched-on layers need; each appears when it is there. */
  async loadLayers() {
    const session = this.session;
    const source = this.sources.includes(this.shownSource) ? this.shownSource : null;
    if (this.mask && (this.mask.source !== source || this.mask.name !== session.name)) this.mask = null;
    try {
      if (this.show.hull || this.show.cutout) await this.hullOf(session);
      if (source && !this.mask) {
        const picture = tinted(await this.api.mask(session.name, source));
        if (session === this.session && source === this.shownSource) this.mask = { source, name: session.name, picture };
      }
    } catch (error) {
      this.ui.tell(error.message, "error");
    }
    this.redraw();
  }

  // Saving

  /** Store the label when it was changed. Says whether the face may be left. */
  async save() {
    const session = this.session;
    if (!this.isDirty) return true;
    const drawing = session.history.present;
    this.saveState = "saving";
    this.ui.changed();
    try {
      session.version = await this.api.saveLabel(session.name, drawings.toLabel(drawing), session.version);
      session.saved = drawing;
      this.faces.setLabelled(this.index, drawing.polygons.length > 0);
      this.afterChange();
      return true;
    } catch (error) {
      this.saveState = "unsaved";
      this.ui.changed();
      if (error.status === 409 && error.reason === "LABEL_CHANGED") return this.settleConflict(session, error.answer);
      this.ui.tell(error.message, "error");
      return false;
    }
  }

  /** Somebody else saved first. Whatever is chosen, both drawings stay within reach. */
  async settleConflict(session, theirs) {
    const choice = await this.ui.askAboutConflict(session.name, theirs.label.polygons.length);
    if (choice === "") return false;
    session.version = theirs.version;
    session.saved = drawings.fromLabel(theirs.label);
    if (choice === "mine") return this.save();
    this.select(null);
    this.edit(session.saved);
    return false; // they want to see it
  }

  /** Store while the page goes away: nobody waits for the answer. */
  saveOnTheWayOut() {
    if (!this.isDirty) return;
    const { name, version, history } = this.session;
    this.api.saveLabel(name, drawings.toLabel(history.present), version, { keepalive: true }).catch(() => {});
  }

  // From face to face

  /** Go on by so many faces, or to the next labelled one. */
  step(count, onlyLabelled = false) {
    const from = this.going ? this.target : this.index;
    const to = onlyLabelled ? this.faces.nextLabelled(from, Math.sign(count)) : from + count;
    if (to === null) {
      this.ui.tell("There is no further labelled face in this direction.");
      return Promise.resolve();
    }
    return this.go(Math.min(Math.max(to, 0), this.faces.total - 1));
  }

  /** Open a face by its position. While one is being opened, only the latest wish counts. */
  go(index) {
    this.target = index;
    this.going ??= this.follow().finally(() => {
      this.going = null;
    });
    return this.going;
  }

  async follow() {
    while (this.target !== this.index && this.target >= 0 && this.target < this.faces.total) {
      const target = this.target;
      if (this.session && !(await this.leave())) break;
      try {
        await this.open(target);
      } catch (error) {
        this.ui.tell(error.message, "error");
        if (error.reason === "FACE_NOT_FOUND" || error.reason === "FACE_GONE") this.faces.onChanged();
        break;
      }
    }
    this.target = this.index;
  }

  async leave() {
    if (this.drawing.draft && !this.hasWarned) {
      this.ui.tell("The polygon is not finished: Enter closes it, Esc drops it. Once more leaves it as it is.", "warning");
      this.hasWarned = true;
      return false;
    }
    return this.save();
  }

  async open(index) {
    const face = await this.faces.at(index);
    if (!face) throw new Error("The list of faces has changed.");
    const [picture, stored, masks] = await Promise.all([
      this.faces.picture(face.name),
      this.api.label(face.name),
      this.api.masks(face.name),
    ]);
    this.index = index;
    this.name = face.name;
    this.picture = picture;
    this.shownFace = toned(picture, this.gamma);
    this.sources = Object.keys(masks);
    this.selection = this.previewed = null;
    this.session = this.sessionFor(face.name, stored);
    this.faces.setLabelled(index, stored.label.polygons.length > 0);
    this.afterChange();
    this.loadLayers();
    for (const step of PREFETCHED) this.faces.prefetch(index + step);
  }

  /** The undo list of an earlier visit, unless somebody else changed the label since: then theirs is one step more. */
  sessionFor(name, stored) {
    const label = drawings.fromLabel(stored.label);
    const session = this.sessions.get(name) ?? { name, history: new drawings.History(label), version: stored.version, saved: label };
    if (session.version !== stored.version) {
      session.history.push({ ...label, draft: session.history.present.draft });
      Object.assign(session, { version: stored.version, saved: label });
    }
    this.sessions.set(name, session);
    return session;
  }

  /** Move the open face to the trash and open the one that takes its place. */
  async trash() {
    await this.going;
    if (!this.session) return;
    const { name } = this;
    if (!(await this.leave())) return;
    try {
      this.faces.describe(await this.api.trash(name));
    } catch (error) {
      this.ui.tell(error.message, "error");
      return;
    }
    this.sessions.delete(name);
    this.forget();
    this.trashed.push(name);
    this.ui.tell(`${name} is in the faceset’s trash. R brings it back.`);
    this.ui.changed();
    await this.go(Math.min(this.lastIndex, this.faces.total - 1));
  }

  /** Bring back the face that was moved to the trash last, and open it. */
  async restore() {
    await this.going;
    const name = this.trashed.at(-1);
    if (name === undefined) {
      this.ui.tell("No face was moved to the trash since this page was opened.");
      return;
    }
    if (this.session && !(await this.leave())) return;
    const facts = await this.api.restore(name);
    this.trashed.pop();
    this.faces.describe(facts);
    if (this.session) this.forget();
    await this.go(facts.position);
    this.ui.tell(`${name} is back.`);
  }

  /** Nothing is open any more, so that the next face opens even at the same position. */
  forget() {
    this.lastIndex = this.index;
    this.index = -1;
    this.session = this.picture = this.shownFace = this.mask = null;
    this.name = "";
  }
}
