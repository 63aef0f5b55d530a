// Says where a table goes on to the right of what fits.
{
  const measure = (box) => {
    const rest = box.scrollWidth - box.clientWidth - box.scrollLeft;
    box.parentElement.classList.toggle("cut", rest > 2);
  };
  const watcher = new ResizeObserver((entries) => entries.forEach((entry) => measure(entry.target)));
  for (const box of document.querySelectorAll(".wide")) {
    watcher.observe(box);
    box.addEventListener("scroll", () => measure(box), { passive: true });
  }
  addEventListener("resize", () => document.querySelectorAll(".wide").forEach(measure));
}
