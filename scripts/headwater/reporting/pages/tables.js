"use strict";
// sorts a table by a click or Enter on a column's heading, and filters its rows by what is typed; without this script
// the tables stand as they are
(() => {
  const missing = "–";
  // rows of a table below which no filter is offered
  const FEWEST = 8;

  // the first number of a cell; text where there is none
  const keyOf = (text) => {
    const number = text.replaceAll("−", "-").replaceAll(",", "").match(/[-+]?\d+(\.\d+)?(e[-+]?\d+)?/i);
    return number && /^[-+<≤>≥∞\d]/.test(text.replaceAll("−", "-")) ? Number(number[0]) : text.toLowerCase();
  };

  const compare = (one, other) => {
    if (typeof one === typeof other) return one < other ? -1 : one > other ? 1 : 0;
    return typeof one === "number" ? -1 : 1;
  };

  const cellOf = (row, column) => (row.cells[column] ? row.cells[column].textContent.trim() : missing);

  // a remark is about all rows of its group, so it follows the first of them
  const placed = (rows, remarks) => {
    const left = new Map(remarks.map((row) => [row.dataset.group, row]));
    return rows.flatMap((row) => {
      const remark = left.get(row.dataset.group);
      left.delete(row.dataset.group);
      return remark ? [row, remark] : [row];
    });
  };

  const made = (name, attributes) => Object.assign(document.createElement(name), attributes);

  document.querySelectorAll(".scroll table").forEach((table) => {
    const body = table.tBodies[0];
    const all = [...body.rows];
    const remarks = all.filter((row) => row.classList.contains("remark"));
    const rows = all.filter((row) => !row.classList.contains("remark"));
    const heads = [...table.tHead.rows[0].cells];

    heads.forEach((head, column) => {
      const button = made("button", { type: "button", textContent: head.textContent, title: "sort by this column" });
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const state = head.getAttribute("aria-sort");
        const next = state === "ascending" ? "descending" : state === "descending" ? null : "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        table.classList.toggle("sorted", next !== null);
        if (next === null) {
          body.append(...all);
          return;
        }
        head.setAttribute("aria-sort", next);
        const turn = next === "ascending" ? 1 : -1;
        const known = rows.filter((row) => cellOf(row, column) !== missing);
        const unknown = rows.filter((row) => cellOf(row, column) === missing);
        known.sort((one, other) => turn * compare(keyOf(cellOf(one, column)), keyOf(cellOf(other, column))));
        body.append(...placed([...known, ...unknown], remarks));
      });
    });

    if (rows.length < FEWEST) return;
    const search = made("input", { type: "search", placeholder: "filter rows", ariaLabel: "filter the rows of this table" });
    const said = made("span", { ariaLive: "polite" });
    const bar = made("div", { className: "filter" });
    bar.append(search, said);
    table.parentElement.before(bar);
    search.addEventListener("input", () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const remarkOf = new Map(remarks.map((row) => [row.dataset.group, row.textContent]));
      const shown = new Set();
      let many = 0;
      rows.forEach((row) => {
        const text = `${row.textContent} ${remarkOf.get(row.dataset.group) || ""}`.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        if (!row.hidden) {
          many += 1;
          shown.add(row.dataset.group);
        }
      });
      remarks.forEach((row) => (row.hidden = !shown.has(row.dataset.group)));
      // repeated names are shown where the row that bears them may be hidden
      table.classList.toggle("sorted", words.length > 0 || heads.some((head) => head.hasAttribute("aria-sort")));
      said.textContent = words.length ? `${many} of ${rows.length} rows` : "";
    });
  });
})();
