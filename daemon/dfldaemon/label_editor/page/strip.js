// The strip of thumbnails: as many cells as fit, filled for wherever it stands in the list.

const CELL_WIDTH = 78;
const PICTURE = 72;
/** Thumbnails are asked for when the strip has stood still for so long, in milliseconds. */
const CALM = 60;
const AT_ONCE = 4;
const WHEEL_CELLS = 0.02;

export class Strip {
  /** @param open called with the position of a face that was clicked. */
  constructor(element, slider, faces, api, open) {
    Object.assign(this, { element, slider, faces, api, open });
    this.cells = [];
    this.first = 0;
    this.current = -1;
    this.thumbnails = new Map();
    element.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    slider.addEventListener("input", () => this.scrollTo(Number(slider.value)));
    new ResizeObserver(() => this.layOut()).observe(element);
  }

  /** Show a face as the one that is open, and scroll so far that it is well inside. */
  show(index) {
    this.current = index;
    const visible = this.visibleCount;
    const margin = Math.min(2, Math.floor(visible / 3));
    if (index < this.first + margin) this.first = index - margin;
    if (index > this.first + visible - 1 - margin) this.first = index - visible + 1 + margin;
    this.refresh();
  }

  scrollTo(first) {
    this.first = first;
    this.refresh();
  }

  get visibleCount() {
    return Math.max(Math.floor(this.element.clientWidth / CELL_WIDTH), 1);
  }

  layOut() {
    const wanted = this.visibleCount + 1;
    while (this.cells.length > wanted) this.cells.pop().button.remove();
    while (this.cells.length < wanted) this.cells.push(this.makeCell());
    if (this.current >= 0) this.show(this.current);
    else this.refresh(); // no cell stays without a place in the list
  }

  makeCell() {
    const button = document.createElement("button");
    button.className = "cell";
    button.tabIndex = -1;
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = PICTURE * Math.ceil(devicePixelRatio);
    const number = document.createElement("span");
    button.append(canvas, number);
    this.element.append(button);
    const cell = { button, canvas, number, index: -1 };
    button.addEventListener("click", () => this.open(cell.index));
    return cell;
  }

  /** Fill the cells for where the strip stands; thumbnails that are on their way for it stay on their way. */
  refresh() {
    const last = Math.max(this.faces.total - this.visibleCount, 0);
    this.first = Math.min(Math.max(Math.round(this.first), 0), last);
    this.slider.max = String(last);
    this.slider.value = String(this.first);
    this.slider.disabled = last === 0;
    this.cells.forEach((cell, position) => this.fill(cell, this.first + position));
    const wanted = `${this.first} ${this.cells.length} ${this.faces.revision}`;
    if (wanted === this.wanted) return;
    this.wanted = wanted;
    this.cancelled?.abort();
    clearTimeout(this.timer);
    this.cancelled = new AbortController();
    const { signal } = this.cancelled;
    this.timer = setTimeout(() => this.fetchThumbnails(signal), CALM);
  }

  fill(cell, index) {
    const isThere = index < this.faces.total;
    cell.button.hidden = !isThere;
    cell.button.classList.toggle("is-current", index === this.current);
    cell.button.classList.toggle("is-labelled", isThere && this.faces.isLabelled(index));
    cell.number.textContent = String(index + 1);
    if (cell.index === index && cell.revision === this.faces.revision) return;
    cell.index = index;
    cell.revision = this.faces.revision;
    cell.isFilled = false;
    cell.button.classList.remove("is-masked", "is-broken");
    cell.button.title = "";
    cell.canvas.getContext("2d").clearRect(0, 0, cell.canvas.width, cell.canvas.height);
  }

  /** From left to right, a few at a time. */
  async fetchThumbnails(signal) {
    const waiting = this.cells.filter((cell) => !cell.isFilled && cell.index < this.faces.total);
    const fetchNext = async () => {
      while (waiting.length > 0 && !signal.aborted) await this.fetchThumbnail(waiting.shift(), signal);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, fetchNext));
  }

  async fetchThumbnail(cell, signal) {
    const { index } = cell;
    try {
      const face = await this.faces.at(index);
      if (!face || cell.index !== index) return;
      cell.button.title = face.name;
      cell.button.classList.toggle("is-masked", face.is_masked);
      const picture = await this.api.thumbnail(face.name, signal);
      if (cell.index !== index) return;
      cell.canvas.getContext("2d").drawImage(picture, 0, 0, cell.canvas.width, cell.canvas.height);
    } catch (error) {
      if (error.name === "AbortError" || cell.index !== index) return;
      cell.button.classList.add("is-broken");
    }
    cell.isFilled = true;
  }

  wheel(event) {
    event.preventDefault();
    this.turned = (this.turned ?? 0) + (event.deltaY || event.deltaX) * WHEEL_CELLS;
    const whole = Math.trunc(this.turned);
    this.turned -= whole;
    if (whole !== 0) this.scrollTo(this.first + whole);
  }
}
