// The tables of trials: sort, filter, pick, download
(function () {
  function key(cell) {
    if (cell.dataset.value === undefined) return cell.textContent.trim().toLowerCase();
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  }

  function numberOf(row) { return Number(row.cells[0].dataset.value); }

  function sortable(table) {
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
  }

  // A cell that a spreadsheet would run as a formula gets an apostrophe before it
  function csvCell(value) {
    if (value === null) return "";
    if (typeof value === "number") return String(value);
    const text = /^[=+\-@\t\r]/.test(value) ? "'" + value : String(value);
    return /[",\n\r]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
  }

  report.csv = function (study, numbers) {
    const data = report.trials[study];
    const rows = numbers ? data.rows.filter(function (row) { return numbers.has(row[0]); }) : data.rows;
    return [data.columns].concat(rows).map(function (row) { return row.map(csvCell).join(","); }).join("\r\n") + "\r\n";
  };

  function part(selector, study) { return document.querySelector(selector + '[data-study="' + study + '"]'); }

  function filterable(table) {
    const study = table.dataset.study;
    const words = part(".filter", study), state = part(".state-filter", study), shown = part(".shown", study);
    const rows = Array.from(table.tBodies[0].rows).map(function (row) {
      return { row: row, number: numberOf(row), text: row.textContent.toLowerCase(), state: row.cells[1].textContent.trim() };
    });
    let visible = null;
    let timer = 0;
    function release() {
      table.querySelectorAll(".pick[aria-pressed=true]").forEach(function (other) { other.setAttribute("aria-pressed", "false"); });
    }
    function apply() {
      release();
      const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      const all = wanted.length === 0 && state.value === "";
      const found = rows.filter(function (each) {
        const hit = (state.value === "" || each.state === state.value) &&
          wanted.every(function (word) { return each.text.includes(word); });
        each.row.hidden = !hit;
        return hit;
      });
      visible = all ? null : new Set(found.map(function (each) { return each.number; }));
      shown.value = all ? rows.length + " trials" : found.length + " of " + rows.length + " trials";
      clearTimeout(timer);
      timer = setTimeout(function () { report.choose(study, visible); }, 120);
    }
    words.addEventListener("input", apply);
    state.addEventListener("change", apply);
    part(".csv", study).addEventListener("click", function () {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([report.csv(study, visible)], { type: "text/csv;charset=utf-8" }));
      link.download = report.trials[study].file;
      link.click();
      setTimeout(function () { URL.revokeObjectURL(link.href); }, 1000);
    });
    table.addEventListener("click", function (event) {
      const button = event.target.closest(".pick");
      if (!button) return;
      const pressed = button.getAttribute("aria-pressed") !== "true";
      release();
      button.setAttribute("aria-pressed", String(pressed));
      report.choose(study, pressed ? new Set([numberOf(button.closest("tr"))]) : visible);
    });
  }

  report.showRow = function (study, number) {
    const row = document.getElementById(study + "-" + number);
    if (!row) return;
    row.hidden = false;
    const button = row.querySelector(".pick");
    if (button.getAttribute("aria-pressed") !== "true") button.click();
    row.scrollIntoView({ block: "center" });
    button.focus({ preventScroll: true });
  };

  document.querySelectorAll("table.sortable").forEach(function (table) {
    sortable(table);
    filterable(table);
  });
})();
