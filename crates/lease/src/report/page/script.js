"use strict";
(() => {
  const tip = document.querySelector(".tip");

  // What a chart has at a place: the nearest row of the table behind it.
  const walkers = new WeakMap();
  function rowsOf(figure) {
    return [...figure.querySelectorAll("tr[data-x]")].map((row) => ({ x: Number(row.dataset.x), row }));
  }
  function show(figure, number) {
    const rows = rowsOf(figure);
    if (!rows.length) return;
    const at = Math.max(0, Math.min(rows.length - 1, number));
    walkers.set(figure, at);
    const svg = figure.querySelector(".plot > svg"), cursor = svg && svg.querySelector(".cursor");
    if (!cursor) return;
    cursor.setAttribute("x1", rows[at].x);
    cursor.setAttribute("x2", rows[at].x);
    cursor.classList.add("on");
    const head = [...figure.querySelectorAll("thead th")].map((cell) => cell.textContent);
    const cells = [...rows[at].row.children].map((cell) => cell.textContent);
    const table = document.createElement("table");
    cells.forEach((cell, i) => {
      if (!cell) return;
      const row = table.insertRow();
      row.insertCell().textContent = head[i];
      row.insertCell().textContent = cell;
    });
    tip.replaceChildren(table);
    tip.hidden = false;
    const box = svg.getBoundingClientRect(), width = svg.viewBox.baseVal.width;
    const x = box.left + (rows[at].x / width) * box.width, own = tip.getBoundingClientRect();
    const left = x + 14 + own.width > innerWidth ? x - 14 - own.width : x + 14;
    tip.style.left = Math.max(4, left) + "px";
    tip.style.top = Math.max(4, Math.min(innerHeight - own.height - 4, box.top + 8)) + "px";
  }
  function hide(figure) {
    tip.hidden = true;
    figure?.querySelector(".cursor")?.classList.remove("on");
  }
  function chartOf(event) {
    const plot = event.target.closest?.(".plot[tabindex]");
    return plot && plot.closest("figure");
  }
  document.addEventListener("pointermove", (event) => {
    const figure = chartOf(event);
    for (const on of document.querySelectorAll(".cursor.on")) if (on.closest("figure") !== figure) hide(on.closest("figure"));
    if (!figure) return;
    const svg = figure.querySelector(".plot > svg");
    if (!svg) return;
    const box = svg.getBoundingClientRect(), x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    let nearest = 0, least = Infinity;
    rowsOf(figure).forEach((row, i) => {
      if (Math.abs(row.x - x) < least) [nearest, least] = [i, Math.abs(row.x - x)];
    });
    if (least < Infinity) show(figure, nearest);
  });
  document.addEventListener("keydown", (event) => {
    const figure = chartOf(event);
    if (!figure) return;
    const rows = rowsOf(figure), at = walkers.get(figure) ?? -1;
    const to = { ArrowRight: at + 1, ArrowLeft: at < 0 ? rows.length - 1 : at - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (event.key === "Escape") hide(figure);
    if (to === undefined || !rows.length) return;
    event.preventDefault();
    show(figure, to);
  });
  document.addEventListener("focusout", (event) => hide(chartOf(event)));
  addEventListener("scroll", () => hide(document.querySelector(".cursor.on")?.closest("figure")), { passive: true });

  // The supernet's slider.
  let playing = 0;
  function draw(place) {
    const source = document.getElementById("mixtures");
    if (!source) return;
    const all = JSON.parse(source.textContent);
    for (const [kind, { operations, epochs, rows, best: strongest, kept }] of Object.entries(all)) {
      const picture = document.querySelector(`.supernet[data-kind="${kind}"]`);
      const at = Math.min(place, epochs.length - 1);
      const output = document.querySelector(".slider output");
      if (output) output.textContent = epochs[at];
      if (!picture) continue;
      rows[at].forEach((row, edge) => {
        const best = strongest[at][edge];
        if (best === null) return;
        const [name, word, style] = operations[best], faint = kept[at].includes(edge) ? "" : " faint";
        const path = picture.querySelector(`[data-edge="${edge}"]`), label = picture.querySelector(`[data-label="${edge}"]`);
        path.setAttribute("class", `edge ${style}${faint}`);
        path.style.strokeWidth = Math.round(12 + 0.07 * row[best]) / 10;
        label.setAttribute("class", `pill ${style}${faint}`);
        label.querySelector("text").textContent = word;
        for (const title of [path, label]) title.querySelector("title").textContent = `${name} ${(row[best] / 1000).toFixed(3)}`;
        const bars = label.querySelectorAll("rect.op"), first = label.querySelector("rect");
        const left = Number(first.getAttribute("x")) + 5, whole = Number(first.getAttribute("width")) - 10;
        let from = 0;
        row.forEach((weight, i) => {
          if (!bars[i]) return;
          bars[i].setAttribute("x", left + (whole * from) / 1000);
          bars[i].setAttribute("width", Math.max(0, (whole * weight) / 1000));
          from += weight;
        });
      });
    }
  }
  document.addEventListener("input", (event) => {
    if (event.target.id === "epoch") draw(Number(event.target.value));
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-play]");
    if (!button) return;
    const slider = document.getElementById("epoch");
    const stop = () => {
      clearInterval(playing);
      playing = 0;
      button.textContent = "Play";
    };
    if (playing) return stop();
    if (Number(slider.value) >= Number(slider.max)) slider.value = 0;
    button.textContent = "Stop";
    draw(Number(slider.value));
    playing = setInterval(() => {
      if (!slider.isConnected || Number(slider.value) >= Number(slider.max)) return stop();
      slider.value = Number(slider.value) + 1;
      draw(Number(slider.value));
    }, Math.max(120, 4000 / (Number(slider.max) + 1)));
  });

  // A page that is served asks for news and takes it, leaving what is open open.
  let version = document.body.dataset.version;
  if (version === undefined) return;
  async function news() {
    try {
      const latest = await (await fetch("/version", { cache: "no-store" })).text();
      if (latest !== version) {
        const page = new DOMParser().parseFromString(await (await fetch("/", { cache: "no-store" })).text(), "text/html");
        const open = [...document.querySelectorAll("details")].map((d) => d.open);
        const slider = document.getElementById("epoch"), moved = slider && slider.value !== slider.max ? slider.value : null;
        const place = scrollY;
        for (const part of ["header", "main"]) document.querySelector(part).replaceWith(page.querySelector(part));
        const details = document.querySelectorAll("details");
        if (details.length === open.length) details.forEach((d, i) => (d.open = open[i]));
        const now = document.getElementById("epoch");
        if (now && moved !== null) {
          now.value = moved;
          draw(Number(moved));
        }
        document.title = page.title;
        version = page.body.dataset.version;
        scrollTo({ top: place, behavior: "instant" });
      }
      document.body.classList.remove("alone");
    } catch {
      document.body.classList.add("alone");
    }
    setTimeout(news, 2000);
  }
  setTimeout(news, 2000);
})();
