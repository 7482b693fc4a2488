// Bars from one baseline at the left, longest first, with their names beside them or, where it is narrow, above.
function drawBars(plot, choice, width) {
  const { data } = plot;
  const wide = width >= 480;
  const ends = data.bars.map((bar) => Math.max(bar.value ?? 0, bar.further ?? 0));
  const most = Math.max(...ends) || 1;
  const words = data.bars.map((bar) => bar.text ?? (data.further ? `${amount(bar.value, data.unit)} · ${amount(bar.further, data.unit)}` : amount(bar.value, data.unit)));
  const left = wide ? Math.min(width * 0.38, 14 + Math.max(...data.bars.map((bar) => widthOf(bar.short ?? bar.name)))) : 0;
  const right = Math.min(width * (wide ? 0.4 : 0.6), 14 + Math.max(...words.map((one) => widthOf(one, "12px"))));
  const room = width - left - right;
  const rowHeight = wide ? 27 : 40;
  const root = frame(width, data.bars.length * rowHeight + 2, plot.label);
  const shade = data.style ? `c-${data.style}` : "c0";
  const stops = data.bars.map((bar, row) => {
    const top = row * rowHeight;
    const middle = wide ? top + rowHeight / 2 : top + 28;
    const length = (room * (bar.value ?? 0)) / most;
    const end = (room * ends[row]) / most;
    const group = svg("g", { class: "mark" }, rectangle(0, top, width, rowHeight, { class: "back", rx: 6 }));
    group.append(wide ? text(0, middle + 4, fitted(bar.short ?? bar.name, left - 12), { class: "name" }) : text(0, top + 15, fitted(bar.short ?? bar.name, width - 8), { class: "name" }));
    if (end > length) group.append(rectangle(left, middle - 7, end, 14, { class: `soft ${shade}`, rx: 2 }));
    group.append(rectangle(left, middle - 7, Math.max(1, length), 14, { class: `fill ${shade}`, rx: 2 }));
    group.append(text(left + end + 8, middle + 4, words[row]));
    root.append(group);
    const rows = [[shade, data.value, amount(bar.value, data.unit)]];
    if (data.further) rows.push([null, data.further, amount(bar.further, data.unit)]);
    for (const [name, value] of bar.more ?? []) rows.push([null, name, value]);
    return { x: left + Math.max(length, 24) / 1.5, y: middle, title: bar.name, rows, group };
  });
  root.append(line(left, 0, left, wide ? data.bars.length * rowHeight : 0, "baseline"));
  return { root, stops, down: true };
}

// The course behind a headline figure.
function drawSpark(host, values) {
  const known = values.filter((value) => value !== null);
  if (known.length < 3 || known.length < values.length / 2) return; // of a course with more holes than points nothing is seen
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const x = (place) => 2 + (68 * place) / (values.length - 1);
  const y = (value) => (high > low ? 19 - (16 * (value - low)) / (high - low) : 11);
  const root = svg("svg", { width: "100%", height: 22, viewBox: "0 0 72 22", preserveAspectRatio: "none" });
  for (const piece of pieces(values)) {
    const d = piece.map((place) => `${near(x(place))},${near(y(values[place]))}`).join("L");
    root.append(svg("path", { d: `M${d}`, class: "line thin c0" }));
  }
  host.replaceChildren(root);
}
