// Texts with less contrast than 4.5 to 1, and curves with less than 3 to 1 (WCAG 2, AA).
(() => {
  const channel = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\d.]+/g).map(Number);
    return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  };
  const behind = (element) => { for (let one = element; one; one = one.parentElement) { const colour = getComputedStyle(one).backgroundColor; if (!/, 0\)|transparent/.test(colour)) return colour; } return "rgb(255, 255, 255)"; };
  const poor = [];
  for (const element of document.querySelectorAll("main *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest("noscript, title")) continue;
    const style = getComputedStyle(element);
    const [front, back] = [light(element.closest("svg") ? style.fill : style.color), light(behind(element))];
    const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
    if (ratio < 4.5) poor.push([element.tagName, element.textContent.slice(0, 30), ratio]);
  }
  for (const curve of document.querySelectorAll(".curve:not(.range)")) {
    const [front, back] = [light(getComputedStyle(curve).stroke), light(behind(curve))];
    const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
    if (ratio < 3) poor.push(["curve", curve.getAttribute("style"), ratio]);
  }
  return poor;
})()
