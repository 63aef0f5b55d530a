// What is shown, by method, task and verdict. The address keeps it: #section?method=dtql,srpo&task=hopper&verdict=below
{
  const form = document.getElementById("filter");
  const task = document.getElementById("task");
  const shown = document.getElementById("shown");
  const chips = [...form.querySelectorAll(".chip")];
  const chosen = (name) => chips.filter((chip) => chip.dataset.filter === name && chip.ariaPressed === "true").map((chip) => chip.value);
  const list = (text) => text ? text.split(", ") : [];
  const any = (wanted, has) => !wanted.length || has.some((one) => wanted.includes(one));

  const anchorOf = () => location.hash.slice(1).split("?")[0];
  const read = () => {
    const asked = new URLSearchParams(location.hash.split("?")[1] ?? "");
    for (const chip of chips) chip.ariaPressed = (asked.get(chip.dataset.filter) ?? "").split(",").includes(chip.value);
    task.value = asked.get("task") ?? "";
  };
  const write = (anchor = anchorOf(), step = false) => {
    const asked = [["method", chosen("method").join(",")], ["task", task.value.trim()], ["verdict", chosen("verdict").join(",")]]
      .filter(([, value]) => value).map(([name, value]) => `${name}=${encodeURIComponent(value).replaceAll("%2C", ",")}`);
    const hash = asked.length ? `#${anchor}?${asked.join("&")}` : anchor ? `#${anchor}` : "";
    history[step ? "pushState" : "replaceState"](null, "", hash || location.pathname + location.search);
  };

  const tasksMatch = (names) => {
    const words = task.value.toLowerCase().split(/\s+/).filter(Boolean);
    return !words.length || names.some((name) => words.every((word) => name.toLowerCase().includes(word)));
  };
  const rowShown = (row, methods, verdicts) => {
    if (row.matches(".aggregate")) return !verdicts.length && tasksMatch([""]);
    if (!any(methods, row.dataset.methods ? list(row.dataset.methods) : methods)) return false;
    if (row.dataset.task && !tasksMatch([row.dataset.task])) return false;
    if (!verdicts.length) return true;
    const places = row.dataset.verdict ? [row] : [...row.querySelectorAll("td[data-verdict]:not([hidden])")];
    return places.some((place) => verdicts.includes(place.dataset.verdict));
  };
  const filterTable = (table, methods, verdicts) => {
    const heads = [...table.tHead.rows[0].cells];
    const hidden = heads.map((head) => "method" in head.dataset && methods.length > 0 && !methods.includes(head.dataset.method));
    const rows = [...table.tBodies[0].rows];
    for (const row of [table.tHead.rows[0], ...rows]) [...row.cells].forEach((cell, at) => { cell.hidden = hidden[at]; });
    for (const row of rows) row.hidden = !rowShown(row, methods, verdicts);
    const ofMethods = heads.some((head) => "method" in head.dataset);
    const columnsLeft = !ofMethods || heads.some((head, at) => "method" in head.dataset && !hidden[at]);
    return columnsLeft && rows.some((row) => !row.hidden);
  };

  const apply = () => {
    const [methods, verdicts] = [chosen("method"), chosen("verdict")];
    const some = methods.length + verdicts.length > 0 || task.value.trim() !== "";
    for (const table of document.querySelectorAll("#verdicts table.filtered")) filterTable(table, methods, verdicts);
    for (const block of document.querySelectorAll(".tables .block")) {
      block.hidden = !filterTable(block.querySelector("table"), methods, verdicts);
    }
    for (const table of document.querySelectorAll(".tables details.table")) {
      table.hidden = some && !table.querySelector(".block:not([hidden])");
    }
    for (const item of document.querySelectorAll("figure[data-methods], .suite, #failures > details, .making")) {
      const tasks = list(item.dataset.tasks ?? item.dataset.task ?? "");
      const verdict = item.dataset.verdict ? [item.dataset.verdict] : verdicts;
      item.hidden = !(any(methods, list(item.dataset.methods)) && (!tasks.length || tasksMatch(tasks)) && any(verdicts, verdict));
    }
    // What is folded unfolds where a verdict is asked for, and goes where nothing in it is left.
    for (const fold of document.querySelectorAll("details.line")) {
      const items = [...fold.querySelectorAll(".verdicts tbody tr, figure, .making, details.table")];
      fold.hidden = some && items.length > 0 && items.every((item) => item.hidden);
      if (verdicts.length && fold.closest("#verdicts")) fold.open = true;
    }
    const [left, all] = ["#verdicts tbody tr:not([hidden])", "#verdicts tbody tr"].map((what) => document.querySelectorAll(what).length);
    shown.textContent = some ? `Shows ${left} of ${all} verdicts.` : "";
    form.classList.toggle("active", some);
    dispatchEvent(new Event("resize"));
  };

  const goTo = (anchor) => {
    document.querySelectorAll(".target").forEach((old) => old.classList.remove("target"));
    const target = anchor && document.getElementById(anchor);
    if (!target) return;
    for (let at = target; at; at = at.parentElement) if (at.matches("details")) at.open = true;
    target.classList.add("target");
    target.scrollIntoView();
  };

  form.addEventListener("click", (event) => {
    const chip = event.target.closest(".chip");
    if (!chip) return;
    chip.ariaPressed = chip.ariaPressed !== "true";
    apply();
    write();
  });
  task.addEventListener("input", () => { apply(); write(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => {
    for (const chip of chips) chip.ariaPressed = false;
    task.value = "";
    apply();
    write();
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (!link || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    write(link.hash.slice(1), true);
    goTo(link.hash.slice(1));
  });
  addEventListener("popstate", () => { read(); apply(); goTo(anchorOf()); });
  form.hidden = !form.querySelector("[data-filter=method]");
  read();
  apply();
  // After a reload the browser itself goes back to where the reader was.
  if (performance.getEntriesByType("navigation")[0]?.type !== "reload") goTo(anchorOf());
}
