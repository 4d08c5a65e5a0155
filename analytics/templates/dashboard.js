"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const world = JSON.parse(document.getElementById("world").textContent);
charts.registerMap("world", world);
const chosen = { funnel: "all", engagement: "all" };
const labels = { created: "Shares made", viewed: "Views by people", added: "Items added" };
const whole = new Intl.NumberFormat("en", { useGrouping: true });
const count = (n) => (n == null ? "–" : whole.format(n).replaceAll(",", "\u202f"));
const percent = (n) => `${(100 * n).toFixed(n < 0.1 ? 1 : 0)} %`;
const day = (text) => new Date(text + "T00:00Z").toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
const placeOfCountry = new Map(world.features.map((f) => [f.properties.name, f.properties.label]));

function palette() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(["ink", "soft", "line", "card", "brand", "second", "third", "fourth", "fifth", "low", "high"].map((name) => [name, style.getPropertyValue("--" + name).trim()]));
}
const text = (c, more) => ({ color: c.soft, fontFamily: "Inter, system-ui, sans-serif", fontSize: 12, ...more });
const plain = (c, more) => text(c, { color: c.ink, textBorderColor: "transparent", textBorderWidth: 0, ...more });
/** A third of *colour* on *ground*, both as #rrggbb. */
function pale(colour, ground) {
  const parts = (hex) => [1, 3, 5].map((at) => parseInt(hex.length > 4 ? hex.slice(at, at + 2) : hex[(at + 1) / 2].repeat(2), 16));
  const under = parts(ground);
  return `rgb(${parts(colour).map((part, n) => Math.round(part * 0.34 + under[n] * 0.66)).join()})`;
}
/** The last day is not over: its fall says nothing. */
const soFar = (c) => ({
  silent: true, itemStyle: { color: c.soft, opacity: 0.1 }, label: text(c, { formatter: "today\nso far", position: "insideTop", fontSize: 11 }),
  data: [[{ xAxis: Math.max(0, data.days.length - 2) }, { xAxis: data.days.length - 1 }]],
});
const tooltip = (c, more) => ({ backgroundColor: c.card, borderColor: c.line, textStyle: text(c, { color: c.ink }), confine: true, ...more });

