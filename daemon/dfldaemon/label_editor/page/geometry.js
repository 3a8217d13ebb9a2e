// What lies under the cursor. Distances are in aligned pixels; callers turn screen pixels into them.

export function distance([ax, ay], [bx, by]) {
  return Math.hypot(ax - bx, ay - by);
}

/** The place on the piece of line from a to b that is nearest to p. */
export function nearestOnEdge(p, a, b) {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const length = dx * dx + dy * dy;
  const share = length === 0 ? 0 : Math.min(Math.max(((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / length, 0), 1);
  return [a[0] + share * dx, a[1] + share * dy];
}

/** Whether a polygon winds around p: the rule masks are filled by. */
export function isInside(p, points) {
  let winding = 0;
  for (let i = 0; i < points.length; i++) {
    const [ax, ay] = points[i];
    const [bx, by] = points[(i + 1) % points.length];
    if (ay <= p[1] === by <= p[1]) continue;
    const side = (bx - ax) * (p[1] - ay) - (p[0] - ax) * (by - ay);
    if (ay <= p[1] ? side > 0 : side < 0) winding += ay <= p[1] ? 1 : -1;
  }
  return winding !== 0;
}

/**
 * The polygon's point or edge within reach of p: {polygon, point} or {polygon, before, place}, else null. Points win
 * over edges, the preferred polygon over others, later ones over earlier ones, since they are drawn on top.
 */
export function hit(polygons, p, reach, preferred) {
  const order = polygons.map((_, index) => index).reverse();
  if (preferred !== null && preferred < polygons.length) order.unshift(preferred);
  for (const polygon of order) {
    const point = nearestPoint(polygons[polygon].points, p, reach);
    if (point !== null) return { polygon, point };
  }
  for (const polygon of order) {
    const edge = nearestEdge(polygons[polygon].points, p, reach);
    if (edge !== null) return { polygon, point: null, ...edge };
  }
  return null;
}

/** The topmost polygon that p lies in, or null. */
export function polygonAt(polygons, p) {
  const index = polygons.findLastIndex((polygon) => isInside(p, polygon.points));
  return index < 0 ? null : index;
}

function nearestPoint(points, p, reach) {
  let best = null;
  let least = reach;
  points.forEach((point, index) => {
    const away = distance(p, point);
    if (away <= least) [best, least] = [index, away];
  });
  return best;
}

function nearestEdge(points, p, reach) {
  let best = null;
  let least = reach;
  points.forEach((point, index) => {
    const place = nearestOnEdge(p, point, points[(index + 1) % points.length]);
    const away = distance(p, place);
    if (away <= least) [best, least] = [{ before: index + 1, place }, away];
  });
  return best;
}
