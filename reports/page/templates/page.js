"use strict";
// The page itself: light and dark, and the stage on which the other scripts meet
const report = {
  root: document.documentElement,
  figures: JSON.parse(document.getElementById("figures").textContent),
  trials: JSON.parse(document.getElementById("trials-data").textContent),
};

// On a phone each row of a table is a block: its cells bear the headings of their columns
document.querySelectorAll("table.wide:not(.sortable)").forEach(function (table) {
  const heads = Array.from(table.tHead.rows[0].cells, function (head) { return head.textContent.trim(); });
  Array.from(table.tBodies[0].rows).forEach(function (row) {
    Array.from(row.cells).forEach(function (cell, place) { cell.dataset.label = heads[place]; });
  });
});

document.getElementById("theme").addEventListener("click", function () {
  const root = report.root;
  const dark = getComputedStyle(root).colorScheme === "dark" ||
    (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  root.dataset.theme = dark ? "light" : "dark";
});
