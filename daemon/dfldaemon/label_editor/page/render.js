// Paints the stage: the face, what lies over it, the polygons. Keeps no state but pictures it made itself.

export const INCLUDE_COLOR = "#4fd08a";
export const EXCLUDE_COLOR = "#ff6b57";
const HULL_COLOR = "#f2e27a";
const MASK_COLOR = [74, 144, 255];
const MASK_OPACITY = 0.42;
const FILL_OPACITY = 0.16;
const CUTOUT_GREY = "#4a4a4a";
const SHADOW = "rgba(0, 0, 0, 0.65)";
const DASH = [7, 4];
/** From this many screen pixels per picture pixel, pixels are shown as the squares they are. */
const SQUARE_PIXELS_FROM = 4;

/**
 * @param scene {viewport, ratio, face, hull, mask, drawing, show, selection, hover, cursor}: everything in one place,
 *   so that a frame depends on nothing else.
 */
export function paint(context, scene) {
  const { viewport, ratio } = scene;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, viewport.width, viewport.height);
  if (!scene.face) return;
  const [left, top] = viewport.origin;
  const side = viewport.scale * viewport.size;
  context.imageSmoothingEnabled = (side / scene.face.width) * ratio < SQUARE_PIXELS_FROM;
  context.imageSmoothingQuality = "high";
  context.drawImage(scene.face, left, top, side, side);
  if (scene.show.cutout) context.drawImage(surroundings(scene), 0, 0, viewport.width, viewport.height);
  if (scene.mask) {
    context.imageSmoothingEnabled = true;
    context.drawImage(scene.mask, left, top, side, side);
  }
  if (scene.show.hull && scene.hull) paintHull(context, viewport, scene.hull);
  if (scene.show.label) paintLabel(context, scene);
  if (scene.drawing.draft) paintDraft(context, scene);
}

/** Grey wherever the label does not say face, in the stage's pixels: to lay over the face, which stays as it is. */
function surroundings({ viewport, ratio, drawing, hull }) {
  const layer = () => {
    const canvas = new OffscreenCanvas(Math.max(viewport.width * ratio, 1), Math.max(viewport.height * ratio, 1));
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    return context;
  };
  const shape = layer();
  const includes = drawing.polygons.filter((polygon) => polygon.include);
  const excludes = drawing.polygons.filter((polygon) => !polygon.include);
  if (includes.length > 0) {
    for (const polygon of includes) shape.fill(pathOf(viewport, polygon.points));
  } else if (excludes.length > 0 && hull) {
    shape.fill(pathOf(viewport, hull)); // as the rule for labels without includes has it
  } else {
    shape.fillRect(0, 0, viewport.width, viewport.height);
  }
  shape.globalCompositeOperation = "destination-out";
  for (const polygon of excludes) shape.fill(pathOf(viewport, polygon.points));
  const grey = layer();
  grey.fillStyle = CUTOUT_GREY;
  const [left, top] = viewport.origin;
  grey.fillRect(left, top, viewport.scale * viewport.size, viewport.scale * viewport.size);
  grey.globalCompositeOperation = "destination-out";
  grey.drawImage(shape.canvas, 0, 0, viewport.width, viewport.height);
  return grey.canvas;
}

function paintHull(context, viewport, hull) {
  const path = pathOf(viewport, hull);
  context.setLineDash([2, 4]);
  stroke(context, path, HULL_COLOR, 1.5);
  context.setLineDash([]);
}

