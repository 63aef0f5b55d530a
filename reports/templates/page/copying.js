// Tables go into papers and spreadsheets: LaTeX as bench report writes it, CSV as the rows stand here.
{
  const plain = (cell) => {
    const copy = cell.cloneNode(true);
    copy.querySelectorAll("sup, .mark, .spoken, svg").forEach((part) => part.remove());
    return copy.textContent.trim().replace(/\s+/g, " ").replaceAll("\u2212", "-").replaceAll("\u2011", "-");
  };
  const quoted = (text) => /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  const csv = (table) => [...table.rows].filter((row) => !row.hidden)
    .map((row) => [...row.cells].filter((cell) => !cell.hidden).map((cell) => quoted(plain(cell))).join(",")).join("\n");

  for (const line of document.querySelectorAll(".copying")) {
    line.hidden = false;
    line.addEventListener("click", async (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      const text = button.dataset.copy === "latex" ? line.querySelector("template").content.textContent
        : [...line.parentElement.querySelectorAll("table")].map(csv).join("\n\n") + "\n";
      const said = button.textContent;
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch {
        button.textContent = "The browser did not allow it";
      }
      setTimeout(() => { button.textContent = said; }, 1500);
    });
  }
}
