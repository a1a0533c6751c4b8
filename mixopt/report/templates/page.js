// Fills the page: sliders and tables from the emulator, charts by Vega-Lite with the rows computed here.
(async function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const whatIf = data.what_if, domains = whatIf.domains, d = domains.length;
  const emulator = makeEmulator(whatIf);
  const $ = (id) => document.getElementById(id);
  const percent = (x) => (100 * x).toFixed(1) + "%";
  const signed = (x) => (x < 0 ? "−" : "+") + Math.abs(x).toFixed(3);
  const word = data.decided ? `difference of ${data.learned_from}` : "gain";
  document.documentElement.classList.add("scripted");

  // --- charts ------------------------------------------------------------------------------

  const views = {};
  const narrow = () => document.body.clientWidth < 560;
  /** Draws a chart of Vega-Lite; a chart that is drawn anew replaces the old one. */
  async function draw(name, target, spec) {
    if (narrow()) {
      spec = structuredClone(spec);
      Object.assign(spec.config.axis, { labelLimit: 105, labelFontSize: 11, titleFontSize: 11 });
      spec.config.text.fontSize = 11;
      for (const layer of spec.layer || []) {
        if (["picture-ratios", "picture-purchases"].includes(name) && layer.encoding.text) layer.encoding.text.field = "short";
      }
    }
    if (views[name]) views[name].finalize();
    const options = { mode: "vega-lite", actions: false, renderer: "svg", ast: true, defaultStyle: false, tooltip: { disableDefaultStyle: true } };
    const result = await vegaEmbed(target, spec, options);
    views[name] = result;
    return result.view;
  }
  function put(name, tables) {
    if (!views[name]) return undefined;
    const view = views[name].view;
    for (const key in tables) view.data(key, tables[key]);
    return view.runAsync();
  }

  function fill(body, rows) {
    body.replaceChildren(...rows.map((cells) => {
      const row = document.createElement("tr");
      cells.forEach((cell, place) => {
        const created = document.createElement(place ? "td" : "th");
        if (!place) created.scope = "row";
        created.textContent = cell;
        row.appendChild(created);
      });
      return row;
    }));
  }
  function addOptions(select, names, chosen) {
    names.forEach((name, place) => {
      const option = document.createElement("option");
      option.textContent = name;
      option.value = place;
      option.selected = place === chosen;
      select.appendChild(option);
    });
  }
  for (const input of document.querySelectorAll("input.filter")) {
    let holder = input.closest("p");
    while (holder && !holder.querySelector("table")) holder = holder.nextElementSibling;
    const filter = () => {
      const wanted = input.value.toLowerCase();
      for (const row of holder.querySelectorAll("tbody tr")) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    };
    input.addEventListener("input", filter);
    input.again = filter;
  }

  // --- try it ------------------------------------------------------------------------------

  const names = Object.keys(whatIf.starts), first = whatIf.starts[names[0]];
  const reference = whatIf.starts[whatIf.reference] || first;
  // what moves most, for pages with many domains; where the reference is kept, of the best other mixture
  const shown = whatIf.starts["best other"] || first;
  const movers = domains.map((_, j) => j).sort((a, b) =>
    Math.abs(shown[b] - reference[b]) - Math.abs(shown[a] - reference[a]) || shown[b] - shown[a] || a - b);
  const MANY = 15, SHOWN = 12;
  let ratios = first.slice();
  // the mixture from which the slider that moves now began: at 100% nothing is left of the others' proportions
  let from = { place: -1, ratios };
  const sliders = domains.map((domain, place) => {
    const row = document.createElement("div");
    row.className = "slider";
    const label = document.createElement("label"), input = document.createElement("input");
    const share = document.createElement("output"), limits = document.createElement("small");
    label.textContent = domain;
    label.htmlFor = input.id = "ratio-" + place;
    Object.assign(input, { type: "range", min: 0, max: 1, step: 0.001 });
    input.addEventListener("input", () => {
      if (from.place !== place) from = { place, ratios };
      ratios = emulator.withShare(from.ratios, place, Number(input.value));
      show(place);
    });
    row.append(label, input, share, limits);
    return { row, input, share, limits };
  });
  $("sliders").append(...(d > MANY ? movers : domains.map((_, j) => j)).map((j) => sliders[j].row));
  if (d > MANY) {
    $("slider-search").hidden = false;
    let all = false;
    const search = () => {
      const wanted = $("find-domain").value.toLowerCase();
      movers.forEach((j, rank) => {
        sliders[j].row.hidden = wanted ? !domains[j].toLowerCase().includes(wanted) : !all && rank >= SHOWN;
      });
      $("all-domains").textContent = all ? `show ${SHOWN}` : `show all ${d}`;
    };
    // what was hidden is written when it is shown
    $("find-domain").addEventListener("input", () => { search(); show(-1); });
    $("all-domains").addEventListener("click", () => { all = !all; search(); show(-1); });
    search();
  }
  for (const name of names) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", () => { ratios = whatIf.starts[name].slice(); from = { place: -1, ratios }; show(-1); });
    $("starts").appendChild(button);
  }
  if (whatIf.outputs.length > MANY) $("output-search").hidden = false;

  function limitsOf(place) {
    const domain = domains[place], lower = whatIf.lower[place], upper = whatIf.upper[place];
    const parts = lower > 0 || upper < 1 ? [`bounds ${percent(lower)} to ${percent(upper)}`] : [];
    let broken = ratios[place] < lower - 1e-6 || ratios[place] > upper + 1e-6;
    const available = data.budget && data.budget.available[domain];
    if (available) {
      const epochs = ratios[place] * data.budget.tokens / available, limit = data.budget.max_repetition[domain];
      parts.push(`${epochs.toFixed(2)} epochs` + (limit === undefined ? "" : `, at most ${limit}`));
      broken = broken || (limit !== undefined && epochs > limit * (1 + 1e-6));
    }
    return { text: parts.join("; "), broken };
  }

  let waiting = false, moved = -1;
  function show(place) {
    const columns = emulator.predict(ratios), gain = emulator.read(whatIf.outputs[0], columns, ratios);
    let outside = false;
    sliders.forEach((slider, j) => {
      if (j !== place) slider.input.value = ratios[j];
      const limits = limitsOf(j);
      outside = outside || limits.broken;
      if (slider.row.hidden && j !== place) return;
      slider.share.textContent = percent(ratios[j]);
      slider.input.setAttribute("aria-valuetext", percent(ratios[j]));
      slider.limits.textContent = limits.text;
      slider.limits.className = limits.broken ? "worse" : "";
    });
    const output = $("gain");
    output.textContent = `${signed(gain.change)} ± ${gain.half.toFixed(3)}`;
    output.dataset.mean = gain.change;
    output.dataset.half = gain.half;
    output.dataset.ratios = JSON.stringify(ratios);
    // the interval is widened by the emulator's error
    const low = gain.change - gain.half - whatIf.error, high = gain.change + gain.half + whatIf.error;
    const words = data.decided
      ? ["is predicted to score higher than", "is predicted to score lower than", "is not distinguishable from"]
        .map((said) => `Its ${data.learned_from.slice(0, -1)} ${said} that of`)
      : ["Better than", "Worse than", "Not distinguishable from"];
    $("verdict").textContent = `${words[low > 0 ? 0 : high < 0 ? 1 : 2]} ${whatIf.reference}`
      + (outside ? "; outside the bounds." : ".");
    fill($("outputs"), whatIf.outputs.slice(1).map((output) => {
      const value = emulator.read(output, columns, ratios);
      return [output.name, output.kind === "metric" ? value.mean.toFixed(3) : "",
        `${signed(value.change)} ± ${value.half.toFixed(3)}`];
    }));
    document.querySelector("#output-search input").again();
    moved = place;
    if (!waiting) {
      waiting = true;
      requestAnimationFrame(() => { waiting = false; showCharts(); });
    }
  }
  function showCharts() {
    // the panels of other domains are a chart of their own
    const panels = chosenSlices().join() === panelsDrawn ? put("slices", { slices: slices() }) : views.slices && drawSlices();
    return Promise.all([panels, put("ternary", ternary()), put("front", { front: front() })]);
  }

  // --- one domain at a time ----------------------------------------------------------------

  const STEPS = 24;
  const DEEPEST = 2.5; // a curve may fall by this many times the fall of the middle one
  /** The ratios that a curve shows: those that nine of ten mixtures within the bounds have, and twice those to start from. */
  const reach = domains.map((_, j) => {
    const seen = whatIf.feasible.map((row) => row[j]).sort((a, b) => a - b), usual = seen[Math.floor(0.9 * (seen.length - 1))] || 0;
    const most = Math.max(usual, ...names.map((name) => 2 * whatIf.starts[name][j]), 0.01);
    return [Math.max(whatIf.lower[j], 0), Math.min(whatIf.upper[j], most)];
  });
  let panelsDrawn = "";
  function chosenSlices() {
    const drawn = movers.slice(0, SHOWN);
    if (moved >= 0 && !drawn.includes(moved)) drawn[drawn.length - 1] = moved;
    return drawn;
  }
  function slices() {
    const drawn = chosenSlices();
    const table = [], curves = drawn.map((j) => {
      const [low, high] = [Math.min(reach[j][0], ratios[j]), Math.max(reach[j][1], ratios[j])];
      const shares = Array.from({ length: STEPS + 1 }, (_, s) => low + (high - low) * s / STEPS);
      shares.push(ratios[j]);
      const gains = emulator.alongOne(ratios, j, shares);
      for (const s of [0, 6, 12, 18, 24]) table.push([domains[j], percent(shares[s]), signed(gains[s].change), gains[s].half.toFixed(3)]);
      return { j, shares, gains };
    });
    fill($("slices-table"), table);
    // a curve that falls far below the others is cut off, so that those do not look flat
    const lows = curves.map(({ gains }) => Math.min(...gains.map((gain) => gain.change))).sort((a, b) => a - b);
    const here = curves[0].gains.at(-1), best = Math.max(...curves.flatMap(({ gains }) => gains.map((gain) => gain.change)));
    const usual = lows[Math.floor(lows.length / 2)], deepest = Math.max(lows[0], best - DEEPEST * (best - usual));
    // the interval of the present mixture is in the frame whole
    const bottom = Math.min(here.change - here.half, deepest), top = Math.max(here.change + here.half, best);
    const room = 0.1 * (top - bottom) + 1e-6;
    const clip = (y) => Math.min(Math.max(y, bottom - room), top + room);
    let cut = false;
    const rows = curves.flatMap(({ j, shares, gains }) => gains.map(({ change, half }, s) => {
      cut = cut || clip(change - half) !== change - half || clip(change + half) !== change + half;
      return { domain: domains[j], place: drawn.indexOf(j), share: 100 * shares[s], gain: clip(change) === change ? change : null, low: clip(change - half), high: clip(change + half),
        zero: clip(0), crosses: clip(0) === 0, here: s === shares.length - 1 };
    }));
    $("slices-note").textContent = (cut ? "What falls far below the others is cut off at the frame. " : "")
      + (d > SHOWN ? `The ${SHOWN} domains that change most, or the one that you move.` : "");
    return rows;
  }
  async function drawSlices() {
    panelsDrawn = chosenSlices().join();
    const spec = structuredClone(data.charts.slices), width = $("slices").clientWidth;
    spec.columns = Math.max(1, Math.min(d, Math.floor(width / 230)) || 1);
    if (narrow()) spec.columns = Math.min(2, d);
    const side = Math.floor((width - 56 - 16 * (spec.columns - 1)) / spec.columns);
    spec.spec.width = side;
    spec.facet.header.labelLimit = side;
    spec.data.values = slices();
    await draw("slices", $("slices"), spec);
  }

  // --- three domains -----------------------------------------------------------------------

  const picks = ["first", "second", "third"].map($), SIDE = 36, HEIGHT = Math.sqrt(3) / 2;
  if (d >= 3) {
    const chosen = movers.slice(0, 3).sort((a, b) => a - b);
    picks.forEach((select, which) => {
      addOptions(select, domains, chosen[which]);
      select.addEventListener("change", () => put("ternary", ternary()));
    });
  } else {
    $("ternary-part").remove();
  }
  const at = ([a, b, c]) => [b + c / 2, c * HEIGHT];
  /** The part of a polygon with sign · (gain − level) ≥ 0. */
  function cutOff(polygon, level, sign) {
    const kept = [];
    polygon.forEach((corner, place) => {
      const next = polygon[(place + 1) % polygon.length];
      const here = sign * (corner.gain - level), there = sign * (next.gain - level);
      if (here >= 0) kept.push(corner);
      if (here * there < 0) {
        const share = here / (here - there);
        kept.push({ x: corner.x + share * (next.x - corner.x), y: corner.y + share * (next.y - corner.y), gain: level });
      }
    });
    return kept;
  }
  function ternary() {
    if (d < 3) return {};
    const chosen = picks.map((select) => Number(select.value));
    const nothing = { bands: [], lines: [], frame: [], marks: [] };
    picks.forEach((select, i) => {
      $("ternary-head-" + i).textContent = $(["ternary-left", "ternary-right", "ternary-top"][i]).textContent = domains[chosen[i]];
    });
    if (new Set(chosen).size < 3) {
      $("ternary-legend").textContent = "Choose three different domains.";
      fill($("ternary-table"), []);
      return nothing;
    }
    const free = chosen.reduce((sum, j) => sum + ratios[j], 0), total = free > 1e-9 ? free : 1;
    const gainAt = emulator.overThree(ratios, chosen, free > 1e-9 ? free : undefined);
    const grid = [], flat = [];
    for (let i = 0; i <= SIDE; i++) {
      grid.push([]);
      for (let j = 0; j <= SIDE - i; j++) {
        const shares = [i / SIDE, j / SIDE, (SIDE - i - j) / SIDE], [x, y] = at(shares), gain = gainAt(shares);
        grid[i].push({ x, y, shares, gain: gain.change, half: gain.half });
        flat.push(grid[i][j]);
      }
    }
    const triangles = [];
    for (let i = 0; i < SIDE; i++) for (let j = 0; j < SIDE - i; j++) {
      triangles.push([grid[i][j], grid[i + 1][j], grid[i][j + 1]]);
      if (j < SIDE - i - 1) triangles.push([grid[i + 1][j], grid[i + 1][j + 1], grid[i][j + 1]]);
    }
    const sorted = flat.map((point) => point.gain).sort((a, b) => a - b);
    const low = sorted[Math.floor(0.05 * (sorted.length - 1))], high = sorted[Math.ceil(0.95 * (sorted.length - 1))];
    const levels = high - low > 1e-9 ? Array.from({ length: 7 }, (_, t) => low + (high - low) * t / 6) : [];
    const bands = [];
    for (let band = 0; band <= levels.length; band++) {
      const from = band ? levels[band - 1] : -Infinity, to = band < levels.length ? levels[band] : Infinity, polygons = [];
      for (const triangle of triangles) {
        let part = triangle;
        if (from > -Infinity) part = cutOff(part, from, 1);
        if (to < Infinity && part.length) part = cutOff(part, to, -1);
        if (part.length > 2) polygons.push([part.concat([part[0]]).map((corner) => [corner.x, corner.y])]);
      }
      if (polygons.length) bands.push({ type: "Feature", properties: { band: levels.length ? band : 4 }, geometry: { type: "MultiPolygon", coordinates: polygons } });
    }
    const line = (level) => triangles.flatMap((triangle) => {
      const crossed = cutOff(triangle, level, 1).filter((corner) => corner.gain === level && !corner.shares);
      return crossed.length === 2 ? [crossed.map((corner) => [corner.x, corner.y])] : [];
    });
    const lines = [...levels, 0].map((level) => ({ type: "Feature", properties: { zero: level === 0 }, geometry: { type: "MultiLineString", coordinates: line(level) } }))
      .filter((feature) => feature.geometry.coordinates.length);
    const frame = [{ type: "Feature", properties: {}, geometry: { type: "LineString", coordinates: [[0, 0], [1, 0], [0.5, HEIGHT], [0, 0]] } }];
    const tell = (shares, gain) => shares.map((share, i) => `${percent(share * total)} ${domains[chosen[i]]}`).join(", ") + `: ${signed(gain)}`;
    const best = flat.reduce((a, b) => (b.gain > a.gain ? b : a));
    const marks = [{ what: "best", x: best.x, y: best.y, text: tell(best.shares, best.gain) }];
    if (free > 1e-9) {
      const shares = chosen.map((j) => ratios[j] / free), [x, y] = at(shares);
      marks.push({ what: "sliders", x, y, text: tell(shares, gainAt(shares).change) });
    }
    const swatches = levels.length ? [`below ${signed(levels[0])}`, ...levels.slice(1).map((level, t) => `${signed(levels[t])} to ${signed(level)}`), `above ${signed(levels[6])}`] : [];
    $("ternary-legend").replaceChildren(...swatches.map((text, band) => {
      const entry = document.createElement("span"), swatch = document.createElement("i");
      swatch.style.background = data.colours[band];
      entry.append(swatch, text);
      return entry;
    }));
    fill($("ternary-table"), flat.filter((point) => point.shares.every((s) => Math.abs(4 * s - Math.round(4 * s)) < 1e-9)).map(({ shares, gain, half }) =>
      [...shares.map((share) => percent(share * total)), signed(gain), half.toFixed(3)]));
    return { bands, lines, frame, marks };
  }
  async function drawTernary() {
    if (d < 3) return;
    const spec = structuredClone(data.charts.ternary), rows = ternary();
    spec.width = $("ternary").clientWidth - 4;
    spec.height = Math.round(spec.width * HEIGHT);
    for (const layer of spec.layer) layer.data.values = rows[layer.data.name];
    await draw("ternary", $("ternary"), spec);
  }

  // --- two capabilities against each other -------------------------------------------------

  const capabilities = whatIf.outputs.filter((output) => output.kind === "capability"), sides = ["across", "up"].map($);
  const cloud = capabilities.length > 1
    ? whatIf.feasible.map((row) => ({ row, columns: emulator.predict(row) })) : [];
  function front() {
    if (capabilities.length < 2) return [];
    const [one, two] = sides.map((select) => capabilities[Number(select.value)]);
    const describe = (row) => row.map((r, j) => [r, j]).filter(([r]) => r >= 0.005).sort((a, b) => b[0] - a[0]).slice(0, 6)
      .map(([r, j]) => `${domains[j]} ${percent(r)}`).join(", ");
    const rows = cloud.map(({ row, columns }) => ({ x: columns[one.change], y: columns[two.change], text: describe(row), kind: "dominated" }));
    rows.sort((a, b) => b.x - a.x || b.y - a.y);
    let best = -Infinity;
    for (const row of rows) if (row.y > best) { row.kind = "front"; best = row.y; }
    fill($("front-table"), rows.filter((row) => row.kind === "front").map((row) => [row.text, signed(row.x), signed(row.y)]));
    $("front-head-0").textContent = one.name;
    $("front-head-1").textContent = two.name;
    for (const name of names) {
      const columns = emulator.predict(whatIf.starts[name]);
      rows.push({ x: columns[one.change], y: columns[two.change], text: name, kind: "start" });
    }
    return rows;
  }
  async function drawFront() {
    if (capabilities.length < 2) return;
    const spec = structuredClone(data.charts.front), [one, two] = sides.map((select) => capabilities[Number(select.value)].name);
    for (const layer of spec.layer) {
      if (!layer.encoding.x || !layer.encoding.x.axis) continue;
      layer.encoding.x.axis.title = `${word} in ${one}`;
      layer.encoding.y.axis.title = `${word} in ${two}`;
    }
    Object.assign(spec, { width: "container", height: 300, autosize: { type: "fit-x", contains: "padding" } });
    spec.data.values = front();
    await draw("front", $("front"), spec);
  }
  if (capabilities.length > 1) {
    sides.forEach((select, which) => {
      addOptions(select, capabilities.map((output) => output.name), which);
      select.addEventListener("change", drawFront);
    });
  } else {
    $("front-part").remove();
  }

  // --- predicted against measured ----------------------------------------------------------

  const metrics = Object.keys(data.predictions);
  async function drawPoints() {
    const spec = structuredClone(data.charts.points), [predicted, measured] = data.predictions[metrics[Number($("metric").value)]];
    const pairs = predicted.map((x, i) => ({ trial: i + 1, predicted: x, measured: measured[i] })).filter((pair) => pair.predicted !== null && pair.measured !== null);
    fill($("points-table"), pairs.map((pair) => [String(pair.trial), String(pair.predicted), String(pair.measured)]));
    Object.assign(spec, { width: "container", height: 260, autosize: { type: "fit-x", contains: "padding" } });
    spec.data.values = pairs;
    await draw("points", $("points"), spec);
  }

  show(-1);
  for (const place of document.querySelectorAll("[data-picture]")) {
    const name = place.dataset.picture;
    await draw("picture-" + name, place, data.pictures[name]);
  }
  await drawSlices();
  await drawTernary();
  await drawFront();
  if (metrics.length) {
    addOptions($("metric"), metrics, Math.max(0, metrics.indexOf("utility")));
    $("metric").addEventListener("change", drawPoints);
    await drawPoints();
  }
  let width = document.body.clientWidth, timer = 0;
  addEventListener("resize", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (document.body.clientWidth === width) return;
      width = document.body.clientWidth;
      drawSlices();
      drawTernary();
    }, 150);
  });
  document.documentElement.dataset.ready = "yes";
})();
