// What is under the pointer, in words. Without script the page loses nothing else.
(function () {
  "use strict";
  document.querySelectorAll(".plot[data-hover]").forEach(function (plot) {
    var points = JSON.parse(plot.dataset.hover);
    var mark = document.createElement("span");
    var tip = document.createElement("span");
    mark.className = "mark";
    tip.className = "tip";
    mark.hidden = tip.hidden = true;
    plot.append(mark, tip);
    function show(event) {
      var box = plot.querySelector("svg").getBoundingClientRect();
      var nearest = null;
      var least = Infinity;
      points.forEach(function (point) {
        var dx = box.left + (point[0] / 100) * box.width - event.clientX;
        var dy = box.top + (point[1] / 100) * box.height - event.clientY;
        var far = dx * dx * 4 + dy * dy;
        if (far < least) {
          least = far;
          nearest = point;
        }
      });
      if (!nearest) return;
      mark.style.left = tip.style.left = nearest[0] + "%";
      mark.style.top = tip.style.top = nearest[1] + "%";
      tip.textContent = nearest[2];
      tip.style.setProperty("--shift", -nearest[0] + "%");
      tip.classList.toggle("below", nearest[1] < 18);
      mark.hidden = tip.hidden = false;
    }
    plot.addEventListener("pointermove", show);
    plot.addEventListener("pointerdown", show);
    plot.addEventListener("pointerleave", function () {
      mark.hidden = tip.hidden = true;
    });
  });
  document.querySelectorAll(".strip").forEach(function (strip) {
    var readout = strip.parentNode.querySelector(".readout");
    readout.textContent = "Point at a byte.";
    function tell(event) {
      var cell = event.target.closest("i");
      if (cell) readout.textContent = cell.dataset.t + " · " + cell.parentNode.dataset.p;
    }
    strip.addEventListener("pointerover", tell);
    strip.addEventListener("pointerdown", tell);
  });
})();
