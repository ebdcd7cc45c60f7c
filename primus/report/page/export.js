// What can be taken out of the page: a chart as PNG, its points as CSV.

function save(name, blob) {
  const link = make("a", { download: name, href: URL.createObjectURL(blob) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function csvOf(header, rows) {
  const cell = (value) => /[",\n\r]/.test(String(value ?? "")) ? `"${String(value).replaceAll('"', '""')}"` : String(value ?? "");
  return [header, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

function pointsOf(chart, runs) {
  return chart.series.flatMap((each) => each.x.map((step, index) => [runs[each.run].id, step, each.y[index]]));
}

const KEPT = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "font", "visibility"];

// The picture as it stands here, with the page's colours written into it: an image has no style sheet.
function standalone(svg) {
  const copy = svg.cloneNode(true), [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  const from = [svg, ...svg.querySelectorAll("*")], to = [copy, ...copy.querySelectorAll("*")];
  from.forEach((element, index) => {
    const style = getComputedStyle(element);
    to[index].setAttribute("style", KEPT.map((name) => `${name}:${style.getPropertyValue(name)}`).join(";"));
  });
  fill(copy, { width, height, xmlns: "http://www.w3.org/2000/svg" }, []);
  const paper = getComputedStyle(document.documentElement).getPropertyValue("--card");
  copy.prepend(draw("rect", { width, height, fill: paper }));
  return { text: new XMLSerializer().serializeToString(copy), width, height };
}

function pngOf(svg, scale = 2) {
  const { text, width, height } = standalone(svg);
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => {
      const canvas = make("canvas", { width: width * scale, height: height * scale });
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the browser made no PNG"))), "image/png");
    };
    image.onerror = () => reject(new Error("the browser can't read the chart as an image"));
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(text);
  });
}
