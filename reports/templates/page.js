"use strict";
// The page itself: light and dark, and the stage on which the other scripts meet
const report = {
  root: document.documentElement,
  figures: JSON.parse(document.getElementById("figures").textContent),
  trials: JSON.parse(document.getElementById("trials-data").textContent),
};

document.getElementById("theme").addEventListener("click", function () {
  const root = report.root;
  const dark = getComputedStyle(root).colorScheme === "dark" ||
    (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  root.dataset.theme = dark ? "light" : "dark";
});
