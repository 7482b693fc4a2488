// What holds the page together: choices, the tip, keys, the theme, and drawing anew when there is more or less room.
const DATA = JSON.parse(document.getElementById("data").textContent);
const DRAW = { lines: drawLines, stack: drawStack, strips: drawStrips, histogram: drawHistogram, bars: drawBars, timeline: drawTimeline };
const tip = document.getElementById("tip");
const said = document.getElementById("said");
const drawn = new Map();

function showTip(scene, stop, box) {
  tip.replaceChildren(html("b", {}, stop.title), ...stop.rows.map(([shade, name, value]) =>
    html("div", {}, html("span", { class: shade ? `swatch ${shade}` : "none" }), html("span", {}, name), html("span", {}, value))));
  tip.hidden = false;
  const scale = box.width / scene.root.viewBox.baseVal.width;
  const [x, y] = [box.left + stop.x * scale, box.top + stop.y * scale];
  const size = tip.getBoundingClientRect();
  const left = x + 14 + size.width > innerWidth - 8 ? x - 14 - size.width : x + 14;
  const above = y - size.height / 2;
  tip.style.transform = `translate(${Math.max(8, Math.min(left, innerWidth - size.width - 8))}px, ${Math.max(8, Math.min(above, innerHeight - size.height - 8))}px)`;
}

function interact(scene) {
  const { root, stops } = scene;
  let current = -1;
  const leave = () => {
    stops[current]?.group?.classList.remove("on");
    stops[current]?.leave?.();
    current = -1;
    tip.hidden = true;
  };
  const enter = (place, speak) => {
    if (place !== current) {
      leave();
      current = place;
      stops[place].group?.classList.add("on");
      stops[place].enter?.();
    }
    showTip(scene, stops[place], root.getBoundingClientRect());
    if (speak) said.textContent = [stops[place].title, ...stops[place].rows.map(([, name, value]) => `${name} ${value}`)].join(", ");
  };
  const nearest = (event) => {
    const box = root.getBoundingClientRect();
    const scale = root.viewBox.baseVal.width / box.width;
    const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    let [best, least] = [0, Infinity];
    stops.forEach((stop, place) => {
      const [across, down] = [Math.abs(stop.x - x), Math.abs(stop.y - y)];
      const distance = scene.across ? across : scene.down ? down : across + 40 * Math.floor(down / 18);
      if (distance < least) [best, least] = [place, distance];
    });
    return best;
  };
  if (!stops.length) return;
  root.addEventListener("pointermove", (event) => enter(nearest(event), false));
  root.addEventListener("pointerdown", (event) => enter(nearest(event), false));
  root.addEventListener("pointerleave", leave);
  root.addEventListener("blur", leave);
  root.addEventListener("click", (event) => follow(stops[nearest(event)]));
  root.addEventListener("keydown", (event) => {
    const moves = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    if (event.key === "Escape") leave();
    else if (event.key === "Enter" && current >= 0) follow(stops[current]);
    else if (event.key === "Home" || event.key === "End") enter(event.key === "Home" ? 0 : stops.length - 1, true);
    else if (event.key in moves) enter(current < 0 ? 0 : Math.max(0, Math.min(stops.length - 1, current + moves[event.key])), true);
    else return;
    event.preventDefault();
  });
  if (stops.some((stop) => stop.href)) for (const stop of stops) if (stop.href) stop.group.style.cursor = "pointer";
}

function follow(stop) {
  if (stop.href && /^https?:\/\//i.test(stop.href)) window.open(stop.href, "_blank", "noopener,noreferrer");
}

function draw(plot) {
  const host = document.getElementById(`plot-${plot.id}`);
  const width = Math.floor(host.clientWidth);
  if (!width) return;
  const state = drawn.get(plot.id);
  const choices = plot.data.choices ?? [{}];
  const scene = DRAW[plot.kind](plot, choices[state.choice], width);
  host.replaceChildren(scene.root);
  host.dataset.marks = scene.root.querySelectorAll(".mark").length;
  state.width = width;
  tip.hidden = true;
  interact(scene);
}

function choose(plot, place) {
  const { what, choices } = plot.data;
  for (const other of DATA.plots) {
    if (other.data.what !== what || !other.data.choices) continue;
    const found = other.data.choices.findIndex((one) => one.name === choices[place].name);
    const state = drawn.get(other.id);
    if (found < 0 || found === state.choice) continue;
    state.choice = found;
    if (state.select) state.select.value = String(found);
    draw(other);
  }
}

function control(plot) {
  const host = document.getElementById(`controls-${plot.id}`);
  const { what, choices, layers } = plot.data;
  const state = { choice: 0, width: 0, select: null };
  drawn.set(plot.id, state);
  if (choices?.length > 1) {
    state.select = html("select", {}, ...choices.map((choice, place) => html("option", { value: place }, choice.name)));
    state.select.addEventListener("change", () => choose(plot, Number(state.select.value)));
    host.append(html("label", {}, what, state.select));
  }
  const keys = layers?.map((layer, number) => [shadeOf(layer, number), layer.name]) ?? {
    strips: [["c-succeeded", "succeeded"], ["c-failed", "failed"]],
    timeline: [["c-succeeded", "success"], ["c-failed", "failed"], ["c-cancelled", "cancelled"]],
  }[plot.kind];
  if (keys) host.append(html("ul", { class: "legend" }, ...keys.map(([shade, name]) => html("li", {}, html("span", { class: `swatch ${shade}` }), name))));
}

function themes() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const say = () => {
    button.setAttribute("aria-pressed", String(isDark()));
    button.querySelector("span").textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", isDark() ? "Dark theme" : "Light theme");
  };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    say();
  });
  system.addEventListener("change", say);
  say();
}

function copying() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      getSelection().selectAllChildren(code);
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Selected"; // where a page may not write to the clipboard, the keys for copying do it
      }
    });
  }
}

themes();
copying();
for (const plot of DATA.plots) control(plot);
for (const plot of DATA.plots) draw(plot);
for (const host of document.querySelectorAll(".spark")) drawSpark(host, DATA.courses[Number(host.dataset.course)]);
const watch = new ResizeObserver(() => {
  for (const plot of DATA.plots) {
    if (Math.floor(document.getElementById(`plot-${plot.id}`).clientWidth) !== drawn.get(plot.id).width) draw(plot);
  }
});
watch.observe(document.getElementById("content"));
addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
document.documentElement.dataset.drawn = String(DATA.plots.length);
