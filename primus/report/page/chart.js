// Charts: curves over steps, bars, the line of time. Each is an SVG with one cursor for pointer, finger and arrow keys.

const HEIGHT = 230, LEFT = 58, RIGHT = 12, TOP = 12, BOTTOM = 26;
const COLOURS = 8, DASHES = ["", "7 3", "2 3", "9 3 2 3"];

function colour(run) { return `var(--c${run % COLOURS})`; }
function dash(run) { return DASHES[run % DASHES.length] || null; }

function ticks(low, high, count) {
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) found.push(Math.abs(value) < step * 1e-9 ? 0 : value);
  return found;
}

function short(value) {
  const size = Math.abs(value), units = [[1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([unit]) => size >= unit * 10 || (size >= unit && unit > 1e3));
  if (size !== 0 && size < 1e-3) return value.toExponential(1);
  return units ? Number((value / units[0]).toPrecision(4)) + units[1] : String(Number(value.toPrecision(4)));
}

// The frame of a chart: an SVG with axes, and where values stand in it.
function frame(width, xs, ys, options = {}) {
  const height = options.height || HEIGHT, [xLow, xHigh] = xs;
  let [low, high] = ys;
  if (low === high) { const room = Math.abs(low) * 0.05 || 1; low -= room; high += room; }
  const log = options.log, bend = log ? Math.log10 : (value) => value;
  const margin = (bend(high) - bend(low)) * 0.04;
  const x = (value) => LEFT + (width - LEFT - RIGHT) * (xHigh > xLow ? (value - xLow) / (xHigh - xLow) : 0.5);
  const y = (value) => TOP + (height - TOP - BOTTOM) * (1 - (bend(value) - bend(low) + margin) / (bend(high) - bend(low) + 2 * margin));
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, tabindex: "0" });
  const marks = log ? ticks(bend(low), bend(high), 4).map((power) => 10 ** power) : ticks(low, high, 5);
  if (!options.bare) {
    for (const value of marks) {
      svg.append(draw("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
        draw("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, (options.yLabel || short)(value)));
    }
  }
  for (const value of ticks(xLow, xHigh, Math.max(2, Math.floor(width / 120)))) {
    svg.append(draw("text", { x: x(value), y: height - 8, "text-anchor": "middle" }, (options.xLabel || short)(value)));
  }
  svg.append(draw("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: height - BOTTOM, y2: height - BOTTOM }));
  return { svg, x, y, height, width };
}

// Lets pointer and keys walk over `stops` ({x, text}, from left to right) and tells what is there.
function walk(figure, picture, stops, label) {
  const { svg, width, height } = picture;
  const line = draw("line", { class: "cursor", y1: TOP, y2: height - BOTTOM });
  const tip = make("div", { class: "tip", hidden: "" });
  let at = -1;
  svg.append(line);
  figure.append(tip);
  fill(svg, { role: "slider", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": Math.max(0, stops.length - 1), "aria-valuenow": 0, "aria-valuetext": stops.length ? stops[0].text() : "nothing" }, []);
  function show(index) {
    if (!stops.length) return;
    at = Math.max(0, Math.min(stops.length - 1, index));
    const { x } = stops[at], text = stops[at].text(), scale = svg.clientWidth / width;
    fill(line, { x1: x, x2: x, style: "visibility:visible" }, []);
    fill(svg, { "aria-valuenow": at, "aria-valuetext": text }, []);
    tip.textContent = text;
    tip.hidden = false;
    const begin = svg.getBoundingClientRect().left - figure.getBoundingClientRect().left;
    const beside = begin + x * scale + 12;
    tip.style.left = (beside + tip.offsetWidth > figure.clientWidth ? Math.max(0, begin + x * scale - tip.offsetWidth - 12) : beside) + "px";
    tip.style.top = svg.getBoundingClientRect().top - figure.getBoundingClientRect().top + TOP + "px";
  }
  function hide() { tip.hidden = true; fill(line, { style: "" }, []); }
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    show(nearest(stops, (event.clientX - box.left) * width / box.width));
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("focus", () => { if (svg.matches(":focus-visible")) show(Math.max(0, at)); });
  svg.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.round(stops.length / 20));
    const moves = { ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at - 1, ArrowDown: at - 1, PageUp: at + page, PageDown: at - page, Home: 0, End: stops.length - 1 };
    if (event.key === "Escape") hide();
    if (!(event.key in moves)) return;
    event.preventDefault();
    show(moves[event.key]);
  });
}

function nearest(stops, x) {
  let low = 0, high = stops.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (stops[middle].x < x) low = middle + 1; else high = middle;
  }
  return low > 0 && x - stops[low - 1].x < stops[low].x - x ? low - 1 : low;
}

function drawCurves(figure, chart, runs, width, log) {
  const finite = chart.series.flatMap((each) => each.y.filter((value) => typeof value === "number"));
  const steps = chart.series.flatMap((each) => each.x.length ? [each.x[0], each.x[each.x.length - 1]] : []);
  const range = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  const positive = log ? finite.filter((value) => value > 0) : finite;
  const ys = positive.length ? range(positive) : [log ? 1 : 0, log ? 10 : 1];
  const picture = frame(width, steps.length ? range(steps) : [0, 1], ys, { log, yLabel: chart.name === "mfu" ? (value) => short(100 * value) + " %" : short });
  const { svg, x, y, height } = picture;
  const stops = new Map();
  for (const each of chart.series) {
    const run = runs[each.run];
    for (const step of run.restarts) svg.append(draw("line", { class: "restart", x1: x(step), x2: x(step), y1: TOP, y2: height - BOTTOM }));
    const drawn = (at) => typeof each.y[at] === "number" && (!log || each.y[at] > 0);
    let path = "", pen = false;
    each.x.forEach((step, index) => {
      const value = each.y[index], there = x(step);
      const stop = stops.get(step) || { x: there, step, values: [] };
      stops.set(step, stop);
      stop.values.push([each.run, value]);
      if (typeof value !== "number") {
        pen = false;
        svg.append(draw("path", { class: "odd", d: `M${there - 4} ${TOP - 4}l8 8m0-8l-8 8` }, draw("title", null, `${run.id}: ${value} at step ${step}`)));
      } else if (drawn(index)) {
        if (!drawn(index - 1) && !drawn(index + 1)) svg.append(draw("circle", { cx: there, cy: y(value), r: 3, style: `fill:${colour(each.run)}` })); // no line leads there
        path += `${pen ? "L" : "M"}${there.toFixed(1)} ${y(value).toFixed(1)}`;
        pen = true;
      }
    });
    const noisy = each.middle.length > 0;
    svg.append(draw("path", { class: noisy ? "curve range" : "curve", d: path, style: `stroke:${colour(each.run)}`, "stroke-dasharray": noisy ? null : dash(each.run) }));
    if (noisy) {
      const means = each.middle.map((step, index) => [step, each.mean[index]]).filter(([, value]) => !log || value > 0);
      svg.append(draw("path", { class: "curve", d: "M" + means.map(([step, value]) => `${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("L"), style: `stroke:${colour(each.run)}`, "stroke-dasharray": dash(each.run) }));
    }
    if (chart.name === "loss") {
      for (const event of run.events.filter((one) => one.step !== null && one.kind !== "start")) {
        const there = x(event.step);
        svg.append(draw("path", { class: `mark ${event.kind}`, d: `M${there} ${height - BOTTOM - 9}l5 9h-10z` }, draw("title", null, `step ${event.step}: ${event.text}`)));
      }
    }
  }
  const ordered = [...stops.values()].sort((one, other) => one.x - other.x);
  for (const stop of ordered) {
    stop.text = () => {
      const values = stop.values.map(([run, value]) => `${runs.length > 1 ? runs[run].id + ": " : ""}${number(value, chart.name)} ${typeof value === "number" && chart.name !== "mfu" ? chart.unit : ""}`.trim());
      const said = chart.name === "loss" ? runs.flatMap((run) => run.events.filter((event) => event.step === stop.step).map((event) => event.text)) : [];
      return [`step ${number(stop.step)}`, ...values, ...said].join("\n");
    };
  }
  figure.append(svg);
  walk(figure, picture, ordered, `${chart.title} over steps: arrow keys read its values`);
}

function drawBars(figure, distribution, runs, width) {
  const count = distribution.series[0].counts.length, at = (index) => distribution.low + index * distribution.width;
  const shares = distribution.series.map((each) => { const all = each.counts.reduce((one, other) => one + other, 0); return each.counts.map((value) => value / all); });
  const picture = frame(width, [at(0), at(count)], [0, Math.max(...shares.flat())], { yLabel: (value) => short(100 * value) + " %", xLabel: (value) => short(value) + " s" });
  const { svg, x, y } = picture, floor = y(0);
  distribution.series.forEach((each, index) => {
    let outline = `M${x(at(0))} ${floor}`;
    shares[index].forEach((share, bar) => { outline += `L${x(at(bar)).toFixed(1)} ${y(share).toFixed(1)}L${x(at(bar + 1)).toFixed(1)} ${y(share).toFixed(1)}`; });
    outline += `L${x(at(count))} ${floor}`;
    svg.append(draw("path", { d: outline, style: `fill:${colour(each.run)};fill-opacity:.2;stroke:${colour(each.run)}`, "stroke-width": 1.4, "stroke-dasharray": dash(each.run) }));
  });
  const stops = Array.from({ length: count }, (_, bar) => ({
    x: (x(at(bar)) + x(at(bar + 1))) / 2,
    text: () => [bar < count - 1 ? `${number(at(bar))} s to ${number(at(bar + 1))} s` : `${number(at(bar))} s and more`,
      ...distribution.series.map((each) => `${runs.length > 1 ? runs[each.run].id + ": " : ""}${number(each.counts[bar])} reports`)].join("\n"),
  }));
  figure.append(svg);
  walk(figure, picture, stops, "Step times: arrow keys read the bars");
}

function drawTimes(figure, runs, shown, width) {
  const rows = shown.map((index) => ({ index, run: runs[index] }));
  const known = rows.flatMap(({ run }) => [...run.attempts.flatMap((each) => [each.begin, each.end]), ...run.events.map((event) => event.time)]).filter((time) => time !== null);
  if (!known.length) return false;
  const begin = Math.min(...known), end = Math.max(...known, begin + 1), row = 30;
  const [unit, word] = [[86400, "d"], [3600, "h"], [60, "min"]].find(([size]) => end - begin >= 2 * size) || [1, "s"];
  const picture = frame(width, [0, (end - begin) / unit], [0, 1], { bare: true, height: TOP + BOTTOM + row * rows.length, xLabel: (value) => `${short(value)} ${word}` });
  const { svg } = picture, x = (seconds) => picture.x(seconds / unit), stops = [];
  rows.forEach(({ index, run }, place) => {
    const top = TOP + place * row;
    svg.append(draw("rect", { x: 20, width: 22, y: top + 10, height: 8, style: `fill:${colour(index)}` }));
    for (const each of run.attempts.filter((one) => one.begin !== null)) {
      const last = each.end ?? end;
      svg.append(draw("rect", { class: `bar ${each.state}`, x: x(each.begin - begin), width: Math.max(2, x(last - begin) - x(each.begin - begin)), y: top + 6, height: 16, rx: 3 }, draw("title", null, `attempt ${each.attempt}: ${each.state}`)));
    }
    for (const event of run.events.filter((one) => one.time !== null)) {
      const there = x(event.time - begin), shape = event.kind === "start" || event.kind === "end" ? `M${there - 1.5} ${top + 4}h3v20h-3z` : `M${there} ${top + 5}l6 9l-6 9l-6-9z`;
      svg.append(draw("path", { class: `mark ${event.kind}`, d: shape }));
      stops.push({ x: there, text: () => `${clock(event.time)}${event.step === null ? "" : `, step ${number(event.step)}`}\n${runs.length > 1 ? run.id + ": " : ""}${event.text}` });
    }
  });
  stops.sort((one, other) => one.x - other.x);
  figure.append(svg);
  walk(figure, picture, stops, "Events on the line of time: arrow keys read them");
  return true;
}
