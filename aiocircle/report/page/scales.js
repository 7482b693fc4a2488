// Figures as people read them, and axes whose steps they would have chosen.
const MINUTE = 60, HOUR = 3600, DAY = 86400;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
const two = (number) => String(number).padStart(2, "0");

function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds > 0 && seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < MINUTE) return `${seconds < 10 && seconds % 1 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)} min ${two(whole % MINUTE)} s`;
  if (whole < DAY) return `${Math.floor(whole / HOUR)} h ${two(Math.floor((whole % HOUR) / MINUTE))} min`;
  return `${Math.floor(whole / DAY)} d ${Math.floor((whole % DAY) / HOUR)} h`;
}

// On an axis "5 min 00 s" is "5 min".
const shortly = (seconds) => (seconds === 0 ? "0" : duration(seconds).replace(/ 00 (s|min)$/, "").replace(/ 0 h$/, ""));

function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (Math.abs(number) >= 1024 && unit < units.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return unit ? `${number.toFixed(1)} ${units[unit]}` : `${Math.round(number)} B`;
}

function plain(number) {
  const digits = Number.isInteger(number) || number >= 100 ? 0 : number >= 1 ? 1 : 2;
  return number.toLocaleString("en-GB", { maximumFractionDigits: digits });
}

function amount(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "seconds") return duration(value);
  if (unit === "bytes") return bytes(value);
  if (unit === "bytes/s") return `${bytes(value)}/s`;
  return unit === "count" ? plain(value) : `${plain(value)} ${unit}`;
}

function onAxis(value, unit) {
  if (unit === "seconds") return shortly(value);
  if (unit === "bytes" || unit === "bytes/s") return value === 0 ? "0" : amount(value, unit).replace(".0 ", " ");
  if (value >= 1e6) return `${plain(value / 1e6)} M`;
  return value >= 1e4 ? `${plain(value / 1e3)} k` : plain(value);
}

function roundStep(step) {
  const power = 10 ** Math.floor(Math.log10(step));
  return power * [1, 2, 5, 10].find((one) => one * power >= step * 0.999);
}

// Where an axis from zero has its lines.
function ticksTo(most, unit, number = 4) {
  const wanted = (most || 1) / number;
  let step;
  if (unit === "seconds" && wanted >= 1) step = SECONDS.find((one) => one >= wanted) ?? roundStep(wanted / DAY) * DAY;
  else if (unit.startsWith("bytes")) {
    const power = 1024 ** Math.max(0, Math.floor(Math.log(wanted) / Math.log(1024)));
    step = roundStep(wanted / power) * power;
  } else step = roundStep(wanted);
  if (["runs", "jobs", "count"].includes(unit) || unit === "files") step = Math.max(1, step);
  const found = [];
  for (let value = 0; value < most + step * 0.999; value += step) found.push(value);
  return found.length > 1 ? found : [0, step];
}

function day(seconds) {
  const then = new Date(seconds * 1000);
  return `${then.getUTCDate()} ${MONTHS[then.getUTCMonth()]}`;
}

function timeOfDay(seconds, step = MINUTE) {
  const then = new Date(seconds * 1000);
  const clock = `${two(then.getUTCHours())}:${two(then.getUTCMinutes())}`;
  return step < MINUTE ? `${clock}:${two(then.getUTCSeconds())}` : clock;
}

const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

function nameOfBin(start, step) {
  const then = new Date(start * 1000);
  const date = `${WEEKDAYS[then.getUTCDay()]} ${day(start)} ${then.getUTCFullYear()}`;
  if (step < DAY) return `${date}, ${timeOfDay(start, step)}`;
  return step > DAY ? `week from ${date}` : date;
}

// The moments that an axis of dates names: days, Mondays, months or years, as there is room.
function datesBetween(start, end, room) {
  const most = Math.max(2, Math.floor(room / 72));
  const span = end - start;
  const step = [HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY].find((one) => span / one <= most);
  const found = [];
  if (step) {
    const origin = step >= 7 * DAY ? 4 * DAY : 0;
    for (let at = Math.ceil((start - origin) / step) * step + origin; at < end; at += step) {
      found.push([at, step < DAY && at % DAY ? timeOfDay(at) : day(at)]);
    }
    return found;
  }
  const months = [1, 2, 3, 6, 12, 24, 60].find((one) => span / (one * 30.4 * DAY) <= most) ?? 120;
  const first = new Date(start * 1000);
  for (let month = Math.ceil((first.getUTCFullYear() * 12 + first.getUTCMonth()) / months) * months; ; month += months) {
    const at = Date.UTC(Math.floor(month / 12), month % 12, 1) / 1000;
    if (at >= end) return found;
    if (at >= start) found.push([at, `${MONTHS[month % 12]} ${Math.floor(month / 12)}`]);
  }
}
