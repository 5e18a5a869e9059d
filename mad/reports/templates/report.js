"use strict";
(() => {
  const table = document.getElementById("rows");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const headers = Array.from(table.tHead.rows[0].cells);
  const filter = document.getElementById("filter");
  const count = document.getElementById("count");

  const value = (text) => (text === "None" ? -Infinity : Number(text));

  const compare = (a, b) => {
    if (a.dataset.value === undefined) {
      return a.textContent.localeCompare(b.textContent, "en", { numeric: true });
    }
    const x = value(a.dataset.value), y = value(b.dataset.value);
    return x < y ? -1 : x > y ? 1 : 0;
  };

  const sort = (column, sign) => {
    rows.sort((a, b) => sign * compare(a.cells[column], b.cells[column]));
    body.append(...rows);
    headers.forEach((header, k) => {
      if (k === column) header.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      else header.removeAttribute("aria-sort");
    });
  };

  const show = () => {
    const wanted = filter.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length} rows`;
  };

  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    button.addEventListener("click", () => {
      sort(column, header.getAttribute("aria-sort") === "descending" ? 1 : -1);
    });
    header.replaceChildren(button);
  });
  filter.addEventListener("input", show);
  document.querySelector(".tools").hidden = false;
  show();
})();
