// Draws the map of the page from the API. What is shown is in the address: a choice changes the address, asks for the page
// again, puts its answers in place, and draws what is new.
"use strict";

(() => {
  const box = document.getElementById("map");
  if (!box) return;
  const said = document.getElementById("said"), MANY = 300, VERY_MANY = 1200;
  let cy = null, plan = null, places = [], focus = -1, drawnAs = "", drawnWords = "";
  let urls = {}, data = {}, pages = 0, draws = 0;

  const wanted = () => document.getElementById("draw").dataset;
  const say = (text) => { said.textContent = text; };
  const count = (n, one, many) => n + " " + (n === 1 ? one : many);

  // -- the address ------------------------------------------------------------------------------------------------

  function address(changes) {
    const url = new URL(location.href);
    url.searchParams.delete("skip");
    for (const [key, value] of Object.entries(changes)) value ? url.searchParams.set(key, value) : url.searchParams.delete(key);
    return url.pathname + url.search;
  }

  function go(url) {
    history.pushState(null, "", url);
    return turn();
  }

  // The page of the present address, in place of what is here.
  async function turn() {
    const mine = ++pages;
    let fresh;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    } catch {
      return say("The collector does not answer.");
    }
    if (mine !== pages) return;
    const answers = fresh.getElementById("answers"), form = fresh.getElementById("asked");
    // Another kind of page, such as one that says what is wrong with the address.
    if (!answers || !form) return location.reload();
    const held = document.activeElement, name = held && held.form ? held.name : "";
    form.querySelector("details").open = document.querySelector("#asked details").open;
    document.getElementById("answers").replaceWith(answers);
    document.getElementById("asked").replaceChildren(...form.childNodes);
    prepare();
    if (name) document.querySelector(`#asked [name="${name}"]`)?.focus();
    const details = document.getElementById("details");
    if (details && document.activeElement === document.body) { details.tabIndex = -1; details.focus({ preventScroll: true }); }
    if (details) details.scrollIntoView({ block: "nearest" });
    return show();
  }

  // -- data -------------------------------------------------------------------------------------------------------

  async function read(url) {
    if (!url) return null;
    const answer = await fetch(url);
    // What is not on this map is said on the page.
    if (answer.status === 404) return null;
    if (!answer.ok) throw new Error("the API answers " + answer.status);
    return answer.json();
  }

  async function show() {
    const mine = ++draws, ask = wanted(), names = ["map", "diff", "blast", "path"];
    const old = names.filter((n) => urls[n] !== ask[n]);
    try {
      const fresh = await Promise.all(old.map((n) => read(ask[n])));
      if (mine !== draws) return;
      old.forEach((n, i) => { data[n] = fresh[i]; urls[n] = ask[n]; });
    } catch (error) {
      return say("The map cannot be drawn now: " + error.message + ". The table below is as it was.");
    }
    const as = JSON.stringify([ask.map, ask.diff, ask.group, ask.open]);
    if (as !== drawnAs) { draw(ask); drawnAs = as; }
    mark();
  }

  // What happened to edges, by their ids; those that are gone are drawn too.
  function changed(diff) {
    const changes = new Map();
    if (!diff) return changes;
    for (const e of diff.appeared) changes.set(e.id, { mark: "new", word: "new" });
    for (const e of diff.vanished) changes.set(e.id, { mark: "gone", word: "gone" });
    for (const c of diff.changed) {
      const m = c.how.includes("failing") ? "fail" : c.how.includes("slower") ? "slow" : "other";
      changes.set(c.after.id, { mark: m, word: c.how.join(", ") });
    }
    return changes;
  }

  function whole(view, diff) {
    if (!diff) return view;
    const known = new Set(view.vertices.map((v) => v.id));
    return { tags: view.tags, vertices: view.vertices.concat(diff.vertices.filter((v) => !known.has(v.id))), edges: view.edges.concat(diff.vanished) };
  }

  // -- drawing ----------------------------------------------------------------------------------------------------

  const groupsOpen = (open) => (open ? new Set(open === "-" ? [] : open.split(",")) : null);

  function draw(ask) {
    if (!data.map) return;
    plan = TacitMap.plan(whole(data.map, data.diff), ask.group, groupsOpen(ask.open), changed(data.diff));
    places = TacitMap.layout(plan);
    focus = -1;
    const boxes = new Map(plan.boxes.map((b, n) => [b.key, "b" + n]));
    const elements = plan.boxes.map((b) => ({ group: "nodes", data: { id: boxes.get(b.key), key: b.key, label: b.title }, classes: "box", selectable: false }));
    for (const one of plan.drawn)
      elements.push({
        group: "nodes", position: { ...places[one.n] }, classes: one.kind,
        data: { id: "v" + one.n, n: one.n, label: one.label, parent: one.box === null ? undefined : boxes.get(one.box) },
      });
    const largest = Math.max(1, ...plan.edges.map((e) => e.bytes));
    plan.edges.forEach((e, n) => elements.push({
      group: "edges", classes: e.mark,
      data: { id: "e" + n, n, source: "v" + e.from.n, target: "v" + e.to.n, label: e.word, wide: 1 + 4 * Math.log1p(e.bytes) / Math.log1p(largest) },
    }));
    const many = plan.edges.length > MANY;
    if (!cy) begin();
    cy.batch(() => { cy.elements().remove(); cy.add(elements); });
    cy.style(style(plan.edges.length));
    box.classList.toggle("many", many);
    fit();
    const folded = plan.drawn.filter((one) => one.kind === "closed").length;
    box.dataset.drawn = count(plan.drawn.length, "vertex", "vertices") + " " + count(plan.edges.length, "edge", "edges");
    drawnWords = plan.drawn.length
      ? "Drawn: " + box.dataset.drawn + (folded ? ", of them " + count(folded, "closed group", "closed groups") + " with their edges added up; open one by a click or Enter." : ".")
      : "Nothing is on this map. Infrastructure is hidden unless you choose to see it.";
  }

  function begin() {
    cy = cytoscape({
      container: box, layout: { name: "preset" }, autoungrabify: true, boxSelectionEnabled: false, autounselectify: true,
      minZoom: 0.03, maxZoom: 2.5, hideEdgesOnViewport: false, textureOnViewport: true, pixelRatio: "auto",
    });
    cy.on("tap", "node", (event) => open(event.target));
    cy.on("tap", "edge", (event) => openEdge(event.target.data("n")));
    cy.on("mouseover", "node", (event) => near(event.target));
    cy.on("mouseout", "node", () => cy.elements().removeClass("near far"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { cy.style(style(plan.edges.length)); });
  }

  function style(edges) {
    const [ink, soft, card, accent] = ["--ink", "--soft", "--card", "--accent"].map(css);
    const font = { "font-family": "system-ui, sans-serif", color: ink };
    // Lines that cross by the hundred are a texture; what is asked for, fails or is pointed at stands out of it.
    const faint = edges > MANY ? Math.max(0.05, Math.min(0.3, 100 / edges)) : 0.6;
    const tone = (name, more) => ({ selector: "edge." + name, style: { "line-color": css("--map-" + name), "target-arrow-color": css("--map-" + name), color: css("--map-" + name), opacity: 1, "z-index": 5, ...more } });
    return [
      { selector: "node", style: {
        ...font, shape: "round-rectangle", width: 156, height: 32, "background-color": card, "border-width": 1.5, "border-color": soft,
        label: "data(label)", "font-size": 12, "text-valign": "center", "text-halign": "center", "text-wrap": "ellipsis", "text-max-width": "142px", "min-zoomed-font-size": 6,
      } },
      { selector: "node.node", style: { "border-style": "dashed" } },
      { selector: "node.external", style: { shape: "hexagon" } },
      { selector: "node.closed", style: { height: 44, "border-style": "double", "border-width": 5, "font-weight": 600 } },
      { selector: "node.box", style: {
        "background-color": soft, "background-opacity": 0.06, "border-width": 1, "border-style": "solid", "border-opacity": 0.5, padding: "14px",
        "text-valign": "top", "text-margin-y": -3, "font-weight": 600, "text-max-width": "400px", "min-zoomed-font-size": 4,
      } },
      { selector: "edge", style: {
        "curve-style": edges > VERY_MANY ? "haystack" : "straight", "haystack-radius": 0, width: "data(wide)", "line-color": soft, opacity: faint,
        "target-arrow-shape": "triangle", "target-arrow-color": soft, "arrow-scale": 0.8,
        ...font, label: "data(label)", "font-size": 11, "text-rotation": "autorotate", "min-zoomed-font-size": 7, "text-background-color": card, "text-background-opacity": 0.85,
      } },
      tone("new", { width: 3.5 }),
      tone("gone", { "line-style": "dotted", width: 3 }),
      tone("slow", { "line-style": "dashed", width: 3 }),
      tone("fail", { "target-arrow-shape": "tee", width: 3 }),
      { selector: "edge.other", style: { opacity: 0.9 } },
      { selector: ".far", style: { opacity: 0.1 } },
      { selector: "edge.near", style: { opacity: 1, "line-color": accent, "target-arrow-color": accent } },
      { selector: ".pale", style: { opacity: 0.22 } },
      { selector: "edge.pale", style: { opacity: Math.min(0.22, faint / 2) } },
      { selector: "node.hit", style: { "border-color": accent, "border-width": 4, "background-color": css("--band") } },
      { selector: "node.affected", style: { "border-color": css("--map-fail"), "border-width": 3 } },
      { selector: "node.root", style: { "border-color": css("--map-fail"), "border-width": 7, "border-style": "double" } },
      { selector: "edge.affected", style: { "line-color": css("--map-fail"), "target-arrow-color": css("--map-fail"), opacity: 0.9 } },
      { selector: ".way", style: { "border-color": accent, "border-width": 5, "line-color": accent, "target-arrow-color": accent, width: 5, opacity: 1 } },
      { selector: "node.way", style: { width: 156 } },
      { selector: ".chosen", style: { "border-color": accent, "border-width": 4, "line-color": accent, "target-arrow-color": accent, opacity: 1 } },
      { selector: "node.focused", style: { "outline-color": accent, "outline-width": 3, "outline-offset": 4 } },
    ];
  }

  // Marks what is asked for: found, chosen, affected, on the way.
  function mark() {
    if (!cy || !plan) return;
    const ask = wanted(), find = ask.find.toLowerCase();
    const depends = new Map((data.blast ? data.blast.affected : []).map((d) => [d.id, d.steps]));
    const roots = new Set(data.blast ? data.blast.roots : []), way = new Set(data.path ? data.path.vertices : []), ways = new Set(data.path ? data.path.edges : []);
    const vertices = new Map((data.map ? data.map.vertices : []).map((v) => [v.id, v]));
    const hits = [];
    cy.batch(() => {
      for (const one of plan.drawn) {
        const node = cy.getElementById("v" + one.n), classes = [one.kind];
        const affected = one.ids.filter((id) => depends.has(id)).length;
        let label = one.label;
        if (data.blast) {
          if (one.ids.some((id) => roots.has(id))) { classes.push("root"); label += " · down"; }
          else if (affected && one.kind === "closed") { classes.push("affected"); label += " · " + affected + " affected"; }
          else if (affected) { classes.push("affected"); label += " · " + count(depends.get(one.ids[0]), "step", "steps"); }
          else classes.push("pale");
        }
        if (one.ids.some((id) => way.has(id))) classes.push("way");
        if (ask.show && one.ids.some((id) => id === ask.show || vertices.get(id)?.owner === ask.show)) classes.push("chosen");
        if (find && one.ids.some((id) => matches(id, vertices.get(id), find))) { classes.push("hit"); hits.push(node); }
        if (one.n === focus) classes.push("focused");
        node.classes(classes).data("label", label);
      }
      plan.edges.forEach((e, n) => {
        const classes = [e.mark], ids = (end) => end.ids.some((id) => depends.has(id) || roots.has(id));
        if (data.blast) classes.push(e.from.ids.some((id) => depends.has(id)) && ids(e.to) ? "affected" : "pale");
        if (e.ids.some((id) => ways.has(id))) classes.push("way");
        if (e.ids.includes(ask.edge)) classes.push("chosen");
        cy.getElementById("e" + n).classes(classes.filter(Boolean));
      });
    });
    if (hits.length) centre(cy.collection(hits));
    const told = [drawnWords];
    if (data.blast) told.push(count(depends.size, "vertex depends", "vertices depend") + " on what is marked as down, " + data.blast.unaffected.length + " do not.");
    if (way.size) told.push("The way has " + count(ways.size, "step", "steps") + ".");
    if (find) told.push(count(hits.length, "match", "matches") + " for " + ask.find + ".");
    say(told.join(" "));
  }

  const matches = (id, v, find) => id.toLowerCase().includes(find) || Boolean(v && (v.name.toLowerCase().includes(find) || (v.address || "").includes(find)));

  function near(node) {
    if (node.hasClass("box")) return;
    cy.batch(() => {
      const around = node.closedNeighborhood();
      cy.elements().not(".box").difference(around).addClass("far");
      around.addClass("near");
    });
  }

  // Shows all at a size that can be read; never larger than life.
  function fit() {
    cy.resize();
    cy.fit(undefined, 24);
    if (cy.zoom() > 1.2) { cy.zoom(1.2); cy.center(); }
  }

  function centre(some) {
    cy.fit(some, 80);
    if (cy.zoom() > 1) { cy.zoom(1); cy.center(some); }
  }

  // -- choices ----------------------------------------------------------------------------------------------------

  function toggle(key) {
    const now = new Set(plan.boxes.map((b) => b.key));
    if (!now.delete(key)) now.add(key);
    return go(address({ open: [...now].join(",") || "-" }));
  }

  function open(node) {
    if (node.hasClass("box")) return toggle(node.data("key"));
    const one = plan.drawn[node.data("n")];
    return one.kind === "closed" ? toggle(one.key) : go(address({ show: one.ids[0], edge: "" }));
  }

  function openEdge(n) {
    const e = plan.edges[n];
    if (e.ids.length > 1) say(e.ids.length + " edges run here; the largest is shown, the table has the others.");
    return go(address({ edge: e.largest.id, show: "" }));
  }

  function zoom(by) {
    cy.zoom({ level: cy.zoom() * by, renderedPosition: { x: cy.width() / 2, y: cy.height() / 2 } });
  }

  const DO = { in: () => zoom(1.4), out: () => zoom(1 / 1.4), fit, close: () => go(address({ open: "-" })) };

  // -- keys -------------------------------------------------------------------------------------------------------

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  function step(dx, dy) {
    if (!places.length) return;
    const next = focus < 0 ? 0 : TacitMap.nearest(places, focus, dx, dy);
    if (next < 0) return;
    if (focus >= 0) cy.getElementById("v" + focus).removeClass("focused");
    focus = next;
    const node = cy.getElementById("v" + focus).addClass("focused"), one = plan.drawn[focus];
    const ways = (end) => plan.edges.filter((e) => e[end] === one).length;
    say((one.full || one.label) + ": " + ways("to") + " incoming, " + ways("from") + " outgoing.");
    const at = node.renderedPosition();
    if (at.x < 80 || at.y < 40 || at.x > cy.width() - 80 || at.y > cy.height() - 40) cy.center(node);
    if (cy.zoom() < 0.5) { cy.zoom(0.8); cy.center(node); }
  }

  box.addEventListener("keydown", (event) => {
    if (!cy || event.ctrlKey || event.altKey || event.metaKey) return;
    if (ARROWS[event.key]) step(...ARROWS[event.key]);
    else if (event.key === "Enter" && focus >= 0) open(cy.getElementById("v" + focus));
    else if (event.key === "+" || event.key === "=") zoom(1.4);
    else if (event.key === "-") zoom(1 / 1.4);
    else if (event.key === "0") fit();
    else if (event.key === "Escape") box.blur();
    else return;
    event.preventDefault();
  });

  // -- the form ---------------------------------------------------------------------------------------------------

  const hour = 3600000;
  function words(slider) {
    const back = -Number(slider.value), out = document.getElementById("slider-words");
    const at = new Date(Math.floor(Date.now() / hour) * hour - back * hour);
    out.textContent = back === 0 ? "now" : back + " h ago, " + at.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    return back === 0 ? "" : at.toISOString().slice(0, 16);
  }

  // Fields and times that came with a page.
  function prepare() {
    for (const one of document.querySelectorAll(".scripted")) one.hidden = false;
    words(document.getElementById("slider"));
    const answers = document.getElementById("answers");
    times(answers);
    charts(answers);
  }

  const form = document.getElementById("asked");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const query = new URLSearchParams();
    for (const [key, value] of new FormData(form)) if (value.trim() && !(key === "group" && value === "node")) query.set(key, value.trim());
    const text = query.toString();
    go("/map" + (text ? "?" + text : ""));
  });
  form.addEventListener("input", (event) => {
    if (event.target.id === "slider") words(event.target);
  });
  form.addEventListener("change", (event) => {
    if (event.target.id === "slider") form.elements.to.value = words(event.target);
    form.requestSubmit();
  });

  document.addEventListener("click", (event) => {
    const act = event.target.closest("[data-map-do]");
    if (act && cy) return DO[act.dataset.mapDo]();
    const link = event.target.closest("a[href]");
    if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const url = new URL(link.href);
    if (url.origin !== location.origin || url.pathname !== "/map" || link.closest("nav")) return;
    event.preventDefault();
    go(url.pathname + url.search);
  });
  addEventListener("popstate", () => { turn(); });

  // What the page came with is prepared already, but for what only a script can do.
  for (const one of document.querySelectorAll(".scripted")) one.hidden = false;
  words(document.getElementById("slider"));
  box.hidden = false;
  show();
})();
