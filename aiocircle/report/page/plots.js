// Plots over time, and distributions. Each returns a scene: what is drawn, and the stops that pointer and keys go to.
const MARGIN = { top: 22, right: 14, bottom: 26, left: 56 };

const UNITS = { seconds: "duration", bytes: "bytes" };

function frame(width, height, label) {
  return svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, tabindex: "0" });
}

function plane(plot, width, most, unit, margin = MARGIN) {
  const height = width < 520 ? 216 : 242;
  const root = frame(width, height, plot.label);
  const room = { left: margin.left, top: margin.top, width: width - margin.left - margin.right, height: height - margin.top - margin.bottom };
  const ticks = ticksTo(most, unit);
  const top = ticks[ticks.length - 1];
  const y = (value) => room.top + room.height * (1 - value / top);
  root.append(text(0, 9, UNITS[unit] ?? unit, {}));
  for (const tick of ticks) {
    root.append(line(room.left, y(tick), room.left + room.width, y(tick), tick ? "gridline" : "baseline"));
    root.append(text(room.left - 8, y(tick) + 4, onAxis(tick, unit), { "text-anchor": "end" }));
  }
  return { root, room, y, bottom: room.top + room.height };
}

function datesBelow(root, room, bottom, bins, since) {
  const end = bins.start + bins.step * bins.number;
  const place = (at) => room.left + (room.width * (at - bins.start)) / (end - bins.start);
  const named = since
    ? ticksTo(end - bins.start, "seconds", Math.max(2, Math.floor(room.width / 90))).map((one) => [bins.start + one, shortly(one)])
    : datesBetween(bins.start, end, room.width);
  for (const [at, words] of named) {
    if (at > end) continue;
    root.append(line(place(at), bottom, place(at), bottom + 4, "baseline"));
    const anchor = place(at) > room.left + room.width - 24 ? "end" : "middle";
    root.append(text(place(at), bottom + 18, words, { "text-anchor": anchor }));
  }
}

const binTitle = (bins, place, since) => (since
  ? `${shortly(place * bins.step)} to ${shortly((place + 1) * bins.step)} after the begin`
  : nameOfBin(bins.start + place * bins.step, bins.step));

// Runs of neighbours that have a value: a line does not lead across what is not known.
function pieces(values) {
  const found = [];
  values.forEach((value, place) => {
    if (value === null) return;
    if (found.length && found[found.length - 1].at(-1) === place - 1) found[found.length - 1].push(place);
    else found.push([place]);
  });
  return found;
}

function drawLines(plot, choice, width) {
  const { data } = plot;
  const bins = "step" in choice ? choice : data;
  const several = choice.lines.length > 1;
  const most = Math.max(...choice.lines.flatMap((one) => one.values.map((value) => value ?? 0)));
  const margin = { ...MARGIN, right: several ? 40 : 14, left: data.unit === "bytes/s" ? 82 : data.unit === "seconds" ? 62 : 56 };
  const { root, room, y, bottom } = plane(plot, width, most, data.unit, margin);
  const x = (place) => room.left + (room.width * (place + 0.5)) / bins.number;
  datesBelow(root, room, bottom, bins, data.since);
  const shades = several ? ["c0", "c1", "c3"] : ["c0"];
  const top = choice.lines[several ? choice.lines.length - 1 : 0];
  for (const piece of pieces(top.values)) {
    const over = piece.map((place) => `${near(x(place))},${near(y(top.values[place]))}`);
    const floor = several ? choice.lines[0].values : null;
    const under = [...piece].reverse().map((place) => `${near(x(place))},${near(floor ? y(floor[place]) : bottom)}`);
    if (piece.length > 1) root.append(svg("path", { d: `M${over.join("L")}L${under.join("L")}Z`, class: "area c0 mark" }));
  }
  choice.lines.forEach((one, number) => {
    for (const piece of pieces(one.values)) {
      if (piece.length === 1) {
        root.append(svg("circle", { cx: near(x(piece[0])), cy: near(y(one.values[piece[0]])), r: 2.5, class: `dot ${shades[number]} mark` }));
        continue;
      }
      const d = `M${piece.map((place) => `${near(x(place))},${near(y(one.values[place]))}`).join("L")}`;
      root.append(svg("path", { d, class: `line ${number ? "thin " : ""}${shades[number]} mark` }));
    }
  });
  if (several) root.append(...tags(choice.lines, shades, x, y, width));
  const cross = svg("g", {});
  root.append(cross);
  const stops = [];
  for (let place = 0; place < bins.number; place += 1) {
    if (choice.lines[0].values[place] === null) continue;
    const rows = choice.lines.map((one, number) => [shades[number], one.name, amount(one.values[place], data.unit)]).reverse();
    if (choice.numbers) rows.push([null, data.of, plain(choice.numbers[place])]);
    stops.push({
      x: x(place), y: y(top.values[place]), title: binTitle(bins, place, data.since), rows,
      enter() {
        cross.replaceChildren(line(x(place), room.top, x(place), bottom, "cross"), ...choice.lines.map((one, number) =>
          svg("circle", { cx: near(x(place)), cy: near(y(one.values[place])), r: 4, class: `spot ${shades[number]}` })));
      },
      leave() { cross.replaceChildren(); },
    });
  }
  return { root, stops, across: true };
}

// Names at the lines' ends, apart from each other.
function tags(lines, shades, x, y, width) {
  const placed = lines.map((one, number) => {
    const last = one.values.findLastIndex((value) => value !== null);
    return { name: one.name, shade: shades[number], x: Math.min(x(last) + 7, width - 26), y: y(one.values[last]) + 4 };
  });
  placed.sort((one, other) => other.y - one.y);
  placed.forEach((one, number) => {
    if (number && placed[number - 1].y - one.y < 13) one.y = placed[number - 1].y - 13;
  });
  return placed.map((one) => text(one.x, one.y, one.name, { class: `tag ${one.shade}` }));
}

