// Live updates, local times, charts and buttons. Pages read well without it.
"use strict";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function times(root) {
  const now = Date.now();
  for (const t of root.querySelectorAll("time[datetime]")) {
    const at = new Date(t.dateTime);
    t.title = at.toLocaleString() + " (" + t.dateTime + ")";
    const ahead = t.classList.contains("ahead"), s = Math.max(0, (ahead ? at - now : now - at) / 1000);
    const [n, unit] = s < 60 ? [s, "second"] : s < 3600 ? [s / 60, "minute"] : s < 86400 ? [s / 3600, "hour"] : [s / 86400, "day"];
    t.textContent = new Intl.RelativeTimeFormat("en", { numeric: "always" }).format(ahead ? Math.floor(n) : -Math.floor(n), unit);
  }
}

const SCALES = {
  "1": (v) => (v * 100).toPrecision(3) + " %",
  "By": (v) => bytes(v, "B"),
  "By/s": (v) => bytes(v, "B/s"),
  "s": (v) => (Math.abs(v) < 1 ? (v * 1000).toPrecision(3) + " ms" : v.toPrecision(3) + " s"),
  "Cel": (v) => v.toFixed(0) + " °C",
};
function bytes(v, unit) {
  for (const [f, p] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (Math.abs(v) >= f) return (v / f).toPrecision(3) + " " + p + unit;
  return v.toFixed(0) + " " + unit;
}
const shown = (v, unit) => (v === null || v === undefined ? "–" : (SCALES[unit] || ((x) => String(+x.toPrecision(3))))(v));

const clock = (s) => new Date(s * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });

const day = (s) => new Date(s * 1000).toLocaleDateString([], { weekday: "short", day: "numeric" });

// One series, its usual band and the onset.
function chart(box, spec) {
  box.replaceChildren();
  const line = css("--line"), soft = css("--soft"), trace = css("--trace"), band = css("--band");
  const marks = {
    hooks: {
      drawClear: (u) => {
        if (spec.low === undefined || spec.low === null || spec.high === null) return;
        const top = u.valToPos(spec.high, "y", true), bottom = u.valToPos(spec.low, "y", true);
        u.ctx.fillStyle = band;
        u.ctx.fillRect(u.bbox.left, Math.min(top, bottom), u.bbox.width, Math.max(2, Math.abs(bottom - top)));
      },
      draw: (u) => {
        if (!spec.onset) return;
        const x = u.valToPos(spec.onset, "x", true);
        u.ctx.save();
        u.ctx.strokeStyle = soft;
        u.ctx.setLineDash([4, 4]);
        u.ctx.beginPath();
        u.ctx.moveTo(x, u.bbox.top);
        u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
        u.ctx.stroke();
        u.ctx.restore();
      },
    },
  };
  const axis = { stroke: soft, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  return new uPlot({
    width: box.clientWidth, height: box.clientHeight, legend: { show: false }, cursor: { y: false },
    plugins: [marks],
    scales: { y: { range: (u, lo, hi) => {
      const values = [lo, hi, spec.low, spec.high].filter((v) => Number.isFinite(v));
      if (!values.length) return [0, 1];
      const [a, b] = [Math.min(...values), Math.max(...values)];
      const room = (b - a || Math.abs(b) || 1) * 0.08;
      return [a >= 0 ? Math.max(0, a - room) : a - room, b + room];
    } } },
    axes: [{ ...axis, size: 28, values: (u, ticks) => ticks.map(spec.x[spec.x.length - 1] - spec.x[0] > 2 * 86400 ? day : clock) }, { ...axis, size: 64, values: (u, ticks) => ticks.map((v) => shown(v, spec.unit)) }],
    series: [{}, { stroke: trace, width: 1.5, points: { show: false }, spanGaps: false }],
  }, [spec.x, spec.y], box);
}

function charts(root) {
  for (const box of root.querySelectorAll(".chart[data-chart]")) chart(box, JSON.parse(box.dataset.chart));
}

// What a change from a page has to carry where people sign in.
const csrf = () => (document.querySelector("meta[name=tacit-csrf]") || {}).content || "";

async function post(url, body, said) {
  const answer = await fetch(url, { method: "POST", headers: { "content-type": "application/json", "x-tacit-csrf": csrf() }, body: JSON.stringify(body) });
  if (answer.ok) return refresh();
  const error = await answer.json().catch(() => null);
  if (said) said.textContent = error ? error.error.message : "It did not work (" + answer.status + ").";
}

function buttons(root) {
  const said = root.querySelector(".said");
  for (const b of root.querySelectorAll("button[data-post]")) b.addEventListener("click", () => post(b.dataset.post, JSON.parse(b.dataset.body || "{}"), said));
  for (const s of root.querySelectorAll("select[data-label]"))
    s.addEventListener("change", () => s.value && post(s.dataset.label, { label: s.value }, said));
}

// How the text of a field becomes a value; a field without data-as is a text, or what its type says.
const READ = {
  lines: (t) => t.split("\n").map((line) => line.trim()).filter((line) => line),
  numbers: (t) => t.split(/[\s,]+/).filter((n) => n).map(Number),
  number: Number,
  event: (t) => ({ node: t.split("/")[0], event: t.split("/")[1] }),
  moment: (t) => new Date(t.length === 10 ? t + "T00:00" : t).getTime(),
};

// What the fields of a form say: empty ones nothing, checkboxes true or, when they have a value, a list of those that are set.
// A dot in a name makes an object.
function fields(form) {
  const body = {};
  for (const f of form.elements) {
    const text = (f.value || "").trim(), several = f.type === "checkbox" && f.hasAttribute("value");
    if (!f.name || !text || (f.type === "checkbox" && !f.checked)) continue;
    const path = f.name.split("."), last = path.pop();
    const place = path.reduce((o, key) => (o[key] = o[key] || {}), body);
    const read = READ[f.dataset.as || f.type] || String;
    if (several) place[last] = [...(place[last] || []), read(text)];
    else place[last] = f.type === "checkbox" ? true : read(text);
  }
  return body;
}

// Forms with data-form send what they hold to that address.
function forms(root) {
  for (const f of root.querySelectorAll("form[data-form]")) {
    for (const z of f.querySelectorAll("input[data-zone]")) z.value = Intl.DateTimeFormat().resolvedOptions().timeZone || z.value;
    f.addEventListener("submit", (e) => {
      e.preventDefault();
      post(f.dataset.form, fields(f), f.querySelector(".said"));
    });
  }
}

// Fetches the page again and puts its main part in place.
let refreshing = null;
async function refresh() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok) return;
  // The session is over: the page to sign in is one of its own.
  if (answer.redirected) return location.assign(answer.url);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.title = fresh.title;
  const main = document.getElementById("main");
  const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.post : null;
  const open = [...main.querySelectorAll("details[open][id]")].map((d) => d.id);
  main.replaceChildren(...fresh.getElementById("main").childNodes);
  for (const d of main.querySelectorAll("details[id]")) if (open.includes(d.id)) d.open = true;
  begin(main);
  const again = focused && main.querySelector(`[data-post="${focused}"]`);
  if (again) again.focus();
}
// Somebody writes into a form, or chooses for it: what came meanwhile is shown when that is sent, or emptied again.
const touched = (f) => (f.type === "checkbox" ? f.checked !== f.defaultChecked : f.defaultValue !== undefined && f.value !== f.defaultValue && !f.hasAttribute("data-zone"));
const writing = () => [...document.querySelectorAll("form[data-form]")].some((form) => [...form.elements].some(touched));
function soon() {
  if (refreshing) return;
  refreshing = setTimeout(() => { refreshing = null; if (writing()) soon(); else refresh(); }, writing() ? 5000 : 400);
}

