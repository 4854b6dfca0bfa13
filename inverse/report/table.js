/* The table of candidates: sorting, searching, opening cards. */
(function () {
  "use strict";
  var table = document.getElementById("candidates");
  if (!table) return;
  var bodies = Array.prototype.slice.call(table.tBodies);
  var heads = Array.prototype.slice.call(table.tHead.rows[0].cells);
  var text = document.getElementById("filter-text");
  var kind = document.getElementById("filter-kind");
  var shown = document.getElementById("shown");
  var ELEMENTS = ("H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr " +
    "Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W " +
    "Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr").split(" ");
  var KINDS = ["hit", "new", "known", "derivative", "failed", "verified", "predicted"];

  function key(body, column) {
    var cell = body.rows[0].cells[column];
    var raw = cell.getAttribute("data-sort");
    if (raw === null) raw = cell.textContent.trim();
    if (raw === "") return null;
    return isNaN(raw) ? raw.toLowerCase() : Number(raw);
  }
  /* By numbers what was judged stands before what was only predicted: a prediction beats no verdict. */
  function sortBy(column, descending) {
    bodies.sort(function (a, b) {
      if (a.rows[0].cells[column].classList.contains("num")) {
        var isLater = (key(a, 0) === null) - (key(b, 0) === null);
        if (isLater) return isLater;
      }
      var x = key(a, column), y = key(b, column);
      if (x === y) return a.dataset.order - b.dataset.order;
      if (x === null) return 1;
      if (y === null) return -1;
      if (typeof x !== typeof y) { x = String(x); y = String(y); }
      return (x < y ? -1 : 1) * (descending ? -1 : 1);
    });
    bodies.forEach(function (body) { table.appendChild(body); });
  }
  heads.forEach(function (head, column) {
    var button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", function () {
      var first = head.dataset.first, other = first === "ascending" ? "descending" : "ascending";
      var next = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach(function (h) { h.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", next);
      sortBy(column, next === "descending");
    });
  });

  /* Returns the amounts of a formula by element, brackets multiplied out; null of what is none. */
  function amountsOf(formula) {
    var at = 0;
    function number() {
      var found = /^\d+(\.\d+)?/.exec(formula.slice(at));
      if (!found) return 1;
      at += found[0].length;
      return Number(found[0]);
    }
    function group(depth) {
      var sum = {};
      while (at < formula.length) {
        var inner = null;
        if (formula[at] === "(" || formula[at] === "[") {
          at += 1;
          inner = group(depth + 1);
          if (!inner || (formula[at] !== ")" && formula[at] !== "]")) return null;
          at += 1;
        } else if (formula[at] === ")" || formula[at] === "]") {
          return depth ? sum : null;
        } else {
          var two = formula.slice(at, at + 2), one = formula[at];
          var symbol = ELEMENTS.indexOf(two) >= 0 ? two : ELEMENTS.indexOf(one) >= 0 ? one : null;
          if (!symbol) return null;
          at += symbol.length;
          inner = {};
          inner[symbol] = 1;
        }
        var times = number();
        Object.keys(inner).forEach(function (s) { sum[s] = (sum[s] || 0) + inner[s] * times; });
      }
      return depth ? null : sum;
    }
    var found = formula ? group(0) : null;
    return found && Object.keys(found).length ? found : null;
  }
  function divisor(a, b) { return b < 1e-9 ? a : divisor(b, a % b); }
  /* Returns the reduced formula as rows carry it, "C1 W1"; "" of what is no formula. */
  function reduced(formula) {
    var amounts = amountsOf(formula);
    if (!amounts) return "";
    var symbols = Object.keys(amounts).sort();
    var common = symbols.map(function (s) { return amounts[s]; }).reduce(divisor);
    return symbols.map(function (s) { return s + Number((amounts[s] / common).toPrecision(6)); }).join(" ");
  }
  function plainGroup(symbol) { return symbol.replace(/[_\s]/g, "").toLowerCase(); }

  /* Returns whether a row is meant by one word of a search. */
  function means(word, body) {
    var own = body.dataset.elements.split(" ");
    if (/^[A-Z][a-z]?(-[A-Z][a-z]?)+$/.test(word)) {
      var wanted = word.split("-").sort().join(" ");
      if (wanted.split(" ").every(function (s) { return ELEMENTS.indexOf(s) >= 0; })) return own.join(" ") === wanted;
    }
    if (/^\d+$/.test(word)) return body.dataset.number === String(Number(word));
    if (plainGroup(word) === plainGroup(body.dataset.group)) return true;
    if (ELEMENTS.indexOf(word) >= 0) return own.indexOf(word) >= 0;
    var formula = reduced(word);
    if (formula && formula === body.dataset.amounts) return true;
    var small = word.toLowerCase();
    if (KINDS.indexOf(small) >= 0) return (" " + body.dataset.kind + " ").indexOf(" " + small + " ") >= 0;
    if (formula) return false;
    return body.dataset.words.toLowerCase().split(/[\s,;:()]+/).some(function (w) { return w.indexOf(small) === 0; });
  }
  function filter() {
    var words = text.value.split(/[\s,;]+/).filter(Boolean), wanted = kind.value, n = 0;
    bodies.forEach(function (body) {
      var ok = words.every(function (word) { return means(word, body); });
      ok = ok && (!wanted || (" " + body.dataset.kind + " ").indexOf(" " + wanted + " ") >= 0);
      body.hidden = !ok;
      if (ok) n += 1;
    });
    shown.textContent = n + " of " + bodies.length + " shown";
  }
  text.addEventListener("input", filter);
  kind.addEventListener("change", filter);

  function open(body, yes) {
    body.rows[1].hidden = !yes;
    if (yes) window.inversePage.opened(body);
    body.querySelector(".formula").setAttribute("aria-expanded", yes ? "true" : "false");
  }
  table.addEventListener("click", function (event) {
    var button = event.target.closest(".formula");
    if (button) { var body = button.closest("tbody"); open(body, body.rows[1].hidden); }
  });
  document.getElementById("toggle-all").addEventListener("click", function () {
    var yes = this.getAttribute("aria-pressed") !== "true";
    this.setAttribute("aria-pressed", yes ? "true" : "false");
    this.textContent = yes ? "Close all details" : "Open all details";
    bodies.forEach(function (body) { open(body, yes); });
  });
  function openTarget() {
    var body = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (body && body.parentNode === table) { body.hidden = false; open(body, true); body.scrollIntoView(); }
  }
  window.addEventListener("hashchange", openTarget);
  window.inversePage.means = means;
  openTarget();
  filter();
})();