const shadeOf = (layer, number) => (layer.style ? `c-${layer.style}` : `c${Math.min(number, 6)}`);

function drawStack(plot, choice, width) {
  const { data } = plot;
  const totals = Array.from({ length: data.number }, (_, place) => data.layers.reduce((sum, layer) => sum + layer.values[place], 0));
  const { root, room, y, bottom } = plane(plot, width, Math.max(...totals), data.unit);
  datesBelow(root, room, bottom, data);
  const step = room.width / data.number;
  const gap = step > 6 ? Math.min(4, step * 0.2) : step > 3 ? 1 : 0;
  const stops = [];
  totals.forEach((total, place) => {
    if (!total) return;
    const group = svg("g", { class: "mark" }, rectangle(room.left + place * step, room.top, step, room.height, { class: "back" }));
    let below = 0;
    const rows = [];
    data.layers.forEach((layer, number) => {
      const value = layer.values[place];
      if (!value) return;
      const from = y(below);
      below += value;
      const left = room.left + place * step + gap / 2;
      group.append(below === total ? column(left, y(below), step - gap, from - y(below), `fill ${shadeOf(layer, number)}`)
        : rectangle(left, y(below), step - gap, from - y(below), { class: `fill ${shadeOf(layer, number)}` }));
      rows.unshift([shadeOf(layer, number), layer.name, plain(value)]);
    });
    rows.push([null, "in all", amount(total, data.unit)]);
    root.append(group);
    stops.push({ x: room.left + (place + 0.5) * step, y: y(total), title: binTitle(data, place), rows, group });
  });
  return { root, stops, across: true };
}

function drawStrips(plot, choice, width) {
  const { data } = plot;
  const wide = width >= 620;
  const left = wide ? Math.min(240, 16 + Math.max(...data.strips.map((one) => widthOf(one.name)))) : 0;
  const right = wide ? 62 : 0;
  const [rowHeight, cellHeight] = wide ? [36, 26] : [54, 26];
  const room = { left, width: width - left - right };
  const height = data.strips.length * rowHeight + 26;
  const root = frame(width, height, plot.label);
  const step = room.width / data.number;
  const gap = step > 5 ? Math.min(3, step * 0.25) : step > 2.5 ? 0.8 : 0;
  const stops = [];
  data.strips.forEach((strip, row) => {
    const top = row * rowHeight + (wide ? 2 : 22);
    const rate = strip.total[0] / (strip.total[0] + strip.total[1]);
    const percent = `${(100 * rate).toFixed(1)} %`;
    if (wide) root.append(text(0, top + 17, fitted(strip.name, left - 12), { class: "name" }));
    else root.append(text(0, top - 7, fitted(strip.name, width - 70), { class: "name" }));
    root.append(text(width, wide ? top + 17 : top - 7, percent, { class: "strong", "text-anchor": "end" }));
    strip.cells.forEach((cell, place) => {
      const x = room.left + place * step + gap / 2;
      if (!cell) {
        root.append(rectangle(x, top + cellHeight - 2, step - gap, 2, { class: "quiet" }));
        return;
      }
      const [good, bad] = cell;
      const cut = (cellHeight * bad) / (good + bad);
      const group = svg("g", { class: "mark" });
      if (bad) group.append(rectangle(x, top, step - gap, cut, { class: "fill c-failed" }));
      if (good) group.append(rectangle(x, top + cut, step - gap, cellHeight - cut, { class: "fill c-succeeded" }));
      root.append(group);
      stops.push({
        x: x + step / 2, y: top + cellHeight / 2, title: `${strip.name}, ${binTitle(data, place)}`, group,
        rows: [["c-succeeded", "succeeded", plain(good)], ["c-failed", "failed", plain(bad)], [null, "rate", `${((100 * good) / (good + bad)).toFixed(1)} %`]],
      });
    });
  });
  datesBelow(root, { left: room.left, width: room.width }, height - 24, data);
  return { root, stops };
}

function drawHistogram(plot, choice, width) {
  const { data } = plot;
  const unit = choice.unit ?? data.unit;
  const margin = { ...MARGIN, left: unit === "bytes" ? 72 : 56 };
  const { root, room, y, bottom } = plane(plot, width, Math.max(...choice.values), unit, margin);
  const step = room.width / choice.values.length;
  const total = choice.values.reduce((sum, value) => sum + value, 0);
  const stops = [];
  choice.values.forEach((value, place) => {
    const group = svg("g", { class: value ? "mark" : "" }, rectangle(room.left + place * step, room.top, step, room.height, { class: "back" }));
    if (value) group.append(column(room.left + place * step + 1, y(value), step - 2, bottom - y(value), "fill c0"));
    root.append(group);
    stops.push({
      x: room.left + (place + 0.5) * step, y: y(value), title: data.ranges[place], group,
      rows: [["c0", choice.name, amount(value, unit)], [null, "share", `${((100 * value) / (total || 1)).toFixed(1)} %`]],
    });
  });
  let free = -Infinity;
  data.edges.forEach((edge, place) => {
    const at = room.left + place * step;
    const words = edge.replace(/ 00 (s|min)$/, "").replace(/ 0 h$/, "");
    const half = widthOf(words, "12px") / 2;
    if (at - half < free || at + half > width) return;
    root.append(line(at, bottom, at, bottom + 4, "baseline"), text(at, bottom + 18, words, { "text-anchor": "middle" }));
    free = at + half + 10;
  });
  return { root, stops, across: true };
}
