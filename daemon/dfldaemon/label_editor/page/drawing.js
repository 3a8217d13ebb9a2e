// A drawing is {polygons, draft}: finished polygons and the one that is being drawn, or null. Drawings are never
// changed, only replaced, so a history is a list of them. Points are [x, y] in aligned pixels, corner origin.

export const EMPTY = Object.freeze({ polygons: [], draft: null });

export function fromLabel(label) {
  return { polygons: label.polygons, draft: null };
}

export function toLabel(drawing) {
  return { polygons: drawing.polygons };
}

export function sameLabel(one, other) {
  return one.polygons === other.polygons || JSON.stringify(one.polygons) === JSON.stringify(other.polygons);
}

/** A point as it is stored: inside the picture, to a hundredth of a pixel. */
export function settle([x, y], size) {
  const settled = (value) => Math.round(Math.min(Math.max(value, 0), size) * 100) / 100;
  return [settled(x), settled(y)];
}

export function addDraftPoint(drawing, point, include) {
  const draft = drawing.draft ?? { include, points: [] };
  return { ...drawing, draft: { ...draft, points: [...draft.points, point] } };
}

export function setDraftKind(drawing, include) {
  return { ...drawing, draft: { ...drawing.draft, include } };
}

export function dropDraft(drawing) {
  return { ...drawing, draft: null };
}

export function closeDraft(drawing) {
  return { polygons: [...drawing.polygons, drawing.draft], draft: null };
}

export function addPolygon(drawing, polygon) {
  return { ...drawing, polygons: [...drawing.polygons, polygon] };
}

export function setPoint(drawing, polygon, point, place) {
  return changePoints(drawing, polygon, (points) => points.with(point, place));
}

export function insertPoint(drawing, polygon, before, place) {
  return changePoints(drawing, polygon, (points) => points.toSpliced(before, 0, place));
}

/** Without the point; without the polygon when fewer than three points would be left. */
export function deletePoint(drawing, polygon, point) {
  if (drawing.polygons[polygon].points.length <= 3) return deletePolygon(drawing, polygon);
  return changePoints(drawing, polygon, (points) => points.toSpliced(point, 1));
}

export function deletePolygon(drawing, polygon) {
  return { ...drawing, polygons: drawing.polygons.toSpliced(polygon, 1) };
}

export function movePolygon(drawing, polygon, [dx, dy], size) {
  return changePoints(drawing, polygon, (points) => points.map(([x, y]) => settle([x + dx, y + dy], size)));
}

export function turnKind(drawing, polygon) {
  const turned = { ...drawing.polygons[polygon], include: !drawing.polygons[polygon].include };
  return { ...drawing, polygons: drawing.polygons.with(polygon, turned) };
}

function changePoints(drawing, polygon, change) {
  const changed = { ...drawing.polygons[polygon], points: change(drawing.polygons[polygon].points) };
  return { ...drawing, polygons: drawing.polygons.with(polygon, changed) };
}

/** Every drawing of one face since the page was opened; undo and redo walk along it. */
export class History {
  constructor(first) {
    this.past = [];
    this.present = first;
    this.future = [];
  }

  push(next) {
    if (next === this.present) return;
    this.past.push(this.present);
    this.present = next;
    this.future = [];
  }

  undo() {
    return this.step(this.past, this.future);
  }

  redo() {
    return this.step(this.future, this.past);
  }

  step(from, to) {
    if (from.length === 0) return false;
    to.push(this.present);
    this.present = from.pop();
    return true;
  }
}
