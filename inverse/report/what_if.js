/* Bounds that move: which verified candidates would be hits, and how the run goes on so. */
(function () {
  "use strict";
  var data = JSON.parse(document.getElementById("what-if-data").textContent);
  var place = document.getElementById("bounds"), outcome = document.getElementById("outcome");
  var moved = document.getElementById("moved"), command = document.getElementById("command");
  var note = document.getElementById("command-note"), save = document.getElementById("save-config");
  var bounds = data.targets.map(function (t) { return { lower: t.lower, upper: t.upper }; });

  function phi(z) { /* normal distribution, Abramowitz and Stegun 7.1.26: within 1e-7 */
    var x = Math.abs(z) / Math.SQRT2, t = 1 / (1 + 0.3275911 * x);
    var tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
    var erf = 1 - tail * Math.exp(-x * x);
    return z < 0 ? (1 - erf) / 2 : (1 + erf) / 2;
  }
  function inside(value, bound) {
    return (bound.lower === null || value >= bound.lower) && (bound.upper === null || value <= bound.upper);
  }
  function meets(candidate, now) {
    return data.targets.every(function (target, k) {
      var value = candidate.values[target.name], guess = candidate.predicted[target.name];
      if (value !== undefined) return inside(value, now[k]);
      if (!guess) return false;
      if (guess[1] <= 0) return inside(guess[0], now[k]);
      var high = now[k].upper === null ? 1 : phi((now[k].upper - guess[0]) / guess[1]);
      var low = now[k].lower === null ? 0 : phi((now[k].lower - guess[0]) / guess[1]);
      return Math.min(high - low, guess[2]) >= data.enough;
    });
  }
  /* The best of each chemical system and parent prototype that meets everything. */
  function hitsUnder(now) {
    var best = {};
    data.candidates.forEach(function (candidate) {
      if (!meets(candidate, now)) return;
      var before = best[candidate.group];
      if (!before || candidate.score > before.score) best[candidate.group] = candidate;
    });
    return Object.keys(best).map(function (group) { return best[group]; });
  }
  var asked = data.targets.map(function (t) { return { lower: t.lower, upper: t.upper }; });
  var first = hitsUnder(asked);

  function changedTargets() {
    return data.targets.filter(function (t, k) {
      return bounds[k].lower !== asked[k].lower || bounds[k].upper !== asked[k].upper;
    });
  }
  function clause(target, bound) {
    var parts = [];
    if (bound.lower !== null) parts.push(target.symbol + " ≥ " + bound.lower);
    if (bound.upper !== null) parts.push(target.symbol + " ≤ " + bound.upper);
    return parts.join(" and ");
  }
  function listed(title, some) {
    if (!some.length) return;
    var head = document.createElement("h3"), list = document.createElement("ul");
    head.textContent = title; list.className = "plain moved";
    some.forEach(function (candidate) {
      var item = document.createElement("li"), link = document.createElement("a");
      link.href = "#" + candidate.id; link.textContent = candidate.formula;
      item.appendChild(link);
      item.appendChild(document.createTextNode(" " + candidate.shown));
      list.appendChild(item);
    });
    moved.appendChild(head); moved.appendChild(list);
  }
  function yaml() {
    var lines = data.config.split("\n"), at = lines.indexOf("targets:");
    changedTargets().forEach(function (target) {
      var bound = bounds[data.targets.indexOf(target)], own = "  " + target.name + ": {";
      var k = lines.findIndex(function (line) { return line.indexOf(own) === 0; });
      var weight = k >= 0 ? /weight: [\d.e+-]+/.exec(lines[k]) : null;
      var parts = [];
      if (bound.lower !== null) parts.push("min: " + bound.lower);
      if (bound.upper !== null) parts.push("max: " + bound.upper);
      if (weight) parts.push(weight[0]);
      var line = own + parts.join(", ") + "}";
      if (k >= 0) lines[k] = line; else lines.splice(at + 1, 0, line);
    });
    return lines.join("\n");
  }
  function show() {
    var now = hitsUnder(bounds), ids = function (c) { return c.id; };
    var before = first.map(ids), after = now.map(ids);
    var lost = first.filter(function (c) { return after.indexOf(c.id) < 0; });
    var gained = now.filter(function (c) { return before.indexOf(c.id) < 0; });
    var changed = changedTargets();
    var words = changed.map(function (t) { return clause(t, bounds[data.targets.indexOf(t)]); }).join(", ");
    moved.textContent = "";
    if (!changed.length) {
      outcome.textContent = first.length + " hits with the bounds as asked.";
      var more = data.budget ? " --budget " + 2 * data.budget : "";
      command.textContent = "inverse run " + data.folder + "/config.yaml --output " + data.folder + " --resume" + more;
      note.textContent = "Goes on with this run, from the folder that holds it.";
    } else {
      var counts = [];
      if (lost.length) counts.push(lost.length + (lost.length === 1 ? " hit" : " hits") + " lost");
      if (gained.length) counts.push(gained.length + " gained");
      outcome.textContent = (counts.join(", ") || "nothing changes") + " at " + words + ": " + now.length + " in all.";
      listed("Lost", lost); listed("Gained", gained);
      var name = data.name.replace(/[^A-Za-z0-9_-]+/g, "-") + "-what-if";
      command.textContent = "inverse run " + name + ".yaml --output " + name;
      note.textContent = "Save the config, then start it: other bounds make other proposals, so it is a run of its own; " +
        "verdicts that your store holds are not computed again.";
    }
    save.hidden = !changed.length;
    data.candidates.forEach(function (candidate) {
      var row = document.getElementById(candidate.id);
      if (!row) return;
      row.classList.toggle("lost", lost.indexOf(candidate) >= 0);
      row.classList.toggle("gained", gained.indexOf(candidate) >= 0);
    });
  }
  var inputs = [];
  data.targets.forEach(function (target, k) {
    ["lower", "upper"].forEach(function (end) {
      if (target[end] === null) return;
      var label = document.createElement("label"), input = document.createElement("input");
      label.textContent = target.label + (end === "lower" ? " ≥ " : " ≤ ");
      input.type = "number"; input.step = target.step; input.value = target[end];
      input.dataset.bound = target.name + " " + end;
      input.addEventListener("input", function () {
        var value = Number(input.value);
        if (input.value === "" || !isFinite(value)) return;
        bounds[k][end] = value;
        show();
      });
      inputs.push([input, target[end]]);
      label.appendChild(input);
      label.appendChild(document.createTextNode(" " + target.unit));
      place.appendChild(label);
    });
  });
  document.getElementById("reset-bounds").addEventListener("click", function () {
    inputs.forEach(function (pair) { pair[0].value = pair[1]; });
    bounds = asked.map(function (bound) { return { lower: bound.lower, upper: bound.upper }; });
    show();
  });
  save.addEventListener("click", function () {
    window.inversePage.save(data.name.replace(/[^A-Za-z0-9_-]+/g, "-") + "-what-if.yaml", yaml(), "text/yaml");
  });
  show();
})();
