// The page: reads the data that stands in it, and builds everything from that.

const DATA = JSON.parse(document.getElementById("data").textContent);
const RUNS = DATA.runs, HIDDEN = new Set(remembered("hidden", [])), LOGARITHMIC = new Set(remembered("log", []));
const visible = () => RUNS.map((_, index) => index).filter((index) => !HIDDEN.has(RUNS[index].id));
const painters = [];

function page() {
  const several = RUNS.length > 1;
  document.getElementById("report").replaceChildren(...[
    heading(),
    several ? legend() : null,
    make("div", { class: "cards" }, ...RUNS.map(card)),
    ...RUNS.filter((run) => run.failure).map(failure),
    ...RUNS.filter((run) => run.notes.length).map(notes),
    DATA.charts.length ? make("h2", null, "Curves") : null,
    make("div", { class: "charts" }, ...DATA.charts.map(curves), DATA.distribution ? distribution() : null),
    make("h2", null, "Time line"), times(), events(),
    make("h2", null, "Slow ranks"), slow(),
    ...RUNS.filter((run) => run.tuning).map(tuning),
    ...(DATA.differences.length ? [make("h2", null, "What differs"), differences()] : []),
    make("h2", null, "What ran"), facts(), ...RUNS.map(presets), versions(),
  ].filter(Boolean));
  paint();
}

function heading() {
  const theme = make("button", { onclick: toggleTheme, id: "theme" }, themeName() === "dark" ? "Light" : "Dark");
  const live = DATA.reload ? `, written again every ${DATA.reload} s while training goes on` : "";
  return make("header", null,
    make("div", null, make("h1", null, DATA.title), make("div", { class: "soft" }, `Made ${DATA.made} by Primus ${DATA.primus}${live}`)), theme);
}

