(function () {
  "use strict";
  var table = document.getElementById("candidates");
  if (!table) return;
  var bodies = Array.prototype.slice.call(table.tBodies);
  var heads = Array.prototype.slice.call(table.tHead.rows[0].cells);
  var text = document.getElementById("filter-text");
  var kind = document.getElementById("filter-kind");
  var shown = document.getElementById("shown");

  function key(body, column) {
    var cell = body.rows[0].cells[column];
    var raw = cell.getAttribute("data-sort");
    if (raw === null) raw = cell.textContent.trim();
    if (raw === "") return null;
    return isNaN(raw) ? raw.toLowerCase() : Number(raw);
  }
  function sortBy(column, descending) {
    bodies.sort(function (a, b) {
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
      var first = head.classList.contains("num") && column > 0 ? "descending" : "ascending";
      var other = first === "ascending" ? "descending" : "ascending";
      var next = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach(function (h) { h.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", next);
      sortBy(column, next === "descending");
    });
  });
  function filter() {
    var words = text.value.toLowerCase().split(/\s+/).filter(Boolean), wanted = kind.value, n = 0;
    bodies.forEach(function (body) {
      var hay = body.dataset.search.toLowerCase();
      var ok = words.every(function (w) { return hay.indexOf(w) >= 0; });
      var kinds = " " + body.dataset.kind + " ";
      ok = ok && (!wanted || kinds.indexOf(" " + wanted + " ") >= 0);
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
  window.addEventListener("beforeprint", function () { bodies.forEach(function (b) { if (b.dataset.kind.indexOf("hit") === 0) open(b, true); }); });
  openTarget();
  filter();
})();
