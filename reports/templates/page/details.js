// A card with what is known of a number: on hover, keyboard focus or touch. Without scripts its link leads there.
{
  const card = document.createElement("aside");
  card.id = "card";
  card.popover = "manual";
  document.body.append(card);
  const few = matchMedia("(max-width: 40rem)");
  let shown = null;
  let waiting = 0;

  const fill = (link) => {
    const target = document.getElementById(link.hash.slice(1));
    const making = target.closest(".making");
    const own = target.matches(".making") ? [...target.querySelectorAll(":scope > .number-facts")].slice(0, 1) : [target];
    const title = document.createElement("h4");
    title.textContent = own[0]?.dataset.title ?? making.querySelector("summary strong").parentElement.textContent;
    const parts = [...own, ...(making ? making.querySelectorAll(":scope > .common") : [])];
    card.replaceChildren(title, ...parts.map((part) => {
      const copy = part.cloneNode(true);
      copy.removeAttribute("id");
      return copy;
    }));
    if (making) {
      const more = document.createElement("a");
      more.href = `#${making.id}`;
      more.textContent = "Seeds and hyper-parameters";
      card.append(more);
    }
  };

  // Below the number or above it, where there is more room; on a phone at the foot, the number scrolled clear of it.
  const place = (link) => {
    const at = link.getBoundingClientRect();
    card.style.cssText = "";
    if (few.matches) {
      scrollBy(0, Math.max(0, at.bottom + 12 - (innerHeight - card.offsetHeight)));
      return;
    }
    const [above, below] = [at.top - 14, innerHeight - at.bottom - 14];
    const under = below >= Math.min(card.offsetHeight, above);
    card.style.maxHeight = `${Math.min(under ? below : above, innerHeight * 0.7)}px`;
    const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - card.offsetWidth - 8));
    card.style.left = `${left + scrollX}px`;
    card.style.top = `${(under ? at.bottom + 6 : at.top - card.offsetHeight - 6) + scrollY}px`;
  };

  const hide = () => {
    clearTimeout(waiting);
    shown?.removeAttribute("aria-describedby");
    shown = null;
    if (card.matches(":popover-open")) card.hidePopover();
  };
  const show = (link) => {
    clearTimeout(waiting);
    if (shown === link) return;
    hide();
    shown = link;
    fill(link);
    card.showPopover();
    card.scrollTop = 0;
    place(link);
    link.setAttribute("aria-describedby", "card");
  };
  const later = (what, delay) => { clearTimeout(waiting); waiting = setTimeout(what, delay); };
  const linkAt = (event) => event.target.closest?.("a.number");

  document.addEventListener("pointerover", (event) => {
    if (event.pointerType === "touch") return;
    const link = linkAt(event);
    if (link) later(() => show(link), 120);
    else if (card.contains(event.target)) clearTimeout(waiting);
    else if (shown && shown !== document.activeElement) later(hide, 200);
  });
  document.addEventListener("focusin", (event) => {
    const link = linkAt(event);
    if (link?.matches(":focus-visible")) show(link);
    else if (!card.contains(event.target)) hide();
  });
  let touched = false;
  document.addEventListener("pointerdown", (event) => { touched = event.pointerType === "touch"; });
  document.addEventListener("click", (event) => {
    const link = linkAt(event);
    if (link && touched) { event.preventDefault(); event.stopPropagation(); show(link); }
    else if (card.contains(event.target) ? event.target.closest("a") : shown) hide();
  }, true);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  addEventListener("scroll", (event) => { if (event.target.matches?.(".wide")) hide(); }, true);
}
