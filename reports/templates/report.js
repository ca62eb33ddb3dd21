"use strict";
(function () {
  const root = document.documentElement;

  document.getElementById("theme").addEventListener("click", function () {
    const dark = getComputedStyle(root).colorScheme === "dark" ||
      (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
    root.dataset.theme = dark ? "light" : "dark";
  });

  const figures = JSON.parse(document.getElementById("figures").textContent);
  const names = Object.keys(figures);
  const config = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false };
  // One plot a frame: the head of the page can be read and scrolled while the rest is drawn
  (function draw(position) {
    if (position === names.length) {
      root.dataset.drawn = String(names.length);
      return;
    }
    const place = document.getElementById(names[position]);
    const figure = figures[names[position]];
    Plotly.newPlot(place, figure.data, figure.layout, config).then(function () {
      setTimeout(draw, 0, position + 1);
    });
  })(0);

  // Plots have a width of their own: on paper they are drawn for the page, afterwards for the window
  function redraw(printing) {
    root.classList.toggle("printing", printing);
    if (printing) document.querySelector(".meanings").open = true;
    names.forEach(function (name) {
      const place = document.getElementById(name);
      if (place.layout) Plotly.relayout(place, { width: printing ? place.clientWidth : null, autosize: !printing });
    });
  }
  window.addEventListener("beforeprint", function () { redraw(true); });
  window.addEventListener("afterprint", function () { redraw(false); });

  function key(cell) {
    if (cell.dataset.value === undefined) return cell.textContent.trim().toLowerCase();
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  }

  document.querySelectorAll("table.sortable").forEach(function (table) {
    const heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach(function (head, column) {
      head.querySelector("button").addEventListener("click", function () {
        const descending = head.getAttribute("aria-sort") === "ascending";
        heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        const body = table.tBodies[0];
        const rows = Array.from(body.rows).map(function (row) { return [key(row.cells[column]), row]; });
        rows.sort(function (a, b) {
          // what is missing stays below, whichever way the column is sorted
          if (a[0] === null || b[0] === null) return (a[0] === null) - (b[0] === null);
          const order = a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0;
          return descending ? -order : order;
        });
        body.append.apply(body, rows.map(function (pair) { return pair[1]; }));
      });
    });
  });

  const overlay = document.getElementById("overlay");
  if (overlay) {
    document.querySelectorAll(".panels").forEach(function (panels) {
      const tile = panels.querySelector(".tile img");
      if (tile) panels.style.setProperty("--tile", 'url("' + tile.src + '")');
    });
    overlay.addEventListener("change", function () {
      document.getElementById("pictures").classList.toggle("overlaid", overlay.checked);
    });
  }
})();
