// A pipeline's jobs along one axis of time, from which pauses are cut out.
const STATUS = { success: "c-succeeded", failed: "c-failed", timedout: "c-failed", infrastructure_fail: "c-failed", canceled: "c-cancelled" };
const CUT = 26;

function axisOf(stretches, left, width) {
  const busy = stretches.reduce((sum, [from, to]) => sum + to - from, 0) || 1;
  const scale = (width - CUT * (stretches.length - 1)) / busy;
  let at = left;
  const pieces = stretches.map(([from, to]) => {
    const piece = { from, to, x: at };
    at += (to - from) * scale + CUT;
    return piece;
  });
  const place = (time) => {
    const piece = pieces.findLast((one) => time >= one.from) ?? pieces[0];
    return piece.x + (Math.min(time, piece.to) - piece.from) * scale;
  };
  return { pieces, place, scale, busy };
}

function axisBelow(root, axis, top, bottom, width) {
  const step = SECONDS.find((one) => one * axis.scale >= 70) ?? DAY;
  axis.pieces.forEach((piece, number) => {
    const end = piece.x + (piece.to - piece.from) * axis.scale;
    let last = number ? piece.x + 30 : -Infinity;
    for (let time = Math.ceil(piece.from / step) * step; time <= piece.to; time += step) {
      const x = axis.place(time);
      root.append(line(x, top, x, bottom, "gridline"));
      if (x - last < 56 || x + 24 > width) continue;
      root.append(text(x, bottom + 16, shortly(time), { "text-anchor": x < 12 ? "start" : "middle" }));
      last = x;
    }
    if (number === axis.pieces.length - 1) return;
    const pause = axis.pieces[number + 1].from - piece.to;
    const middle = end + CUT / 2;
    root.append(line(middle, top, middle, bottom, "pause"));
    root.append(svg("title", {}, `${duration(pause)} cut out`), text(middle, top - 3, `+ ${duration(pause)}`, { "text-anchor": middle > width - 50 ? "end" : "middle" }));
  });
}

function drawTimeline(plot, choice, width) {
  const wide = width >= 640;
  const left = wide ? Math.min(230, 24 + Math.max(...choice.bars.map((bar) => widthOf(bar.name)))) : 0;
  const rowHeight = wide ? 24 : 36;
  const workflows = new Set(choice.bars.map((bar) => bar.place)).size;
  const top = 18;
  const bottom = top + choice.bars.length * rowHeight + workflows * 28;
  const root = frame(width, bottom + 24, `${plot.label}: ${choice.name}`);
  const axis = axisOf(choice.stretches, left, width - left - 4);
  axisBelow(root, axis, top, bottom, width);
  let y = top;
  let place = null;
  const stops = choice.bars.map((bar) => {
    if (bar.place !== place) {
      place = bar.place;
      root.append(text(0, y + 18, fitted(bar.workflow, width - 8, "600 12px"), { class: "strong" }));
      y += 28;
    }
    const from = axis.place(bar.started);
    const length = Math.max(2, axis.place(bar.stopped) - from);
    const middle = wide ? y + rowHeight / 2 : y + 26;
    const shade = STATUS[bar.status] ?? "c-other";
    const group = svg("g", { class: "mark" }, rectangle(0, y, width, rowHeight, { class: "back", rx: 6 }));
    group.append(wide ? text(12, middle + 4, fitted(bar.name, left - 22), { class: "name" }) : text(0, y + 14, fitted(bar.name, width - 8), { class: "name" }));
    if (bar.queued !== null && bar.queued < bar.started) {
      const waited = axis.place(bar.queued);
      group.append(rectangle(waited, middle - 3, from - waited, 6, { class: `soft ${shade}` }));
    }
    group.append(rectangle(from, middle - 7, length, 14, { class: `fill ${shade}${bar.critical ? " critical" : ""}`, rx: 3 }));
    const took = duration(bar.stopped - bar.started);
    const beside = from + length + 6;
    if (beside + widthOf(took, "12px") < width) group.append(text(beside, middle + 4, took));
    else if (length > widthOf(took, "12px") + 12) group.append(text(from + length - 8, middle + 4, took, { "text-anchor": "end", class: "inside" }));
    y += rowHeight;
    root.append(group);
    const rows = [[shade, "status", bar.status], [null, "began after", shortly(bar.started)]];
    if (bar.queued !== null) rows.push([null, "queued", duration(bar.started - bar.queued)]);
    rows.push([null, "ran", took]);
    if (bar.critical) rows.push([null, "held the workflow up", "yes"]);
    return { x: Math.min(from + 12, width - 20), y: middle, title: `${bar.name} · ${bar.workflow}`, rows, group, href: bar.href };
  });
  return { root, stops, down: true };
}
