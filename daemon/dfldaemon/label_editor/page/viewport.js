// From aligned pixels to the canvas and back, in CSS pixels. Zoom 1 shows the whole face.

const MAX_ZOOM = 20;
const MARGIN = 24;
/** How far beyond the picture's edge it may be pushed, as a share of what zoom 1 would allow. */
const SLACK = 1.25;

export class Viewport {
  constructor() {
    this.zoom = 1;
    this.center = [0.5, 0.5]; // share of the picture, so that it holds for pictures of any size
    this.width = this.height = this.size = 1;
  }

  /** Canvas pixels per aligned pixel. */
  get scale() {
    return (Math.max(Math.min(this.width, this.height) - 2 * MARGIN, 16) / this.size) * this.zoom;
  }

  /** Where the picture's top-left corner lies. */
  get origin() {
    const side = this.scale * this.size;
    return [this.width / 2 - this.center[0] * side, this.height / 2 - this.center[1] * side];
  }

  toScreen([x, y]) {
    const [left, top] = this.origin;
    return [left + x * this.scale, top + y * this.scale];
  }

  toPicture([x, y]) {
    const [left, top] = this.origin;
    return [(x - left) / this.scale, (y - top) / this.scale];
  }

  /** Zoom by a factor; the picture stays where it is under a place on the screen. */
  zoomAt(screen, factor) {
    const held = this.toPicture(screen);
    this.zoom = Math.min(Math.max(this.zoom * factor, 1), MAX_ZOOM);
    const moved = this.toScreen(held);
    this.panBy([screen[0] - moved[0], screen[1] - moved[1]]);
  }

  panBy([dx, dy]) {
    const side = this.scale * this.size;
    const reach = 0.5 * (1 - 1 / this.zoom) * SLACK;
    const bounded = (value) => Math.min(Math.max(value, 0.5 - reach), 0.5 + reach);
    this.center = [bounded(this.center[0] - dx / side), bounded(this.center[1] - dy / side)];
  }

  fit() {
    this.zoom = 1;
    this.center = [0.5, 0.5];
  }
}
