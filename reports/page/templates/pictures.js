// Pictures: classes over the tile, a lens on all panels of a row, and two of them with a slider
(function () {
  const overlay = document.getElementById("overlay");
  const lens = document.getElementById("lens");
  if (!overlay) return;
  const section = document.getElementById("pictures");

  overlay.addEventListener("change", function () { section.classList.toggle("overlaid", overlay.checked); });

  function magnify(panels, x, y) {
    panels.style.setProperty("--x", (100 * x).toFixed(2) + "%");
    panels.style.setProperty("--y", (100 * y).toFixed(2) + "%");
    panels.classList.add("magnified");
  }

  function lensed(panels) {
    function follow(event) {
      const frame = event.target.closest(".frame");
      if (!lens.checked || !frame) return panels.classList.remove("magnified");
      const box = frame.getBoundingClientRect();
      magnify(panels, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    }
    panels.addEventListener("pointermove", follow);
    // A tap magnifies, a finger drawn sideways moves the lens, the next tap takes it away
    let tapped = false;
    panels.addEventListener("pointerdown", function (event) {
      if (event.pointerType === "mouse") return;
      tapped = panels.classList.contains("magnified");
      follow(event);
    });
    panels.addEventListener("pointermove", function () { tapped = false; });
    panels.addEventListener("pointerup", function () { if (tapped) panels.classList.remove("magnified"); tapped = false; });
    panels.addEventListener("pointerleave", function (event) {
      if (event.pointerType === "mouse") panels.classList.remove("magnified");
    });
    // with the keyboard: arrows move the lens, Escape takes it away
    panels.addEventListener("keydown", function (event) {
      const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
      if (event.key === "Escape") panels.classList.remove("magnified");
      if (!step || !lens.checked) return;
      event.preventDefault();
      const at = ["--x", "--y"].map(function (name) { return (parseFloat(panels.style.getPropertyValue(name)) || 50) / 100; });
      magnify(panels, Math.min(1, Math.max(0, at[0] + step[0])), Math.min(1, Math.max(0, at[1] + step[1])));
    });
    panels.tabIndex = 0;
    panels.setAttribute("role", "group");
    panels.setAttribute("aria-label", "Pictures of one tile; arrow keys move the lens");
  }

  function chooser(label, images, chosen, changed) {
    const holder = document.createElement("label");
    const select = document.createElement("select");
    images.forEach(function (image, place) { select.add(new Option(image.dataset.title, place, false, place === chosen)); });
    select.addEventListener("change", changed);
    holder.append(label + " ", select);
    return [holder, select];
  }

  function compare(row) {
    const images = Array.from(row.querySelectorAll(".panel img"));
    const stage = document.createElement("div");
    stage.className = "compare";
    const pair = document.createElement("div");
    pair.className = "pair";
    const under = new Image(), over = new Image(), slider = document.createElement("input");
    over.className = "over";
    slider.type = "range";
    slider.value = "50";
    slider.setAttribute("aria-label", "How much of the left picture is shown, in per cent");
    function show() {
      [[under, right], [over, left]].forEach(function (each) {
        const image = images[each[1].value];
        each[0].src = image.src;
        each[0].alt = image.alt;
      });
    }
    function split() { pair.style.setProperty("--split", slider.value + "%"); }
    // The last pseudo-label beside the one before it
    const last = Math.min(images.length - 1, Math.max(1, images.length - 3));
    const [leftLabel, left] = chooser("left", images, last - 1, show);
    const [rightLabel, right] = chooser("right", images, last, show);
    slider.addEventListener("input", split);
    const bar = document.createElement("div");
    bar.className = "compare-bar";
    bar.append(leftLabel, rightLabel);
    pair.append(under, over);
    pair.style.setProperty("--ratio", images[0].width + " / " + images[0].height);
    stage.append(bar, pair, slider);
    show();
    split();
    return stage;
  }

  section.querySelectorAll(".picture-row").forEach(function (row) {
    const panels = row.querySelector(".panels");
    const tile = panels.querySelector(".tile img");
    if (tile) panels.style.setProperty("--tile", 'url("' + tile.src + '")');
    lensed(panels);
    const button = row.querySelector(".compare-open");
    let stage = null;
    button.addEventListener("click", function () {
      if (!stage) row.append(stage = compare(row));
      else stage.hidden = !stage.hidden;
      button.setAttribute("aria-expanded", String(!stage.hidden));
    });
  });
})();
