/* Crystals that turn, and the files that the page carries. Needs 3Dmol.js; without WebGL the pictures stay. */
(function () {
  "use strict";
  var holder = document.getElementById("crystals");
  var crystals = holder ? JSON.parse(holder.textContent) : { looks: {}, of: {} };
  var live = [], MOST_LIVE = 6;

  function hasWebGL() {
    try {
      var canvas = document.createElement("canvas");
      return !!(window.WebGLRenderingContext && (canvas.getContext("webgl2") || canvas.getContext("webgl")));
    } catch (error) { return false; }
  }

  function atomsOf(drawing) {
    var atoms = drawing.atoms.map(function (atom, index) {
      return { elem: atom[0], x: atom[1], y: atom[2], z: atom[3], serial: index, bonds: [], bondOrder: [] };
    });
    drawing.bonds.forEach(function (pair) {
      atoms[pair[0]].bonds.push(pair[1]); atoms[pair[0]].bondOrder.push(1);
      atoms[pair[1]].bonds.push(pair[0]); atoms[pair[1]].bondOrder.push(1);
    });
    return atoms;
  }

  function still(box) {
    if (!box.viewer) return;
    box.viewer.clear();
    var canvas = box.stage.querySelector("canvas");
    var context = canvas && (canvas.getContext("webgl2") || canvas.getContext("webgl"));
    var lost = context && context.getExtension("WEBGL_lose_context");
    if (lost) lost.loseContext();
    box.stage.remove();
    box.viewer = null;
    box.querySelector("svg").removeAttribute("hidden");
    live = live.filter(function (other) { return other !== box; });
  }

  function turn(box) {
    if (box.viewer) return box.viewer;
    var known = crystals.of[box.dataset.crystal];
    if (!known || !window.$3Dmol) return null;
    while (live.length >= MOST_LIVE) still(live[0]);
    var stage = document.createElement("div");
    stage.className = "stage";
    stage.setAttribute("role", "img");
    stage.setAttribute("aria-label", "unit cell that turns; drag it, or use the arrow keys");
    stage.tabIndex = 0;
    box.appendChild(stage);
    var viewer;
    try {
      viewer = window.$3Dmol.createViewer(stage, { backgroundColor: "black", backgroundAlpha: 0, antialias: true });
    } catch (error) { stage.remove(); return null; }
    if (!viewer) { stage.remove(); return null; }
    var model = viewer.addModel();
    model.addAtoms(atomsOf(known.drawing));
    Object.keys(crystals.looks).forEach(function (element) {
      var look = crystals.looks[element];
      viewer.setStyle({ elem: element }, {
        sphere: { radius: look.radius, color: look.colour }, stick: { radius: 0.1, color: look.colour }
      });
    });
    known.drawing.edges.forEach(function (edge) {
      viewer.addCylinder({
        start: { x: edge[0][0], y: edge[0][1], z: edge[0][2] },
        end: { x: edge[1][0], y: edge[1][1], z: edge[1][2] }, radius: 0.03, color: "#8a95a1"
      });
    });
    viewer.setBackgroundColor("black", 0); /* premultiplied: any other colour would shine through */
    viewer.zoomTo();
    viewer.render();
    stage.addEventListener("keydown", function (event) {
      var by = { ArrowLeft: [-10, "y"], ArrowRight: [10, "y"], ArrowUp: [-10, "x"], ArrowDown: [10, "x"] }[event.key];
      if (by) { viewer.rotate(by[0], by[1]); event.preventDefault(); }
    });
    box.querySelector("svg").setAttribute("hidden", "");
    box.viewer = viewer; box.stage = stage;
    live.push(box);
    return viewer;
  }

  function save(name, text, kind) {
    var link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: kind || "text/plain" }));
    link.download = name;
    document.body.appendChild(link);
    link.click();
    link.remove();
    setTimeout(function () { URL.revokeObjectURL(link.href); }, 1000);
  }

  function offerFiles(place) {
    var known = crystals.of[place.dataset.files];
    if (!known || place.querySelector("button")) return;
    Object.keys(known.files).forEach(function (name) {
      var button = document.createElement("button");
      button.type = "button"; button.className = "plain-button"; button.textContent = name;
      button.addEventListener("click", function () { save(name, known.files[name]); });
      place.appendChild(document.createTextNode(" "));
      place.appendChild(button);
    });
  }

  var canTurn = hasWebGL();
  document.querySelectorAll("button.turn").forEach(function (button) { button.hidden = !canTurn; });
  document.addEventListener("click", function (event) {
    var button = event.target.closest && event.target.closest("button.turn");
    if (!button) return;
    var box = button.closest(".crystal").querySelector(".look");
    if (box.viewer) { still(box); button.textContent = "Turn it in 3D"; }
    else if (turn(box)) button.textContent = "Back to the picture";
  });
  window.inversePage = {
    save: save,
    /* Called when a card opens: what it needs is made then. */
    opened: function (card) {
      card.querySelectorAll("[data-files]").forEach(offerFiles);
    },
    turn: turn
  };
  window.addEventListener("beforeprint", function () { live.slice().forEach(still); });
})();