const draw = {
  funnel(c) {
    const steps = data.funnel[chosen.funnel], names = ["Button seen", "Clicked", "Link made"], colours = [c.brand, c.second, c.third];
    if (!steps[0] && !steps[1] && !steps[2]) return null;
    // By the square root, or two of the three steps could not be seen at all.
    const width = (n) => Math.sqrt(n);
    const rate = (n) => (n && steps[n - 1] ? `\n{c|${percent(steps[n] / steps[n - 1])} of those before}` : "");
    return {
      tooltip: tooltip(c, { formatter: (p) => `${names[p.dataIndex]}: ${count(steps[p.dataIndex])}` }),
      series: [{
        type: "funnel", sort: "none", left: 8, right: 8, top: 8, bottom: 8, gap: 6, minSize: "30%", itemStyle: { borderWidth: 0, borderRadius: 8 },
        label: { position: "inside", textBorderWidth: 0, formatter: (p) => `{a|${names[p.dataIndex]}}\n{b|${count(steps[p.dataIndex])}}${rate(p.dataIndex)}`,
          rich: { a: plain(c, { fontSize: 12.5, lineHeight: 17 }), b: plain(c, { fontSize: 19, fontWeight: 700, lineHeight: 22 }), c: plain(c, { lineHeight: 16 }) } },
        data: names.map((name, n) => ({ name, value: width(steps[n]), itemStyle: { color: pale(colours[n], c.card) } })),
      }],
    };
  },
  engagement(c) {
    const of = data.engagement[chosen.engagement], colours = { created: c.brand, viewed: c.second, added: c.third };
    if (!Object.values(of).flat().some(Boolean)) return null;
    return {
      tooltip: tooltip(c, { trigger: "axis", valueFormatter: count }),
      legend: { top: 0, right: 0, icon: "roundRect", itemWidth: 12, itemHeight: 4, textStyle: text(c) },
      grid: { left: 4, right: 26, top: 34, bottom: 4, containLabel: true },
      xAxis: { type: "category", boundaryGap: false, data: data.days.map(day), axisLine: { lineStyle: { color: c.line } }, axisTick: { show: false }, axisLabel: text(c) },
      yAxis: { type: "value", minInterval: 1, splitLine: { lineStyle: { color: c.line } }, axisLabel: { ...text(c), formatter: count } },
      series: Object.entries(labels).map(([key, name]) => ({
        name, type: "line", data: of[key], smooth: 0.25, symbol: data.days.length > 1 ? "none" : "circle", lineStyle: { width: 2.5 }, itemStyle: { color: colours[key] },
        areaStyle: key === "viewed" ? { color: c.second, opacity: 0.08 } : undefined,
        markArea: key === "viewed" && data.today ? soFar(c) : undefined,
      })),
    };
  },
  viral(c) {
    if (!data.viral.some((value) => value != null)) return null;
    return {
      tooltip: tooltip(c, { trigger: "axis", valueFormatter: (value) => (value == null ? "–" : value.toFixed(3)) }),
      grid: { left: 4, right: 26, top: 18, bottom: 4, containLabel: true },
      xAxis: { type: "category", boundaryGap: false, data: data.days.map(day), axisLine: { lineStyle: { color: c.line } }, axisTick: { show: false }, axisLabel: text(c) },
      yAxis: { type: "value", splitNumber: 3, splitLine: { lineStyle: { color: c.line } }, axisLabel: text(c), max: (value) => Math.max(0.12, Math.ceil(value.max * 20) / 20) },
      series: [{
        name: "Viral coefficient", type: "line", data: data.viral, connectNulls: true, smooth: 0.25, symbol: data.days.length > 1 ? "none" : "circle", lineStyle: { width: 2.5 }, itemStyle: { color: c.brand }, areaStyle: { color: c.brand, opacity: 0.1 },
        markLine: { silent: true, symbol: "none", data: [{ yAxis: 0.1 }], lineStyle: { color: c.third, type: [5, 4], width: 1.5 }, label: text(c, { formatter: "target 0.1", position: "insideEndTop", color: c.third }) },
      }],
    };
  },
  channels(c) {
    const total = data.channels.reduce((sum, one) => sum + one.value, 0);
    if (!total) return null;
    return {
      tooltip: tooltip(c, { formatter: (p) => `${p.name}: ${count(p.value)} shares, ${percent(p.value / total)}` }),
      color: [c.brand, c.second, c.third, c.fourth, c.fifth, c.soft],
      // Words beside the ring: around it they were cut short in a narrow tile.
      legend: {
        orient: "vertical", left: "60%", top: "middle", icon: "circle", itemWidth: 10, itemHeight: 10, itemGap: 12, selectedMode: false,
        formatter: (name) => `{b|${percent(data.channels.find((one) => one.name === name).value / total)}}{a|${name}}`,
        textStyle: { rich: { a: text(c), b: text(c, { color: c.ink, fontSize: 14, fontWeight: 700, width: 48 }) } },
      },
      series: [{
        type: "pie", left: 0, width: "56%", radius: ["54%", "94%"], itemStyle: { borderColor: c.card, borderWidth: 3, borderRadius: 6 }, data: data.channels,
        label: { show: false },
      }],
    };
  },
  countries(c) {
    const known = data.countries.filter((one) => one.value != null);
    if (!known.length) return null;
    return {
      tooltip: tooltip(c, { formatter: (p) => {
        const of = data.countries.find((one) => one.name === p.name), name = placeOfCountry.get(p.name) || p.name;
        return of ? `<b>${name}</b><br>${count(of.value)} views per 100\u202f000 users<br>${count(of.views)} views, ${count(of.users)} users` : `${name}: no views`;
      } }),
      visualMap: { type: "continuous", min: 0, max: Math.max(...known.map((one) => one.value)), left: 0, bottom: 0, itemWidth: 10, itemHeight: 90, inRange: { color: [c.low, c.high] }, textStyle: text(c), text: [count(Math.round(Math.max(...known.map((one) => one.value)))), "0"], calculable: false },
      series: [{ type: "map", map: "world", nameProperty: "name", aspectScale: 1,
        left: 0, right: 0, top: 0, bottom: 0, data: known, select: { disabled: true }, emphasis: { label: { show: false }, itemStyle: { areaColor: c.second } },
        itemStyle: { areaColor: c.line, borderColor: c.card, borderWidth: 0.6 }, label: { show: false } }],
    };
  },
};

const drawn = new Map();
function paint(name, animation) {
  const box = document.querySelector(`#${name} .chart`), option = draw[name](palette());
  drawn.get(name)?.dispose();
  drawn.delete(name);
  if (!option) {
    box.textContent = "Nothing to draw in these days.";
    return;
  }
  box.textContent = "";
  const chart = charts.init(box, null, { renderer: "svg" });
  chart.setOption({ animation, animationDuration: 500, ...option });
  drawn.set(name, chart);
}
const paintAll = (animation) => Object.keys(draw).forEach((name) => paint(name, animation));

const breakdowns = document.querySelector('[data-of="engagement"]');
for (const name of Object.keys(data.engagement)) {
  const button = document.createElement("button");
  button.value = name;
  button.textContent = name === "all" ? "All" : name;
  button.setAttribute("aria-pressed", String(name === "all"));
  breakdowns.append(button);
}
for (const group of document.querySelectorAll(".choice")) {
  group.addEventListener("click", (event) => {
    if (!(event.target instanceof HTMLButtonElement)) return;
    for (const button of group.children) button.setAttribute("aria-pressed", String(button === event.target));
    chosen[group.dataset.of] = event.target.value;
    paint(group.dataset.of, true);
  });
}
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
document.fonts.ready.then(() => paintAll(!calm));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paintAll(false));
matchMedia("print").addEventListener("change", () => paintAll(false));
addEventListener("resize", () => drawn.forEach((chart) => chart.resize()));
