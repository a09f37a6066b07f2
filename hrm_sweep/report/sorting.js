// A table is sorted by the heading that is pressed, once upwards, once downwards. Empty cells stay at the end.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const upwards = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", upwards ? "ascending" : "descending");
      const keyed = [...body.rows].map((row) => {
        const cell = row.cells[column];
        const number = cell.dataset.value;
        return { row, key: number === undefined ? cell.textContent : Number(number), empty: !cell.textContent };
      });
      keyed.sort((one, other) => {
        if (one.empty || other.empty) return one.empty - other.empty;
        const order = typeof one.key === "number" && typeof other.key === "number"
          ? one.key - other.key
          : String(one.key).localeCompare(String(other.key), "en", { numeric: true });
        return upwards ? order : -order;
      });
      body.append(...keyed.map((each) => each.row));
    });
  });
}
