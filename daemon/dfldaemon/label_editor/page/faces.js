// The list of faces, fetched in stretches as it is looked at, and their pictures. A hundred thousand names never have
// to be here at once.

const STRETCH = 100;
const STRETCHES_KEPT = 60;
const PICTURES_KEPT = 12;

export class Faces {
  constructor(api, onChanged) {
    this.api = api;
    this.onChanged = onChanged;
    this.stretches = new Map();
    this.pictures = new Map();
    this.total = 0;
    this.revision = 0;
    this.labelled = [];
  }

  /** Take over what the server says of the faceset; positions that are known of an older list are forgotten. */
  describe(facts) {
    if (facts.revision !== this.revision) this.stretches.clear();
    this.total = facts.total;
    this.revision = facts.revision;
    this.labelled = facts.labelled;
  }

  /** {name, is_masked} of the face at a position. */
  async at(index) {
    const start = Math.floor(index / STRETCH) * STRETCH;
    const stretch = await kept(this.stretches, start, STRETCHES_KEPT, () => this.api.faces(start, STRETCH));
    if (stretch.revision !== this.revision) {
      this.stretches.clear();
      this.onChanged();
    }
    return stretch.faces[index - start] ?? null;
  }

  picture(name) {
    return kept(this.pictures, name, PICTURES_KEPT, () => this.api.image(name));
  }

  /** Fetch what will be looked at next. Failures show when it is. */
  async prefetch(index) {
    if (index < 0 || index >= this.total) return;
    try {
      const face = await this.at(index);
      if (face) await this.picture(face.name);
    } catch {
      // opening the face says what is wrong
    }
  }

  isLabelled(index) {
    return this.labelled[this.placeOf(index)] === index;
  }

  setLabelled(index, isLabelled) {
    const place = this.placeOf(index);
    if ((this.labelled[place] === index) === isLabelled) return;
    this.labelled = isLabelled ? this.labelled.toSpliced(place, 0, index) : this.labelled.toSpliced(place, 1);
  }

  /** The position of the next labelled face in a direction, or null. */
  nextLabelled(index, direction) {
    const place = this.placeOf(index);
    if (direction < 0) return this.labelled[place - 1] ?? null;
    return this.labelled[this.labelled[place] === index ? place + 1 : place] ?? null;
  }

  /** Where a position stands, or would stand, among the labelled ones. */
  placeOf(index) {
    let [low, high] = [0, this.labelled.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.labelled[middle] < index) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** The promise kept under a key, made when there is none; failures are not kept, nor what was not asked for lately. */
function kept(cache, key, most, make) {
  let promise = cache.get(key);
  cache.delete(key);
  if (!promise) {
    promise = make();
    promise.catch(() => cache.get(key) === promise && cache.delete(key));
  }
  cache.set(key, promise);
  if (cache.size > most) cache.delete(cache.keys().next().value);
  return promise;
}