function follow() {
  const what = document.getElementById("main").dataset.live;
  if (!what) return;
  const stream = new EventSource("/api/v1/live");
  for (const name of what.split(" ")) stream.addEventListener(name, soon);
  stream.addEventListener("lost", soon);
}

// Live charts of a node: every sample while somebody looks, before that minute values.
function watch() {
  const place = document.querySelector("[data-watch]");
  if (!place) return;
  const node = encodeURIComponent(place.dataset.watch), state = document.querySelector("[data-watch-state]");
  const boxes = [...place.querySelectorAll(".chart")].map((box) => {
    const minutes = JSON.parse(box.dataset.minutes);
    const spec = { x: minutes.x, y: minutes.y, unit: box.dataset.unit };
    return { box, spec, plot: chart(box, spec), live: false };
  });
  fetch(`/api/v1/nodes/${node}/series`).then((a) => a.json()).then(({ series }) => {
    const ids = new Map(series.map((s) => [s.name + (s.attributes ? "{" + s.attributes.map((a) => a.key + "=" + a.value).join(",") + "}" : ""), s.id]));
    const stream = new EventSource(`/api/v1/nodes/${node}/watch`);
    stream.addEventListener("silent", () => { state.textContent = "The node does not answer; these are minute values."; });
    stream.addEventListener("frames", (e) => {
      const f = JSON.parse(e.data), column = new Map(f.ids.map((id, i) => [id, i]));
      state.textContent = "Live: every sample, as it is taken.";
      for (const b of boxes) {
        const c = column.get(ids.get(b.box.dataset.series));
        if (c === undefined) continue;
        if (!b.live) { b.live = true; b.spec.x = []; b.spec.y = []; }
        f.frames.forEach((frame, i) => { b.spec.x.push((f.start_ms + i * f.step_ms) / 1000); b.spec.y.push(frame[c]); });
        while (b.spec.x.length > 300) { b.spec.x.shift(); b.spec.y.shift(); }
        b.plot.setData([b.spec.x, b.spec.y]);
        b.box.parentElement.querySelector("figcaption").dataset.now = shown(b.spec.y[b.spec.y.length - 1], b.spec.unit);
      }
    });
    addEventListener("pagehide", () => stream.close());
  }).catch(() => { state.textContent = "The series of this node cannot be read now."; });
}

function begin(root) {
  times(root);
  charts(root);
  buttons(root);
  forms(root);
}

begin(document);
follow();
watch();
setInterval(() => times(document), 15000);