function paintLabel(context, { viewport, drawing, show, selection, hover }) {
  const order = [...drawing.polygons.keys()].sort(
    (one, other) => Number(drawing.polygons[other].include) - Number(drawing.polygons[one].include),
  );
  for (const index of order) {
    const polygon = drawing.polygons[index];
    const isSelected = selection?.polygon === index;
    const isNear = isSelected || hover?.polygon === index;
    const color = colorOf(polygon);
    const path = pathOf(viewport, polygon.points);
    if (!show.cutout) {
      context.globalAlpha = isSelected ? FILL_OPACITY * 1.6 : FILL_OPACITY;
      context.fillStyle = color;
      context.fill(path);
      context.globalAlpha = 1;
    }
    if (!polygon.include) context.setLineDash(DASH);
    stroke(context, path, color, isNear ? 2.25 : 1.5);
    context.setLineDash([]);
    polygon.points.forEach((point, position) => {
      const isPoint = (mark) => mark?.polygon === index && mark.point === position;
      const radius = isPoint(hover) || isPoint(selection) ? 5.5 : isNear ? 3.75 : 2.25;
      dot(context, viewport.toScreen(point), radius, isPoint(selection) ? "#ffffff" : color);
    });
    if (hover?.polygon === index && hover.place && hover.inserts) {
      dot(context, viewport.toScreen(hover.place), 4.5, "#ffffff");
    }
  }
}

function paintDraft(context, { viewport, drawing, cursor, hover }) {
  const { points } = drawing.draft;
  const color = colorOf(drawing.draft);
  const screen = points.map((point) => viewport.toScreen(point));
  const path = new Path2D();
  screen.forEach(([x, y], index) => (index === 0 ? path.moveTo(x, y) : path.lineTo(x, y)));
  if (!drawing.draft.include) context.setLineDash(DASH);
  stroke(context, path, color, 2);
  if (cursor) {
    const rubber = new Path2D();
    rubber.moveTo(...screen.at(-1));
    rubber.lineTo(...(hover?.closes ? screen[0] : viewport.toScreen(cursor)));
    context.globalAlpha = 0.7;
    stroke(context, rubber, color, 1.25);
    context.globalAlpha = 1;
  }
  context.setLineDash([]);
  screen.forEach((place) => dot(context, place, 3.5, color));
  if (points.length >= 3) ring(context, screen[0], hover?.closes ? 9 : 7, color);
}

export function colorOf(polygon) {
  return polygon.include ? INCLUDE_COLOR : EXCLUDE_COLOR;
}

/** A face as shown: each channel to the power 1 / gamma. Only the view changes, never the picture. */
export function toned(bitmap, gamma) {
  if (gamma === 1) return bitmap;
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const pixels = context.getImageData(0, 0, bitmap.width, bitmap.height);
  const table = Uint8ClampedArray.from({ length: 256 }, (_, value) => 255 * (value / 255) ** (1 / gamma));
  for (let i = 0; i < pixels.data.length; i++) if (i % 4 !== 3) pixels.data[i] = table[pixels.data[i]];
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** A grey mask as a tint to lay over the face: the whiter, the denser. */
export function tinted(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const pixels = context.getImageData(0, 0, bitmap.width, bitmap.height);
  for (let i = 0; i < pixels.data.length; i += 4) {
    const value = pixels.data[i];
    [pixels.data[i], pixels.data[i + 1], pixels.data[i + 2]] = MASK_COLOR;
    pixels.data[i + 3] = value * MASK_OPACITY;
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function pathOf(viewport, points) {
  const path = new Path2D();
  points.forEach((point, index) => {
    const [x, y] = viewport.toScreen(point);
    if (index === 0) path.moveTo(x, y);
    else path.lineTo(x, y);
  });
  path.closePath();
  return path;
}

/** A line that shows on light and on dark. */
function stroke(context, path, color, width) {
  context.lineJoin = "round";
  context.strokeStyle = SHADOW;
  context.lineWidth = width + 1.5;
  context.stroke(path);
  context.strokeStyle = color;
  context.lineWidth = width;
  context.stroke(path);
}

function dot(context, [x, y], radius, color) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = color;
  context.fill();
  context.strokeStyle = SHADOW;
  context.lineWidth = 1;
  context.stroke();
}

function ring(context, [x, y], radius, color) {
  const path = new Path2D();
  path.arc(x, y, radius, 0, 2 * Math.PI);
  stroke(context, path, color, 1.5);
}
