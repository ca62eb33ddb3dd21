// Draws the plots, one a frame, and links their points to trials
(function () {
  const names = Object.keys(report.figures);
  const config = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false };

  // plotly reads tags in a label: foreign text must not hold any
  function inert(text) {
    return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }

  function written(value) {
    return typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(3))) : inert(value);
  }

  const texts = {};
  Object.keys(report.trials).forEach(function (study) {
    const data = report.trials[study];
    const at = function (name) { return data.columns.indexOf(name); };
    const first = at("seconds") + 1;
    const parameters = data.columns.slice(first, first + data.parameters);
    texts[study] = new Map(data.rows.map(function (row) {
      const value = row[2] === null ? row[at("state")] : data.metric + " " + row[2].toFixed(3);
      const name = row[at("name")] === null ? "" : " · " + inert(row[at("name")]);
      const lines = ["trial " + row[0] + name, inert(value)];
      if (row[at("seed")] !== null) lines.push("seed " + inert(row[at("seed")]));
      parameters.forEach(function (parameter, place) {
        const found = row[first + place];
        if (found !== null) lines.push(inert(parameter) + " " + written(found));
      });
      return [row[0], lines.join("<br>")];
    }));
  });

  // Point by point, or as a whole
  function linked(trace) { return trace.meta && trace.meta.study && trace.customdata; }
  function standsFor(trace, study) { return trace.meta && trace.meta.study === study && trace.meta.trials; }

  (function draw(position) {
    if (position === names.length) {
      report.root.dataset.drawn = String(names.length);
      return;
    }
    const place = document.getElementById(names[position]);
    const figure = report.figures[names[position]];
    if (figure.upright && matchMedia("(max-width: 560px)").matches) {
      figure.data.forEach(function (trace) { [trace.x, trace.y] = [trace.y, trace.x]; });
      figure.layout = figure.upright;
      place.style.height = figure.upright.height + "px";
    }
    figure.data.filter(linked).forEach(function (trace) {
      trace.text = trace.customdata.map(function (number) { return texts[trace.meta.study].get(number); });
      trace.unselected = { marker: { opacity: 0.12 } };
    });
    Plotly.newPlot(place, figure.data, figure.layout, config).then(function () {
      if (position === 0) report.root.dataset.first = String(Math.round(performance.now()));
      place.on("plotly_click", function (event) {
        const trace = event.points[0].data;
        if (linked(trace)) report.showRow(trace.meta.study, event.points[0].customdata);
        else if (trace.meta && trace.meta.trials) report.showRow(trace.meta.study, trace.meta.trials[0]);
      });
      setTimeout(draw, 0, position + 1);
    });
  })(0);

  // A picked trial is drawn as a bold line over the parallel axes, where points cannot be dimmed
  function overlay(place, study, chosen) {
    const x = [], y = [];
    if (chosen && chosen.size <= 20) {
      place.data.forEach(function (trace) {
        if (!linked(trace) || trace.meta.study !== study) return;
        trace.customdata.forEach(function (number, index) {
          if (chosen.has(number)) { x.push(trace.x[index]); y.push(trace.y[index]); }
        });
      });
    }
    // One after the other: a line that is still being added could not be taken away
    place.picking = (place.picking || Promise.resolve()).then(function () {
      const old = place.data.findIndex(function (trace) { return trace.name === "picked"; });
      return old < 0 ? null : Plotly.deleteTraces(place, old);
    }).then(function () {
      return x.length === 0 ? null : Plotly.addTraces(place, { type: "scatter", mode: "lines", x: x, y: y,
        name: "picked", hoverinfo: "skip", line: { color: "#c2571a", width: 3 } });
    });
  }

  // `chosen`: a Set of trial numbers that stay bright, or null for all
  report.choose = function (study, chosen) {
    names.forEach(function (name) {
      const place = document.getElementById(name);
      if (!place.data) return;
      const mine = [], picked = [], lines = [], shares = [];
      place.data.forEach(function (trace, index) {
        const trials = standsFor(trace, study);
        if (trials) {
          lines.push(index);
          shares.push(!chosen || trials.some(function (number) { return chosen.has(number); }) ? 1 : 0.12);
        }
        if (!linked(trace) || trace.meta.study !== study || trace.mode !== "markers") return;
        mine.push(index);
        picked.push(chosen && trace.customdata.reduce(function (found, number, point) {
          if (chosen.has(number)) found.push(point);
          return found;
        }, []));
      });
      if (lines.length) Plotly.restyle(place, { opacity: shares }, lines);
      if (mine.length) Plotly.restyle(place, { selectedpoints: picked }, mine);
      else if (place.data.some(function (trace) { return linked(trace) && trace.meta.study === study; })) overlay(place, study, chosen);
    });
  };

  // Plots have a width of their own: on paper they are drawn for the page, afterwards for the window
  function redraw(printing) {
    report.root.classList.toggle("printing", printing);
    if (printing) document.querySelectorAll(".meanings, #provenance details").forEach(function (part) { part.open = true; });
    names.forEach(function (name) {
      const place = document.getElementById(name);
      if (place.layout) Plotly.relayout(place, { width: printing ? place.clientWidth : null, autosize: !printing });
    });
  }
  window.addEventListener("beforeprint", function () { redraw(true); });
  window.addEventListener("afterprint", function () { redraw(false); });
})();
