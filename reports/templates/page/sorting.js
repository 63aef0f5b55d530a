// Columns sort on click or Enter: once, the other way round, and as they were. Averages stay at the end.
{
  const number = (text) => parseFloat(text.replaceAll(",", "").replace("\u2212", "-"));
  const textOf = (row, place) => {
    const cell = row.cells[place].cloneNode(true);
    cell.querySelectorAll("sup, .mark, .spoken").forEach((part) => part.remove());
    return cell.textContent.trim();
  };
  const compare = (numeric) => (a, b) => numeric ? number(a) - number(b) : a.localeCompare(b, "en", { numeric: true });

  const sort = (table, place, direction) => {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    rows.forEach((row, at) => { row.dataset.place ??= at; });
    const texts = new Map(rows.map((row) => [row, textOf(row, place)]));
    const filled = [...texts.values()].filter(Boolean);
    const order = compare(filled.every((text) => !Number.isNaN(number(text))));
    const asPrinted = (a, b) => a.dataset.place - b.dataset.place;
    rows.sort((a, b) => {
      const last = a.matches(".aggregate") - b.matches(".aggregate");
      if (last || a.matches(".aggregate") || !direction) return last || asPrinted(a, b);
      const [first, second] = [texts.get(a), texts.get(b)];
      if (!first || !second) return !first - !second || asPrinted(a, b);
      return direction * order(first, second) || asPrinted(a, b);
    });
    body.append(...rows);
  };

  const NEXT = { none: "descending", descending: "ascending", ascending: "none" };
  const DIRECTION = { none: 0, descending: -1, ascending: 1 };
  for (const header of document.querySelectorAll("table.filtered thead th:not([data-plain])")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    header.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const next = NEXT[header.getAttribute("aria-sort")];
      for (const other of header.parentElement.cells) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
      header.setAttribute("aria-sort", next);
      sort(header.closest("table"), header.cellIndex, DIRECTION[next]);
    });
  }
}
