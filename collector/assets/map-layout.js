// What of a map is drawn, and where: pure functions of data, without a page.
//
// Callers stand left of those they call. Cycles are cut where a search in depth meets itself, layers are longest paths, the order
// within a layer follows the barycentres of neighbours, and heights come from an isotonic regression: as near to the neighbours
// as the order allows. Groups are laid out inside first and take part outside as one block.
"use strict";

const TacitMap = (() => {
  // Vertices above which groups are closed until they are opened.
  const FOLD = 150;
  const BOX = { w: 156, h: 32, closed: 44, padding: 14, title: 24 };
  const OUTER = { x: 110, y: 26 }, INNER = { x: 54, y: 12 };

  // The group of a vertex. Who is outside has no node: of a large map, those of one port are a group. By a tag, those whose node
  // has none are alone.
  function groupOf(v, by, large, tags) {
    if (by === "none") return null;
    if (v.kind === "external") return large ? (v.port ? "outside:" + v.port : "outside") : null;
    if (!by.startsWith("tag.")) return by === "site" ? v.site : v.node;
    const key = by.slice(4), of = (tags || {})[v.node];
    return of && of[key] !== undefined ? key + "=" + of[key] : null;
  }

  function titleOf(key) {
    if (key === "outside") return "outside, clients";
    return key.startsWith("outside:") ? "outside, port " + key.slice(8) : key;
  }

  const failing = (e) => e.failed > 0 && e.failed * 20 >= Math.max(e.connects, e.failed);
  const bytesOf = (e) => e.sent + e.received;

  // The vertices and edges to be drawn: `open` is a set of groups, or null for what is usual; `changes` tells of edges by id.
  function plan(view, by, open, changes) {
    const large = by !== "none" && view.vertices.length > FOLD;
    const groups = new Map();
    for (const v of view.vertices) {
      const key = groupOf(v, by, large, view.tags);
      if (key === null) continue;
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(v);
    }
    const isOpen = (key) => (open ? open.has(key) : !large);
    const drawn = [], boxes = [], at = new Map();
    const put = (one) => { drawn.push(one); for (const id of one.ids) at.set(id, one); };
    for (const [key, members] of groups) {
      if (isOpen(key)) boxes.push({ key, title: titleOf(key), count: members.length });
      else if (members.length > 1 || !key.startsWith("outside"))
        put({ ids: members.map((v) => v.id), label: titleOf(key) + " · " + members.length, kind: "closed", key });
      else put(vertex(members[0], null, by));
    }
    for (const v of view.vertices) {
      if (at.has(v.id)) continue;
      const key = groupOf(v, by, large, view.tags);
      put(vertex(v, key, by));
    }
    drawn.forEach((one, n) => { one.n = n; });
    return { drawn, boxes, edges: bundles(view.edges, at, changes || new Map()), at, large };
  }

  function vertex(v, key, by) {
    const outside = v.hostname ? v.hostname + (v.port ? ":" + v.port : "") : v.name;
    const short = by === "node" && v.owner ? v.owner : v.kind === "external" ? outside : v.name;
    return { ids: [v.id], label: short, full: v.name, kind: v.kind, box: key, key: null };
  }

  // Edges between the same two are one line: it says the worst of them.
  const WORST = ["", "other", "new", "slow", "gone", "fail"];
  function bundles(edges, at, changes) {
    const all = new Map();
    for (const e of edges) {
      const from = at.get(e.client), to = at.get(e.server);
      if (!from || !to || from === to) continue;
      const key = from.n + ">" + to.n;
      if (!all.has(key)) all.set(key, { from, to, ids: [], bytes: 0, largest: e, mark: "", word: "" });
      const b = all.get(key);
      b.ids.push(e.id);
      b.bytes += bytesOf(e);
      if (bytesOf(e) > bytesOf(b.largest)) b.largest = e;
      const change = changes.get(e.id) || (failing(e) ? { mark: "fail", word: "fails" } : null);
      if (change && WORST.indexOf(change.mark) > WORST.indexOf(b.mark)) { b.mark = change.mark; b.word = change.word; }
    }
    return [...all.values()];
  }

  // Places of all that is drawn: `{ x, y }` of the middle of each, by its number.
  function layout(plan) {
    const places = new Array(plan.drawn.length);
    const size = (one) => ({ w: BOX.w, h: one.kind === "closed" ? BOX.closed : BOX.h });
    const blocks = [], blockOf = new Array(plan.drawn.length);
    for (const box of plan.boxes) {
      const members = plan.drawn.filter((one) => one.box === box.key);
      const local = new Map(members.map((one, n) => [one.n, n]));
      const links = plan.edges.filter((e) => local.has(e.from.n) && local.has(e.to.n));
      const inner = layered(members.map(size), links.map((e) => [local.get(e.from.n), local.get(e.to.n)]), INNER);
      members.forEach((one) => { blockOf[one.n] = blocks.length; });
      blocks.push({ w: inner.w + 2 * BOX.padding, h: inner.h + 2 * BOX.padding + BOX.title, members, inner });
    }
    for (const one of plan.drawn) {
      if (blockOf[one.n] !== undefined) continue;
      blockOf[one.n] = blocks.length;
      blocks.push({ ...size(one), members: [one], inner: null });
    }
    const links = plan.edges.map((e) => [blockOf[e.from.n], blockOf[e.to.n]]);
    const outer = layered(blocks, links, OUTER);
    blocks.forEach((b, n) => {
      const middle = outer.places[n];
      b.members.forEach((one, m) => {
        const p = b.inner ? b.inner.places[m] : { x: 0, y: 0 };
        places[one.n] = { x: middle.x + p.x, y: middle.y + p.y + (b.inner ? BOX.title / 2 : 0) };
      });
    });
    return places;
  }

  // Places of blocks `{ w, h }` around the origin; links are pairs of their numbers.
  function layered(blocks, links, gap) {
    const n = blocks.length;
    if (n === 0) return { places: [], layers: [], w: 0, h: 0 };
    const { out, into } = acyclic(n, links);
    const layer = ranks(n, out, into);
    const layers = [];
    for (let v = 0; v < n; v++) (layers[layer[v]] = layers[layer[v]] || []).push(v);
    const full = layers.filter((l) => l && l.length);
    order(full, out, into, n);
    return { ...place(full, blocks, out, into, gap), layers: layer };
  }

  // Neighbours without the links that close a cycle, by a search in depth: from those whom nobody calls first.
  function acyclic(n, links) {
    const next = Array.from({ length: n }, () => []), calls = new Array(n).fill(0), seen = new Set();
    for (const [a, b] of links) {
      if (a === b || seen.has(a * n + b)) continue;
      seen.add(a * n + b);
      next[a].push(b);
      calls[b]++;
    }
    const out = Array.from({ length: n }, () => []), into = Array.from({ length: n }, () => []);
    const roots = [...Array(n).keys()].sort((a, b) => Math.min(1, calls[a]) - Math.min(1, calls[b]) || next[b].length - calls[b] - next[a].length + calls[a] || a - b);
    const state = new Uint8Array(n);
    for (const root of roots) {
      if (state[root]) continue;
      const stack = [[root, 0]];
      state[root] = 1;
      while (stack.length) {
        const top = stack[stack.length - 1], v = top[0];
        if (top[1] === next[v].length) { state[v] = 2; stack.pop(); continue; }
        const to = next[v][top[1]++];
        if (state[to] === 1) continue;
        out[v].push(to);
        into[to].push(v);
        if (!state[to]) { state[to] = 1; stack.push([to, 0]); }
      }
    }
    return { out, into };
  }

  // Longest paths; whom nobody calls moves next to those it calls.
  function ranks(n, out, into) {
    const rank = new Array(n).fill(0), open = into.map((l) => l.length), ready = [];
    for (let v = 0; v < n; v++) if (!open[v]) ready.push(v);
    for (let i = 0; i < ready.length; i++) {
      const v = ready[i];
      for (const to of out[v]) {
        rank[to] = Math.max(rank[to], rank[v] + 1);
        if (--open[to] === 0) ready.push(to);
      }
    }
    for (let v = 0; v < n; v++)
      if (!into[v].length && out[v].length) rank[v] = Math.min(...out[v].map((to) => rank[to])) - 1;
    return squeezed(rank, n);
  }

  // Where all talk to all, longest paths make a thread of single vertices: then layers are joined until they have some width.
  function squeezed(rank, n) {
    const layers = Math.max(...rank) + 1, most = n <= 16 ? n : Math.max(6, Math.ceil(0.9 * Math.sqrt(n)));
    if (layers <= most) return rank;
    const count = new Array(layers).fill(0), below = [];
    for (const r of rank) count[r]++;
    let sum = 0;
    for (let r = 0; r < layers; r++) { below[r] = sum; sum += count[r]; }
    return rank.map((r) => Math.floor((below[r] * most) / n));
  }

  // Barycentre sweeps, forth and back.
  function order(layers, out, into, n) {
    const at = new Array(n).fill(0);
    const number = (layer) => layer.forEach((v, i) => { at[v] = (i + 0.5) / layer.length; });
    layers.forEach(number);
    for (let sweep = 0; sweep < 8; sweep++) {
      const forth = sweep % 2 === 0, near = forth ? into : out;
      for (const layer of forth ? layers : [...layers].reverse()) {
        const want = new Map(layer.map((v) => [v, near[v].length ? mean(near[v], at) : at[v]]));
        layer.sort((a, b) => want.get(a) - want.get(b) || at[a] - at[b] || a - b);
        number(layer);
      }
    }
  }

  const mean = (list, of) => list.reduce((sum, v) => sum + of[v], 0) / list.length;

  // Columns side by side. A layer that would be much taller than the whole is wide takes several columns, in turns, so that
  // neighbours stay at the same height.
  function place(layers, blocks, out, into, gap) {
    const area = blocks.reduce((sum, b) => sum + (b.w + gap.x) * (b.h + gap.y), 0);
    const tallest = Math.max(...blocks.map((b) => b.h));
    const limit = Math.max(tallest, Math.sqrt(area / 1.5), 6 * (BOX.h + gap.y));
    const x = [], y = new Array(blocks.length).fill(0), columns = [];
    let left = 0;
    for (const layer of layers) {
      const total = layer.reduce((sum, v) => sum + blocks[v].h + gap.y, 0);
      const count = Math.max(1, Math.ceil(total / limit));
      for (let c = 0; c < count; c++) {
        const column = layer.filter((_, i) => i % count === c);
        if (!column.length) continue;
        const wide = Math.max(...column.map((v) => blocks[v].w));
        column.forEach((v) => { x[v] = left + wide / 2; });
        left += wide + (c + 1 < count ? gap.x / 2 : gap.x);
        columns.push(column);
        heights(column, column.map(() => 0), blocks, gap, y);
      }
    }
    for (let sweep = 0; sweep < 4; sweep++)
      for (const column of sweep % 2 ? [...columns].reverse() : columns)
        heights(column, column.map((v) => (out[v].length + into[v].length ? mean(out[v].concat(into[v]), y) : y[v])), blocks, gap, y);
    const top = Math.min(...blocks.map((b, v) => y[v] - b.h / 2)), bottom = Math.max(...blocks.map((b, v) => y[v] + b.h / 2));
    const w = Math.max(0, left - gap.x), h = bottom - top;
    return { places: blocks.map((_, v) => ({ x: x[v] - w / 2, y: y[v] - (top + bottom) / 2 })), w, h };
  }

  // The heights nearest to what is wanted that keep order and distance: pools of neighbours that violate it share a mean.
  function heights(column, want, blocks, gap, y) {
    const pools = [];
    let offset = 0;
    column.forEach((v, i) => {
      const middle = offset + blocks[v].h / 2;
      offset += blocks[v].h + gap.y;
      let pool = { sum: want[i] - middle, count: 1, members: [[v, middle]] };
      while (pools.length && pools[pools.length - 1].sum / pools[pools.length - 1].count > pool.sum / pool.count) {
        const before = pools.pop();
        pool = { sum: before.sum + pool.sum, count: before.count + pool.count, members: before.members.concat(pool.members) };
      }
      pools.push(pool);
    });
    for (const pool of pools) for (const [v, middle] of pool.members) y[v] = pool.sum / pool.count + middle;
  }

  // The nearest place in a direction, for the arrow keys.
  function nearest(places, from, dx, dy) {
    let best = -1, least = Infinity;
    places.forEach((p, n) => {
      if (n === from) return;
      const along = (p.x - places[from].x) * dx + (p.y - places[from].y) * dy;
      const aside = Math.abs((p.x - places[from].x) * dy) + Math.abs((p.y - places[from].y) * dx);
      const distance = along + 2 * aside;
      if (along > 1 && distance < least) { least = distance; best = n; }
    });
    return best;
  }

  return { FOLD, plan, layout, layered, nearest, failing };
})();
