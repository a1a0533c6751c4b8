"use strict";
// The emulator of mixopt/report/what_if.py: f(r) = Σ w ‖√r − √rᵢ‖³ + b·φ(r) + c, with φ(r) = √r, r,
// log(r + 0.01) and log(r + 0.1) of every domain. Along a slice and over three ratios most of a distance stays
// the same, so the gain alone is computed from scalar products that are updated, not from all ratios again.
function makeEmulator(whatIf) {
  const Z95 = 1.959963984540054;
  const decode = (packed) => {
    const bytes = Uint8Array.from(atob(packed.base64), (c) => c.charCodeAt(0));
    return new Float64Array(bytes.buffer);
  };
  const stored = whatIf.emulator, [n, d] = stored.nodes.shape, k = stored.offsets.shape[0];
  const nodes = decode(stored.nodes), weights = decode(stored.weights);
  const slopes = decode(stored.slopes), offsets = decode(stored.offsets), reference = whatIf.sqrt_reference;
  const norms = new Float64Array(n);
  for (let i = 0; i < n; i++) for (let j = 0; j < d; j++) norms[i] += nodes[i * d + j] ** 2;

  const gain = whatIf.outputs[0], places = [gain.change, gain.log_ratio];
  const root = (r) => Math.sqrt(Math.max(r, 0));

  function addTerm(columns, row, term) {
    for (let a = 0; a < k; a++) columns[a] += term * slopes[row * k + a];
  }
  /** All columns for one mixture. */
  function predict(ratios) {
    const columns = Array.from(offsets);
    for (let j = 0; j < d; j++) {
      const p = root(ratios[j]), share = p * p;
      [p, share, Math.log(share + 0.01), Math.log(share + 0.1)].forEach((term, part) => addTerm(columns, part * d + j, term));
    }
    for (let i = 0; i < n; i++) {
      let square = 0;
      for (let j = 0; j < d; j++) square += (root(ratios[j]) - nodes[i * d + j]) ** 2;
      const cubic = square * Math.sqrt(square);
      for (let a = 0; a < k; a++) columns[a] += cubic * weights[i * k + a];
    }
    return columns;
  }
  /** Value, change, and 95% half-width of the change, which is zero at the reference. */
  function read(output, columns, mixture) {
    let square = 0;
    for (let j = 0; j < d; j++) square += (root(mixture[j]) - reference[j]) ** 2;
    return {
      mean: columns[output.mean], change: columns[output.change],
      half: Z95 * Math.sqrt(Math.exp(columns[output.log_ratio]) * square),
    };
  }
  /** The scalar products of √ratios with each node, over some domains. */
  function products(ratios, domains) {
    const sums = new Float64Array(n);
    for (const j of domains) {
      const p = root(ratios[j]);
      for (let i = 0; i < n; i++) sums[i] += p * nodes[i * d + j];
    }
    return sums;
  }
  /** What one domain adds to the two columns of the gain. */
  function tailOf(j, ratio, into) {
    const p = root(ratio), share = p * p, terms = [p, share, Math.log(share + 0.01), Math.log(share + 0.1)];
    for (let part = 0; part < 4; part++) for (let a = 0; a < 2; a++) into[a] += terms[part] * slopes[(part * d + j) * k + places[a]];
    return (p - reference[j]) ** 2;
  }
  /** The gain from its scalar products with the nodes, the sum of the ratios, its tail and its distance. */
  function finish(dot, total, tail, square) {
    let change = tail[0] + offsets[places[0]], ratio = tail[1] + offsets[places[1]];
    for (let i = 0; i < n; i++) {
      const far = Math.max(0, total + norms[i] - 2 * dot(i)), cubic = far * Math.sqrt(far);
      change += cubic * weights[i * k + places[0]];
      ratio += cubic * weights[i * k + places[1]];
    }
    return { change, half: Z95 * Math.sqrt(Math.exp(ratio) * square) };
  }

  /** The mixture in which one ratio is `share` and the others keep their proportions. */
  function withShare(ratios, place, share) {
    const rest = ratios.reduce((sum, r, j) => sum + (j === place ? 0 : r), 0);
    return ratios.map((r, j) => {
      if (j === place) return share;
      return rest > 1e-12 ? r * (1 - share) / rest : (1 - share) / (d - 1);
    });
  }
  /** Gains along one ratio. */
  function alongOne(ratios, place, shares) {
    const rest = ratios.reduce((sum, r, j) => sum + (j === place ? 0 : r), 0);
    const others = Array.from({ length: d }, (_, j) => j).filter((j) => j !== place);
    const start = rest > 1e-12 ? ratios : withShare(ratios, place, 0);
    const fixed = products(start, others), whole = rest > 1e-12 ? rest : 1;
    return shares.map((share) => {
      const mixture = withShare(ratios, place, share), tail = [0, 0];
      let square = 0, total = 0;
      mixture.forEach((r, j) => { square += tailOf(j, r, tail); total += Math.max(r, 0); });
      const scale = Math.sqrt(Math.max(0, 1 - share) / whole), p = root(share);
      return finish((i) => scale * fixed[i] + p * nodes[i * d + place], total, tail, square);
    });
  }
  /** A function of three shares: the gain as only these three ratios change, together `total`. */
  function overThree(ratios, chosen, total) {
    const others = Array.from({ length: d }, (_, j) => j).filter((j) => !chosen.includes(j));
    const kept = total === undefined ? ratios.map(() => 0) : ratios;
    const whole = total === undefined ? 1 : total;
    const fixed = products(kept, others), tail = [0, 0];
    let square = 0, sum = 0;
    for (const j of others) { square += tailOf(j, kept[j], tail); sum += Math.max(kept[j], 0); }
    return (shares) => {
      const own = tail.slice(), roots = shares.map((share) => root(share * whole));
      let away = square;
      chosen.forEach((j, c) => { away += tailOf(j, shares[c] * whole, own); });
      const dot = (i) => fixed[i] + roots[0] * nodes[i * d + chosen[0]] + roots[1] * nodes[i * d + chosen[1]] + roots[2] * nodes[i * d + chosen[2]];
      return finish(dot, sum + whole * (shares[0] + shares[1] + shares[2]), own, away);
    };
  }
  return { predict, read, withShare, alongOne, overThree };
}
