"use strict";
(() => {
  const find = (selector) => document.querySelector(selector);
  const body = find("#experiments tbody");
  const rows = [...body.rows];
  const headings = [...document.querySelectorAll("#experiments thead th")];
  const form = find("#filter"), search = find("#search"), verdict = find("#verdict"), card = find("#card");
  const texts = new Map();  // what the search looks through, read when it is first wanted
  let order = null;

  function filter() {
    const wanted = search.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      if (wanted && !texts.has(row)) texts.set(row, row.textContent.toLowerCase());
      row.hidden = (verdict.value && row.dataset.verdict !== verdict.value) || (wanted && !texts.get(row).includes(wanted));
      shown += !row.hidden;
    }
    find("#count").value = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
  }

  function sort(column, direction) {
    const value = (row) => {
      const cell = row.cells[column];
      const text = cell.dataset.value ?? cell.textContent.trim();
      return text === "" || isNaN(text) ? text : Number(text);
    };
    const keyed = rows.map((row) => [value(row), row]);
    keyed.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === "");  // unknown comes last in both directions
      return direction * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
    });
    body.append(...keyed.map(([, row]) => row));
    headings.forEach((heading, index) =>
      heading.setAttribute("aria-sort", index !== column ? "none" : direction > 0 ? "ascending" : "descending"));
    order = [column, direction];
  }

  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sort(column, order && order[0] === column ? -order[1] : 1));
  });
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  search.addEventListener("input", filter);
  verdict.addEventListener("change", filter);

  function openTarget() {
    const row = /^#e\d+$/.test(location.hash) && find(location.hash);
    if (!row) return;
    if (row.hidden) { search.value = verdict.value = ""; filter(); }
    row.querySelector("details").open = true;
    row.scrollIntoView({ block: "start" });
  }
  addEventListener("hashchange", openTarget);

  // The card beside a point of the staircase. Its text is taken from the table and set as text, never as HTML.
  let near = null;
  function show(link) {
    if (near) near.classList.remove("near");
    near = link;
    card.hidden = !link;
    if (!link) return;
    link.classList.add("near");
    const row = find(link.getAttribute("href"));
    const lines = [
      `${row.cells[0].textContent}, ${row.dataset.verdict}: ${row.querySelector("summary").textContent}`,
      row.cells[2].textContent.trim(),
      row.querySelector("dd") ? row.querySelector("dd").textContent : "",
    ];
    card.replaceChildren(...lines.filter(Boolean).map((line) => {
      const paragraph = document.createElement("p");
      paragraph.textContent = line.length > 400 ? line.slice(0, 400) + "…" : line;
      return paragraph;
    }));
    const point = link.getBoundingClientRect(), room = document.documentElement.clientWidth;
    const left = Math.min(Math.max(16, point.left - 30), Math.max(16, room - card.offsetWidth - 16));
    card.style.left = `${left + scrollX}px`;
    card.style.top = `${point.bottom + 14 + scrollY}px`;
  }
  for (const picture of document.querySelectorAll('svg[class^="staircase"]')) {
    const links = [...picture.querySelectorAll("a")];
    const nearest = (event) => {
      let best = null, least = 26 ** 2;
      for (const link of links) {
        const box = link.getBoundingClientRect();
        const distance = (box.x + box.width / 2 - event.clientX) ** 2 + (box.y + box.height / 2 - event.clientY) ** 2;
        if (distance < least) [best, least] = [link, distance];
      }
      return best;
    };
    picture.addEventListener("pointermove", (event) => { const link = nearest(event); if (link !== near) show(link); });
    picture.addEventListener("pointerleave", () => show(null));
    picture.addEventListener("focusin", (event) => show(event.target.closest("a")));
    picture.addEventListener("focusout", () => show(null));
    picture.addEventListener("click", (event) => {
      const link = event.target.closest("a") || nearest(event);
      if (!link) return;
      event.preventDefault();
      if (location.hash === link.getAttribute("href")) openTarget(); else location.hash = link.getAttribute("href");
    });
  }
  addEventListener("keydown", (event) => { if (event.key === "Escape") show(null); });

  // While the night runs the page loads itself anew and comes back as it was. A page on disk can't ask whether it changed.
  const facts = document.documentElement.dataset;
  const saved = history.state;
  if (saved && saved.open) {
    search.value = saved.search;
    verdict.value = saved.verdict;
    if (saved.order) sort(...saved.order);
    for (const id of saved.open) document.getElementById(id)?.querySelector("details").setAttribute("open", "");
  }
  filter();
  if (!saved) openTarget();
  if (facts.running === "yes") {
    const timer = setInterval(() => {
      const seconds = Date.now() / 1000 - Number(facts.written);
      if (seconds > Number(facts.patience)) {
        clearInterval(timer);
        const note = document.createElement("span");
        note.className = "late";
        note.textContent = ` Nothing new for ${Math.round(seconds / 60)} minutes: the loop may have ended.`;
        find("#state").append(note);
      }
      if (document.hidden || document.activeElement === search || String(getSelection())) return;
      const open = rows.filter((row) => row.querySelector("details").open).map((row) => row.id);
      history.replaceState({ open, search: search.value, verdict: verdict.value, order }, "");
      location.reload();
    }, 30000);
  }
})();
