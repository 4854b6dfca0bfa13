/* The shortlist with its comments: kept in the browser, exported as JSON that `inverse export --shortlist` reads. */
(function () {
  "use strict";
  var run = JSON.parse(document.getElementById("run-data").textContent);
  var key = "inverse shortlist " + run.name + " " + run.created + " " + run.seed;
  var place = document.getElementById("shortlisted"), out = document.getElementById("save-shortlist");
  var list = read();

  function read() {
    try {
      var found = JSON.parse(window.localStorage.getItem(key) || "[]");
      return Array.isArray(found) ? found.filter(function (one) { return one && typeof one.id === "string"; }) : [];
    } catch (error) { return []; }
  }
  function keep() {
    try { window.localStorage.setItem(key, JSON.stringify(list)); } catch (error) { /* kept while the page is open */ }
    show();
  }
  function find(id) { return list.filter(function (one) { return one.id === id; })[0]; }
  function put(id, formula) {
    if (find(id)) list = list.filter(function (one) { return one.id !== id; });
    else list.push({ id: id, formula: formula, comment: commentOf(id) });
    keep();
  }
  function commentOf(id) {
    var field = document.querySelector('[data-comment="' + id + '"]');
    return field ? field.value : "";
  }
  function show() {
    place.textContent = "";
    out.disabled = !list.length;
    if (!list.length) {
      var empty = document.createElement("p");
      empty.textContent = "Nothing is on it yet.";
      place.appendChild(empty);
    }
    var items = document.createElement("ul");
    items.className = "plain";
    list.forEach(function (one) {
      var item = document.createElement("li"), link = document.createElement("a");
      link.href = "#" + one.id; link.textContent = one.formula || one.id;
      item.appendChild(link);
      item.appendChild(document.createTextNode(one.comment ? ": " + one.comment : ""));
      items.appendChild(item);
    });
    if (list.length) place.appendChild(items);
    document.querySelectorAll("[data-star]").forEach(function (star) {
      var on = !!find(star.dataset.star);
      star.setAttribute("aria-pressed", on ? "true" : "false");
      star.textContent = on ? "★" : "☆";
    });
  }
  document.addEventListener("click", function (event) {
    var star = event.target.closest && event.target.closest("[data-star]");
    if (star) put(star.dataset.star, star.dataset.formula);
  });
  document.addEventListener("input", function (event) {
    var id = event.target.dataset && event.target.dataset.comment;
    if (!id) return;
    var one = find(id);
    if (!one) {
      var star = document.querySelector('[data-star="' + id + '"]');
      one = { id: id, formula: star ? star.dataset.formula : id, comment: "" };
      list.push(one);
    }
    one.comment = event.target.value;
    keep();
  });
  out.addEventListener("click", function () {
    var record = { format: "inverse shortlist", version: 1, run: run.name, candidates: list };
    window.inversePage.save("shortlist.json", JSON.stringify(record, null, 2) + "\n", "application/json");
  });
  list.forEach(function (one) {
    var field = document.querySelector('[data-comment="' + one.id + '"]');
    if (field) field.value = one.comment || "";
  });
  show();
})();
