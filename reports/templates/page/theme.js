// Light and dark: as the system has it, until the reader chooses; the choice is kept.
{
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => { try { return localStorage.getItem("bench-theme"); } catch { return null; } };
  const keep = (theme) => { try { localStorage.setItem("bench-theme", theme); } catch { /* private window: not kept */ } };
  const current = () => root.dataset.theme ?? (system.matches ? "dark" : "light");
  const show = () => { button.textContent = current() === "dark" ? "Light theme" : "Dark theme"; };

  if (["light", "dark"].includes(stored())) root.dataset.theme = stored();
  button.addEventListener("click", () => {
    root.dataset.theme = current() === "dark" ? "light" : "dark";
    keep(root.dataset.theme);
    show();
  });
  system.addEventListener("change", show);
  show();
  button.hidden = false;
}
