// Painting into a mask: Uint8Array of object numbers, row by row, pixel centres at integers.
// Every function returns the box that may have changed, {x0, y0, x1, y1}, the ends not in it.

export function boxOf(x0, y0, x1, y1, width, height) {
  return {
    x0: Math.max(0, Math.floor(x0)),
    y0: Math.max(0, Math.floor(y0)),
    x1: Math.min(width, Math.ceil(x1) + 1),
    y1: Math.min(height, Math.ceil(y1) + 1),
  };
}

export function joined(one, other) {
  if (!one || !other) return one || other;
  return {
    x0: Math.min(one.x0, other.x0),
    y0: Math.min(one.y0, other.y0),
    x1: Math.max(one.x1, other.x1),
    y1: Math.max(one.y1, other.y1),
  };
}

/** Paint what lies within `radius` of the line from `from` to `to`. */
export function stroke(mask, width, height, from, to, radius, value) {
  const box = boxOf(
    Math.min(from.x, to.x) - radius, Math.min(from.y, to.y) - radius,
    Math.max(from.x, to.x) + radius, Math.max(from.y, to.y) + radius, width, height,
  );
  const dx = to.x - from.x;
  const dy = to.y - from.y;
  const length = dx * dx + dy * dy;
  for (let y = box.y0; y < box.y1; y += 1) {
    for (let x = box.x0; x < box.x1; x += 1) {
      const along = length ? ((x - from.x) * dx + (y - from.y) * dy) / length : 0;
      const t = along < 0 ? 0 : along > 1 ? 1 : along;
      const ex = x - from.x - t * dx;
      const ey = y - from.y - t * dy;
      if (ex * ex + ey * ey <= radius * radius) mask[y * width + x] = value;
    }
  }
  return box;
}

/** Fill a box between two corners. */
export function fillBox(mask, width, height, from, to, value) {
  const box = {
    x0: Math.max(0, Math.round(Math.min(from.x, to.x))),
    y0: Math.max(0, Math.round(Math.min(from.y, to.y))),
    x1: Math.min(width, Math.round(Math.max(from.x, to.x)) + 1),
    y1: Math.min(height, Math.round(Math.max(from.y, to.y)) + 1),
  };
  for (let y = box.y0; y < box.y1; y += 1) mask.fill(value, y * width + box.x0, y * width + Math.max(box.x0, box.x1));
  return box;
}

/** Fill a polygon; where it crosses itself, by the even-odd rule. */
export function fillPolygon(mask, width, height, corners, value) {
  const ys = corners.map((corner) => corner.y);
  const xs = corners.map((corner) => corner.x);
  const box = boxOf(Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys), width, height);
  for (let y = box.y0; y < box.y1; y += 1) {
    const crossings = [];
    corners.forEach((one, k) => {
      const other = corners[(k + 1) % corners.length];
      if ((one.y <= y) !== (other.y <= y)) {
        crossings.push(one.x + ((y - one.y) / (other.y - one.y)) * (other.x - one.x));
      }
    });
    crossings.sort((a, b) => a - b);
    for (let k = 0; k + 1 < crossings.length; k += 2) {
      const from = Math.max(0, Math.ceil(crossings[k]));
      const to = Math.min(width - 1, Math.floor(crossings[k + 1]));
      if (from <= to) mask.fill(value, y * width + from, y * width + to + 1);
    }
  }
  return box;
}

/** The object numbers that a mask shows. */
export function shown(mask) {
  const seen = new Uint8Array(256);
  for (let k = 0; k < mask.length; k += 1) seen[mask[k]] = 1;
  return [...seen.keys()].filter((number) => number && seen[number]);
}

/** A mask with some objects alone. */
export function only(mask, objects) {
  const kept = new Uint8Array(256);
  for (const number of objects) kept[number] = number;
  return mask.map((number) => kept[number]);
}

/**
 * Draw a mask into RGBA pixels within a box: tinted, and outlined inside in a light colour and
 * outside in black, so that the border is seen on any ground.
 */
export function draw(mask, width, height, colours, pixels, box, thickness) {
  const reach = Math.max(1, thickness);
  for (let y = box.y0; y < box.y1; y += 1) {
    for (let x = box.x0; x < box.x1; x += 1) {
      const at = y * width + x;
      const number = mask[at];
      let beside = -1;
      for (let d = 1; d <= reach && beside < 0; d += 1) {
        if (x >= d && mask[at - d] !== number) beside = mask[at - d];
        else if (x + d < width && mask[at + d] !== number) beside = mask[at + d];
        else if (y >= d && mask[at - d * width] !== number) beside = mask[at - d * width];
        else if (y + d < height && mask[at + d * width] !== number) beside = mask[at + d * width];
      }
      if (number) pixels[at] = beside < 0 ? colours.tint[number] : colours.line[number];
      else pixels[at] = beside < 0 ? 0 : 0xc0000000;
    }
  }
}
