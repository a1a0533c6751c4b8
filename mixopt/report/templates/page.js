"use strict";
// Evaluates the emulator (mixopt/report/what_if.py) and draws its predictions.
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const whatIf = data.what_if, emulator = whatIf.emulator, domains = whatIf.domains;
  const d = domains.length, n = emulator.nodes.length, k = emulator.offsets.length;
  // beside a decision, which is about real training, the surrogate's gains are told as those of merges
  const word = data.decided ? "difference of merges" : "gain";
  const Word = word[0].toUpperCase() + word.slice(1);
  const Z95 = 1.959963984540054;
  const $ = (id) => document.getElementById(id);
  const percent = (x) => (100 * x).toFixed(1) + "%";
  const signed = (x) => (x < 0 ? "−" : "+") + Math.abs(x).toFixed(3);

  /** All emulator columns for one mixture: f(r) = Σ w ‖√r − √rᵢ‖³ + b·φ(r) + c. */
  function predict(ratios) {
    const point = ratios.map((r) => Math.sqrt(Math.max(r, 0)));
    const columns = emulator.offsets.slice();
    const shares = point.map((p) => p * p);
    const tail = point.concat(shares, shares.map((r) => Math.log(r + 0.01)), shares.map((r) => Math.log(r + 0.1)));
    tail.forEach((term, place) => {
      const row = emulator.slopes[place];
      for (let a = 0; a < k; a++) columns[a] += term * row[a];
    });
    for (let i = 0; i < n; i++) {
      const node = emulator.nodes[i];
      let square = 0;
      for (let j = 0; j < d; j++) square += (point[j] - node[j]) * (point[j] - node[j]);
      const cubic = square * Math.sqrt(square), row = emulator.weights[i];
      for (let a = 0; a < k; a++) columns[a] += cubic * row[a];
    }
    return columns;
  }

  /** Value, change, and 95% half-width of the change, which is zero at the reference. */
  function read(output, columns, mixture) {
    const square = mixture.reduce((sum, r, j) => sum + (Math.sqrt(Math.max(r, 0)) - whatIf.sqrt_reference[j]) ** 2, 0);
    return {
      mean: columns[output.mean], change: columns[output.change],
      half: Z95 * Math.sqrt(Math.exp(columns[output.log_ratio]) * square),
    };
  }
  const gainAt = (mixture) => read(whatIf.outputs[0], predict(mixture), mixture);

  // The gain alone, for curves and maps: two columns, and only what changes from a mixture to the next.
  // With hundreds of domains, all columns at every point of every curve took seconds for each move.
  const GAIN = [whatIf.outputs[0].change, whatIf.outputs[0].log_ratio];
  const nodes = Float64Array.from(emulator.nodes.flat()), norms = new Float64Array(n);
  for (let i = 0; i < n; i++) for (let j = 0; j < d; j++) norms[i] += nodes[i * d + j] ** 2;
  const cubicWeights = GAIN.map((column) => Float64Array.from(emulator.weights, (row) => row[column]));
  const slopes = GAIN.map((column) => Float64Array.from(emulator.slopes, (row) => row[column]));
  const reference = whatIf.sqrt_reference, referenceNorm = reference.reduce((sum, r) => sum + r * r, 0);
  const SHIFTS = [0.01, 0.1];

  /** Sums over the nodes and domains of a mixture, from which mixtures near it are computed. */
  function gainSums(ratios) {
    const roots = Float64Array.from(ratios, (r) => Math.sqrt(Math.max(r, 0)));
    const dots = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      let dot = 0;
      for (let j = 0; j < d; j++) dot += nodes[i * d + j] * roots[j];
      dots[i] = dot;
    }
    const positive = roots.reduce((places, r, j) => (r > 0 ? places.concat(j) : places), []);
    return { roots, dots, positive, norm: roots.reduce((s, r) => s + r * r, 0), logs: new Map(),
      towards: roots.reduce((s, r, j) => s + r * reference[j], 0) };
  }
  /** Σ_j b_j log(c·r_j + shift) of both columns and shifts, once for each c. */
  function logSums(sums, c) {
    if (!sums.logs.has(c)) {
      const found = [0, 0];
      GAIN.forEach((_, a) => SHIFTS.forEach((shift, s) => { found[a] += idleLogs[a][s]; }));
      for (const j of sums.positive) {
        SHIFTS.forEach((shift, s) => {
          const log = Math.log(c * sums.roots[j] ** 2 + shift) - Math.log(shift);
          GAIN.forEach((_, a) => { found[a] += slopes[a][(2 + s) * d + j] * log; });
        });
      }
      sums.logs.set(c, found);
    }
    return sums.logs.get(c);
  }
  const idleLogs = GAIN.map((_, a) => SHIFTS.map((shift, s) => {
    let sum = 0;
    for (let j = 0; j < d; j++) sum += slopes[a][(2 + s) * d + j];
    return sum * Math.log(shift);
  }));

  /** The gain where some ratios are given and all others are multiplied by c. */
  function gainNear(sums, places, shares, c) {
    const root = Math.sqrt(c), old = places.map((j) => sums.roots[j]), fresh = shares.map((r) => Math.sqrt(Math.max(r, 0)));
    let norm = c * sums.norm, towards = root * sums.towards;
    const columns = GAIN.map((column) => emulator.offsets[column]), logs = logSums(sums, c);
    if (!sums.linear) {
      sums.linear = GAIN.map((_, a) => [0, 1].map((term) => {
        let sum = 0;
        for (const j of sums.positive) sum += slopes[a][term * d + j] * (term ? sums.roots[j] ** 2 : sums.roots[j]);
        return sum;
      }));
    }
    GAIN.forEach((_, a) => { columns[a] += root * sums.linear[a][0] + c * sums.linear[a][1] + logs[a]; });
    places.forEach((j, at) => {
      const before = root * old[at], after = fresh[at];
      norm += after * after - before * before;
      towards += (after - before) * reference[j];
      GAIN.forEach((_, a) => {
        columns[a] += slopes[a][j] * (after - before) + slopes[a][d + j] * (after * after - before * before);
        SHIFTS.forEach((shift, s) => {
          columns[a] += slopes[a][(2 + s) * d + j] * (Math.log(after * after + shift) - Math.log(before * before + shift));
        });
      });
    });
    for (let i = 0; i < n; i++) {
      let dot = root * sums.dots[i];
      for (let at = 0; at < places.length; at++) dot += (fresh[at] - root * old[at]) * nodes[i * d + places[at]];
      const square = Math.max(norm + norms[i] - 2 * dot, 0), cubic = square * Math.sqrt(square);
      columns[0] += cubic * cubicWeights[0][i];
      columns[1] += cubic * cubicWeights[1][i];
    }
    const apart = Math.max(norm + referenceNorm - 2 * towards, 0);
    return { change: columns[0], half: Z95 * Math.sqrt(Math.exp(columns[1]) * apart) };
  }

  /** The mixture in which one ratio is `share` and the others keep their proportions. */
  function withShare(ratios, place, share) {
    const rest = ratios.reduce((sum, r, j) => sum + (j === place ? 0 : r), 0);
    return ratios.map((r, j) => {
      if (j === place) return share;
      return rest > 1e-12 ? r * (1 - share) / rest : (1 - share) / (d - 1);
    });
  }

  // --- drawing -----------------------------------------------------------------------------

  const SVG = "http://www.w3.org/2000/svg";
  function element(name, attributes, parent, text) {
    const created = document.createElementNS(SVG, name);
    for (const key in attributes) created.setAttribute(key, attributes[key]);
    if (text !== undefined) created.textContent = text;
    parent.appendChild(created);
    return created;
  }
  function picture(parent, label, width, height) {
    return element("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label }, parent);
  }
  function fill(body, rows) {
    body.replaceChildren();
    for (const cells of rows) {
      const row = document.createElement("tr");
      cells.forEach((cell, place) => {
        const created = document.createElement(place ? "td" : "th");
        if (!place) created.scope = "row";
        created.textContent = cell;
        row.appendChild(created);
      });
      body.appendChild(row);
    }
  }
  function range(values) {
    const known = values.filter((v) => v !== null && Number.isFinite(v));
    const low = known.reduce((a, b) => Math.min(a, b)), high = known.reduce((a, b) => Math.max(a, b)), gap = (high - low || 1) * 0.06;
    return [low - gap, high + gap];
  }
  function axes(svg, box, xs, ys, format) {
    element("rect", { x: box.x, y: box.y, width: box.w, height: box.h, fill: "none", stroke: "var(--line)" }, svg);
    const label = format || ((v) => String(Number(v.toPrecision(2))));
    element("text", { x: box.x, y: box.y + box.h + 13 }, svg, label(xs[0]));
    element("text", { x: box.x + box.w, y: box.y + box.h + 13, "text-anchor": "end" }, svg, label(xs[1]));
    element("text", { x: box.x - 4, y: box.y + box.h, "text-anchor": "end" }, svg, Number(ys[0].toPrecision(2)));
    element("text", { x: box.x - 4, y: box.y + 9, "text-anchor": "end" }, svg, Number(ys[1].toPrecision(2)));
    return {
      x: (v) => box.x + box.w * (v - xs[0]) / (xs[1] - xs[0]),
      y: (v) => box.y + box.h * (1 - (v - ys[0]) / (ys[1] - ys[0])),
    };
  }

  // --- try it ------------------------------------------------------------------------------

  let ratios = whatIf.starts[Object.keys(whatIf.starts)[0]].slice();
  const sliders = domains.map((domain, place) => {
    const row = document.createElement("div");
    row.className = "slider";
    const label = document.createElement("label"), input = document.createElement("input");
    const share = document.createElement("output"), limits = document.createElement("small");
    label.textContent = domain;
    label.htmlFor = input.id = "ratio-" + place;
    Object.assign(input, { type: "range", min: 0, max: 1, step: 0.001 });
    input.addEventListener("input", () => { ratios = withShare(ratios, place, Number(input.value)); show(place); });
    row.append(label, input, share, limits);
    $("sliders").appendChild(row);
    return { input, share, limits };
  });
  for (const [name, start] of Object.entries(whatIf.starts)) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", () => { ratios = start.slice(); show(-1); });
    $("starts").appendChild(button);
  }

  function limitsOf(place) {
    const domain = domains[place], lower = whatIf.lower[place], upper = whatIf.upper[place];
    const parts = [`bounds ${percent(lower)} to ${percent(upper)}`];
    let broken = ratios[place] < lower - 1e-6 || ratios[place] > upper + 1e-6;
    const available = data.budget && data.budget.available[domain];
    if (available) {
      const epochs = ratios[place] * data.budget.tokens / available, limit = data.budget.max_repetition[domain];
      parts.push(`${epochs.toFixed(2)} epochs` + (limit === undefined ? "" : `, at most ${limit}`));
      broken = broken || (limit !== undefined && epochs > limit * (1 + 1e-6));
    }
    return { text: parts.join("; "), broken };
  }

  function show(moved) {
    const columns = predict(ratios), gain = read(whatIf.outputs[0], columns, ratios);
    let outside = false;
    sliders.forEach((slider, place) => {
      if (place !== moved) slider.input.value = ratios[place];
      slider.share.textContent = percent(ratios[place]);
      slider.input.setAttribute("aria-valuetext", percent(ratios[place]));
      const limits = limitsOf(place);
      slider.limits.textContent = limits.text;
      slider.limits.className = limits.broken ? "worse" : "";
      outside = outside || limits.broken;
    });
    const output = $("gain");
    output.textContent = `${signed(gain.change)} ± ${gain.half.toFixed(3)}`;
    output.dataset.mean = gain.change;
    output.dataset.half = gain.half;
    output.dataset.ratios = JSON.stringify(ratios);
    // the interval is widened by the emulator's error
    const low = gain.change - gain.half - whatIf.error, high = gain.change + gain.half + whatIf.error;
    const words = data.decided
      ? ["Its merge is predicted to score higher than that of", "Its merge is predicted to score lower than that of", "Its merge is not distinguishable from that of"]
      : ["Better than", "Worse than", "Not distinguishable from"];
    $("verdict").textContent = `${words[low > 0 ? 0 : high < 0 ? 1 : 2]} ${whatIf.reference}`
      + (outside ? "; outside the bounds." : ".");
    fill($("outputs"), whatIf.outputs.slice(1).map((output) => {
      const value = read(output, columns, ratios);
      return [output.name, output.kind === "metric" ? value.mean.toFixed(3) : "",
        `${signed(value.change)} ± ${value.half.toFixed(3)}`];
    }));
    // a slider waits for its numbers alone
    if (moved < 0) drawTernary();
    drawSlices(moved >= 0);
  }

  // --- the response surface ----------------------------------------------------------------

  const STEPS = 24, TABLED = [0, 6, 12, 18, 24], LONGEST = 20; // milliseconds at once
  const shares = Array.from({ length: STEPS + 1 }, (_, s) => s / STEPS);
  const slices = domains.map((domain, place) => {
    const holder = document.createElement("div");
    $("slices").appendChild(holder);
    const svg = picture(holder, `${Word} by the share of ${domain}`, 220, 150);
    element("text", { x: 34, y: 12 }, svg, domain);
    const drawn = element("g", {}, svg);
    const rows = TABLED.map((s) => {
      const row = document.createElement("tr"), head = document.createElement("th");
      head.scope = "row";
      head.textContent = domain;
      row.append(head, ...[0, 1, 2].map(() => document.createElement("td")));
      row.children[1].textContent = percent(shares[s]);
      $("slices-table").appendChild(row);
      return row;
    });
    return { drawn, rows, place };
  });
  let drawing = 0;
  /** Draw the curves in pieces, so that a slider follows the hand; a later move ends an earlier drawing. */
  function drawSlices(mapToo) {
    const current = ++drawing, sums = gainSums(ratios), curves = [];
    document.documentElement.dataset.drawn = "no";
    function work() {
      if (current !== drawing) return;
      const until = performance.now() + LONGEST;
      while (curves.length < d && performance.now() < until) curves.push(curveOf(sums, curves.length));
      if (curves.length === d) {
        const ends = curves.flat();
        const ys = range(ends.map((p) => p.change - p.half).concat(ends.map((p) => p.change + p.half)));
        drawCurves({ curves, ys, current, mapToo }, 0, until);
      } else requestAnimationFrame(work);
    }
    requestAnimationFrame(work);
  }
  function curveOf(sums, place) {
    const rest = sums.norm - sums.roots[place] ** 2;
    if (rest <= 1e-12) return shares.map((s) => gainAt(withShare(ratios, place, s)));
    return shares.map((s) => gainNear(sums, [place], [s], (1 - s) / rest));
  }
  function drawCurves(plan, first, until) {
    if (plan.current !== drawing) return;
    let place = first;
    for (; place < d && performance.now() < until; place++) drawCurve(slices[place], plan.curves[place], plan.ys);
    if (place < d) {
      requestAnimationFrame(() => drawCurves(plan, place, performance.now() + LONGEST));
      return;
    }
    if (plan.mapToo) drawTernary();
    document.documentElement.dataset.drawn = "yes";
  }
  function drawCurve({ drawn, rows, place }, curve, ys) {
    drawn.replaceChildren();
    const at = axes(drawn, { x: 34, y: 18, w: 178, h: 112 }, [0, 1], ys, percent);
    const top = curve.map((p, s) => `${at.x(shares[s])},${at.y(p.change + p.half)}`);
    const bottom = curve.map((p, s) => `${at.x(shares[s])},${at.y(p.change - p.half)}`).reverse();
    element("polygon", { points: top.concat(bottom).join(" "), fill: "var(--band)" }, drawn);
    const line = curve.map((p, s) => `${at.x(shares[s])},${at.y(p.change)}`).join(" ");
    element("polyline", { points: line, fill: "none", stroke: "var(--blue)", "stroke-width": 2 }, drawn);
    element("line", { x1: at.x(ratios[place]), x2: at.x(ratios[place]), y1: 18, y2: 130, stroke: "var(--grey)", "stroke-dasharray": "3 3" }, drawn);
    TABLED.forEach((s, row) => {
      rows[row].children[2].textContent = signed(curve[s].change);
      rows[row].children[3].textContent = curve[s].half.toFixed(3);
    });
  }

  const COLOURS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  function colour(share) {
    const at = Math.min(Math.max(share, 0), 1) * (COLOURS.length - 1), low = Math.min(Math.floor(at), COLOURS.length - 2);
    const mixed = COLOURS[low].map((c, i) => Math.round(c + (COLOURS[low + 1][i] - c) * (at - low)));
    return `rgb(${mixed.join(",")})`;
  }
  const picks = ["first", "second", "third"].map($);
  if (d >= 3) {
    picks.forEach((select, which) => {
      domains.forEach((domain, place) => {
        const option = document.createElement("option");
        option.textContent = domain;
        option.value = place;
        option.selected = place === which;
        select.appendChild(option);
      });
      select.addEventListener("change", drawTernary);
    });
  } else {
    $("ternary-part").remove();
  }
  function drawTernary() {
    if (d < 3) return;
    const chosen = picks.map((select) => Number(select.value));
    const container = $("ternary");
    container.replaceChildren();
    if (new Set(chosen).size < 3) {
      container.textContent = "Choose three different domains.";
      fill($("ternary-table"), []);
      return;
    }
    // the other domains keep their ratios
    const free = chosen.reduce((sum, place) => sum + ratios[place], 0);
    const total = free > 1e-9 ? free : 1;
    const at = (a, b, c) => {
      const mixture = free > 1e-9 ? ratios.slice() : ratios.map(() => 0);
      [a, b, c].forEach((share, i) => { mixture[chosen[i]] = share * total; });
      return mixture;
    };
    const SIDE = 20, values = [], sums = gainSums(at(1 / 3, 1 / 3, 1 / 3));
    for (let i = 0; i <= SIDE; i++) for (let j = 0; j <= SIDE - i; j++) {
      const parts = [i / SIDE, j / SIDE, 1 - (i + j) / SIDE].map((share) => share * total);
      values.push([i / SIDE, j / SIDE, gainNear(sums, chosen, parts, 1)]);
    }
    const gains = values.map((v) => v[2].change), low = Math.min(...gains), high = Math.max(...gains);
    const width = 420, height = 380, x = (a, b) => 40 + 340 * (b + (1 - a - b) / 2 + 0), y = (a, b) => 340 - 294 * (1 - a - b);
    const svg = picture(container, `${Word} over ${chosen.map((p) => domains[p]).join(", ")}`, width, height);
    for (const [a, b, gain] of values) {
      element("circle", { cx: x(a, b), cy: y(a, b), r: 10, fill: colour((gain.change - low) / (high - low || 1)) }, svg)
        .appendChild(document.createElementNS(SVG, "title")).textContent =
        `${percent(a * total)} ${domains[chosen[0]]}, ${percent(b * total)} ${domains[chosen[1]]}: ${signed(gain.change)} ± ${gain.half.toFixed(3)}`;
    }
    if (free > 1e-9) {
      const here = chosen.map((place) => ratios[place] / free);
      element("circle", { cx: x(here[0], here[1]), cy: y(here[0], here[1]), r: 6, fill: "none", stroke: "#fff", "stroke-width": 3 }, svg);
      element("circle", { cx: x(here[0], here[1]), cy: y(here[0], here[1]), r: 8, fill: "none", stroke: "#000", "stroke-width": 1.5 }, svg);
    }
    element("text", { x: 30, y: 366 }, svg, domains[chosen[0]]);
    element("text", { x: 390, y: 366, "text-anchor": "end" }, svg, domains[chosen[1]]);
    element("text", { x: 210, y: 22, "text-anchor": "middle" }, svg, domains[chosen[2]]);
    element("text", { x: 415, y: 60, "text-anchor": "end" }, svg, `dark ${signed(low)}, bright ${signed(high)}`);
    fill($("ternary-table"), values.filter((v) => [v[0], v[1]].every((s) => Math.abs(4 * s - Math.round(4 * s)) < 1e-9)).map(([a, b, gain]) =>
      [percent(a * total), percent(b * total), percent((1 - a - b) * total), signed(gain.change), gain.half.toFixed(3)]));
    picks.forEach((select, i) => { $("ternary-head-" + i).textContent = domains[Number(select.value)]; });
  }

  // --- two capabilities against each other -------------------------------------------------

  const capabilities = whatIf.outputs.filter((output) => output.kind === "capability");
  const sides = ["across", "up"].map($);
  if (capabilities.length > 1) {
    const cloud = whatIf.feasible.map((row) => ({ row, columns: predict(row) }));
    sides.forEach((select, which) => {
      capabilities.forEach((output, place) => {
        const option = document.createElement("option");
        option.textContent = output.name;
        option.value = place;
        option.selected = place === which;
        select.appendChild(option);
      });
      select.addEventListener("change", () => drawFront(cloud));
    });
    drawFront(cloud);
  } else {
    $("front-part").remove();
  }
  function drawFront(cloud) {
    const [one, two] = sides.map((select) => capabilities[Number(select.value)]);
    const points = cloud.map(({ row, columns }) => ({ row, x: columns[one.change], y: columns[two.change] }));
    points.sort((a, b) => b.x - a.x || b.y - a.y);
    let best = -Infinity;
    for (const point of points) { point.front = point.y > best; best = Math.max(best, point.y); }
    const container = $("front");
    container.replaceChildren();
    const svg = picture(container, `${two.name} against ${one.name}`, 460, 320);
    const at = axes(svg, { x: 50, y: 14, w: 396, h: 268 }, range(points.map((p) => p.x)), range(points.map((p) => p.y)));
    for (const p of points) {
      element("circle", { cx: at.x(p.x), cy: at.y(p.y), r: p.front ? 5 : 2.5, fill: p.front ? "var(--blue)" : "var(--grey)", "fill-opacity": p.front ? 1 : 0.5 }, svg);
    }
    element("text", { x: 248, y: 312, "text-anchor": "middle" }, svg, `${word} in ${one.name}`);
    element("text", { x: 14, y: 148, transform: "rotate(-90 14 148)", "text-anchor": "middle" }, svg, `${word} in ${two.name}`);
    fill($("front-table"), points.filter((p) => p.front).map((p) =>
      [p.row.map((r, j) => `${domains[j]} ${percent(r)}`).filter((_, j) => p.row[j] >= 0.0005).join(", "), signed(p.x), signed(p.y)]));
    $("front-head-0").textContent = one.name;
    $("front-head-1").textContent = two.name;
  }

  // --- predicted against measured ----------------------------------------------------------

  for (const [name, [predicted, measured]] of Object.entries(data.predictions)) {
    const holder = document.createElement("div");
    $("points").appendChild(holder);
    const svg = picture(holder, `${name}: measured against predicted`, 220, 190);
    const ends = range(predicted.concat(measured));
    const at = axes(svg, { x: 34, y: 18, w: 178, h: 150 }, ends, ends);
    element("text", { x: 34, y: 12 }, svg, name);
    element("line", { x1: at.x(ends[0]), y1: at.y(ends[0]), x2: at.x(ends[1]), y2: at.y(ends[1]), stroke: "var(--line)" }, svg);
    predicted.forEach((p, i) => {
      if (p === null || measured[i] === null) return;
      element("circle", { cx: at.x(p), cy: at.y(measured[i]), r: 3, fill: "var(--blue)", "fill-opacity": 0.7 }, svg);
    });
  }

  document.documentElement.classList.add("scripted");
  show(-1);
})();
