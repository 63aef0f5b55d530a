// A card with what is known of a number: on hover, keyboard focus or touch. Without scripts its link leads there.
{
  const card = document.createElement("aside");
  card.id = "card";
  card.popover = "manual";
  document.body.append(card);
  const few = matchMedia("(max-width: 37.5rem)");
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
      more.textContent = "Arithmetic, seeds, code and every setting";
      card.append(more);
    }
  };

  // Whole within the window and clear of the number: below it, above it, or else beside it; on a phone at the foot,
  // the number scrolled clear of it.
  const place = (link) => {
    const at = link.getBoundingClientRect();
    card.style.cssText = "";
    if (few.matches) {
      scrollBy(0, Math.max(0, at.bottom + 12 - (innerHeight - card.offsetHeight)));
      return;
    }
    const [width, height, gap, edge] = [card.offsetWidth, card.offsetHeight, 6, 8];
    const [right, bottom] = [document.documentElement.clientWidth - edge, innerHeight - edge];
    const under = at.bottom + gap + height <= bottom;
    const over = at.top - gap - height >= edge;
    const within = (value, most) => Math.max(edge, Math.min(value, most));
    const left = under || over ? within(at.left, right - width)
      : at.right + gap + width <= right ? at.right + gap : within(at.left - gap - width, right - width);
    const top = under ? at.bottom + gap : over ? at.top - gap - height : within(at.top, bottom - height);
    card.style.left = `${left + scrollX}px`;
    card.style.top = `${top + scrollY}px`;
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