function themeName() {
  return remembered("theme", null) || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

function toggleTheme() {
  remember("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  applyTheme();
}

function applyTheme(name = themeName()) {
  document.documentElement.dataset.theme = name;
  const button = document.getElementById("theme");
  if (button) button.textContent = name === "dark" ? "Light" : "Dark";
}

function legend() {
  return make("div", { class: "legend", role: "group", "aria-label": "Runs that are shown" }, ...RUNS.map((run, index) => {
    const button = make("button", { class: "run", "aria-pressed": String(!HIDDEN.has(run.id)) }, swatch(index), run.id);
    button.addEventListener("click", () => {
      if (HIDDEN.has(run.id)) HIDDEN.delete(run.id); else HIDDEN.add(run.id);
      button.setAttribute("aria-pressed", String(!HIDDEN.has(run.id)));
      remember("hidden", [...HIDDEN]);
      paint();
    });
    return button;
  }));
}

function swatch(index) { return make("span", { class: "swatch", style: `background:${colour(index)}`, "aria-hidden": "true" }); }

function card(run, index) {
  const sum = run.summary;
  const tiles = [
    ["step", sum.step === null ? "" : number(sum.step) + (run.total ? ` of ${number(run.total)}` : "")],
    ["last loss", number(sum.loss)], ["lowest loss", number(sum.lowest)],
    ["tokens/s", number(sum.tokens_per_second)], ["step time", sum.step_time === null ? "" : number(sum.step_time) + " s"],
    ["MFU", number(sum.mfu, "mfu")], ["TFLOP/s per GPU", number(sum.tflops_per_gpu)],
    ["memory", sum.memory_gib === null ? "" : number(sum.memory_gib) + " GiB"],
  ].filter(([, value]) => value !== "");
  return make("section", { class: "card", "aria-label": run.id },
    make("div", { class: "head" }, swatch(index), make("h3", null, run.id),
      make("span", { class: `state ${run.state}` }, run.state + (run.attempt > 1 ? `, attempt ${run.attempt}` : ""))),
    make("dl", { class: "tiles" }, ...tiles.map(([name, value]) => make("div", null, make("dt", null, name), make("dd", null, value)))));
}

function failure(run) {
  const found = run.failure, rows = [["cause", found.cause], ["known as", found.known], ["evidence", found.evidence], ["remedy", found.remedy]];
  return make("section", { class: "card failure", "aria-label": `How ${run.id} ended` },
    make("h3", null, `${run.id}: ${run.state}`),
    make("dl", null, ...rows.filter(([, text]) => text).flatMap(([name, text]) => [make("dt", null, name), make("dd", null, text)])),
    found.tail.length ? make("div", { class: "soft" }, `End of ${found.log}`) : null,
    found.tail.length ? make("pre", { tabindex: "0", "aria-label": `End of ${found.log}` }, found.tail.join("\n")) : null);
}

function notes(run) {
  return make("section", { class: "card notes", "aria-label": `Notes on ${run.id}` }, make("h3", null, `${run.id}: notes`),
    make("ul", null, ...run.notes.map((note) => make("li", null, note))));
}

// A chart that is drawn again when the width, the shown runs or its scale change.
function chartFigure(name, title, meaning, buttons, painter, below) {
  const drawing = make("div", null), figure = make("figure", { id: `chart-${name}` });
  const caption = make("figcaption", null, make("h3", { title: meaning }, title), ...buttons(drawing));
  figure.append(caption, drawing, ...(below ? [below] : []));
  painters.push(() => {
    figure.querySelectorAll(".tip").forEach((tip) => tip.remove());
    drawing.replaceChildren();
    painter(drawing, Math.max(260, Math.round(drawing.clientWidth)));
  });
  return figure;
}

function pngButton(name, drawing) {
  return make("button", { "aria-label": `${name} as PNG`, onclick: async () => save(`${name}.png`, await pngOf(drawing.querySelector("svg"))) }, "PNG");
}

function curves(chart) {
  const shown = () => ({ ...chart, series: chart.series.filter((each) => !HIDDEN.has(RUNS[each.run].id)) });
  const above = chart.series.some((each) => each.y.some((value) => typeof value === "number" && value > 0));
  const scale = () => {
    const button = make("button", { "aria-pressed": String(LOGARITHMIC.has(chart.name)), "aria-label": `${chart.title}: logarithmic` }, "log");
    button.addEventListener("click", () => {
      if (LOGARITHMIC.has(chart.name)) LOGARITHMIC.delete(chart.name); else LOGARITHMIC.add(chart.name);
      button.setAttribute("aria-pressed", String(LOGARITHMIC.has(chart.name)));
      remember("log", [...LOGARITHMIC]);
      paint();
    });
    return button;
  };
  const points = () => pointsOf(shown(), RUNS);
  const buttons = (drawing) => [
    above ? scale() : null,
    pngButton(chart.name, drawing),
    make("button", { "aria-label": `${chart.title} as CSV`, onclick: () => save(`${chart.name}.csv`, new Blob([csvOf(["run", "step", chart.name], points())], { type: "text/csv" })) }, "CSV"),
  ].filter(Boolean);
  const below = folded("Values as a table", () => {
    const rows = points(), every = Math.ceil(rows.length / 300);
    return make("div", null, every > 1 ? make("p", { class: "soft" }, `Each ${every}th of ${number(rows.length)} points; the CSV has all of them.`) : null,
      table(["run", "step", chart.name], rows.filter((_, index) => index % every === 0).map(([run, step, value]) => [run, number(step), number(value, chart.name)]), [1, 2]));
  });
  const unit = chart.unit ? ` (${chart.unit})` : "";
  return chartFigure(chart.name, chart.title + unit, chart.meaning, buttons, (drawing, width) => drawCurves(drawing, shown(), RUNS, width, LOGARITHMIC.has(chart.name)), below);
}

function distribution() {
  const all = DATA.distribution, shown = () => ({ ...all, series: all.series.filter((each) => !HIDDEN.has(RUNS[each.run].id)) });
  const rows = all.series.map((each) => [RUNS[each.run].id, ...[each.median, each.p95, each.p99, each.most].map((value) => number(value))]);
  return chartFigure("step_times", "Distribution of step times", "Reports by the time of a step", (drawing) => [pngButton("step_times", drawing)],
    (drawing, width) => { if (shown().series.length) drawBars(drawing, shown(), RUNS, width); },
    table(["seconds", "median", "95 %", "99 %", "longest"], rows, [1, 2, 3, 4]));
}

function times() {
  return chartFigure("times", "Attempts, warnings and failures", "", (drawing) => [pngButton("times", drawing)], (drawing, width) => {
    if (!drawTimes(drawing, RUNS, visible(), width)) drawing.append(make("p", { class: "soft" }, "No times are known."));
  });
}

function events() {
  const rows = RUNS.flatMap((run) => run.events.map((event) => [event.time === null ? "" : clock(event.time), event.step === null ? "" : number(event.step), run.id, event.kind, event.text]));
  const content = () => table(["time", "step", "run", "kind", "event"], rows, [1]);
  return make("div", { class: "card" }, rows.length > 30 ? folded(`${rows.length} events`, content) : content());
}

function slow() {
  const rows = RUNS.flatMap((run) => run.slow.map((each) => [run.id, number(each.rank), number(each.times), number(each.step), number(each.seconds), number(each.median)]));
  if (!rows.length) return make("p", { class: "soft" }, "None was warned of.");
  return make("div", { class: "card" }, table(["run", "rank", "warnings", "at step", "its own part of a step, s", "median of all ranks, s"], rows, [1, 2, 3, 4, 5]));
}

function tuning(run) {
  const found = run.tuning, percent = (value) => typeof value === "number" ? (100 * value).toFixed(1) + " %" : "";
  const parts = [make("h2", null, `Tuned GEMM kernels: ${run.id}`), make("p", { class: "soft" }, found.file)];
  if (found.total) parts.push(make("p", null, `Time in GEMMs: ${percent(found.total.saved)} less; speed: ${percent(found.total.gain)} more. Shapes: ${Object.entries(found.counts).map(([name, count]) => `${count} ${name}`).join(", ")}.`));
  if (found.shapes) parts.push(table(["GEMM", "calls", "state", "default, us", "tuned, us", "gain", "share of time"],
    found.shapes.map((each) => [each.gemm, number(each.calls), each.state, number(each.default_us), number(each.tuned_us), percent(each.gain), percent(each.share)]), [1, 3, 4, 5, 6]));
  if (found.others) parts.push(make("p", { class: "soft" }, `${found.others} more shapes are in report.json.`));
  return make("section", null, ...parts);
}

function differences() {
  return make("div", { class: "card" }, table(["part", "name", ...RUNS.map((run) => run.id)], DATA.differences));
}

function sideBySide(part) {
  const names = [...new Set(RUNS.flatMap((run) => run[part].map(([name]) => name)))];
  const values = RUNS.map((run) => new Map(run[part]));
  return names.map((name) => [name, ...values.map((each) => each.get(name) ?? "")]);
}

function facts() { return make("div", { class: "card" }, table(["", ...RUNS.map((run) => run.id)], sideBySide("facts"))); }

function versions() {
  return make("div", { class: "card" }, make("h3", null, "Versions"), table(["", ...RUNS.map((run) => run.id)], sideBySide("versions")));
}

function presets(run) {
  if (!run.preset.length) return null;
  const content = () => table(["key", "presets", "this run"], run.preset);
  return make("div", { class: "card" }, make("h3", null, `${run.id}: what differs from its presets`), run.preset.length > 25 ? folded(`${run.preset.length} values`, content) : content());
}

function paint() { painters.forEach((painter) => painter()); }

applyTheme();
page();
scrollTo(0, remembered("scroll", 0));
remember("scroll", 0);
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; paint(); } });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => applyTheme());
addEventListener("beforeprint", () => applyTheme("light"));
addEventListener("afterprint", () => applyTheme());
if (DATA.reload) setTimeout(() => { remember("scroll", scrollY); location.reload(); }, 1000 * DATA.reload);
