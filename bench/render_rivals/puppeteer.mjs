// The renderer as the spec describes it: puppeteer-core, three browsers, per card a new page, the template with its
// data, DOMContentLoaded + 500 ms, a screenshot. Words: the browser, cards at once, then the cards' files.
import puppeteer from "puppeteer-core";
import { pathToFileURL } from "node:url";

const [executablePath, atOnce, ...files] = process.argv.slice(2);
const places = Number(atOnce);
const browsers = await Promise.all(
  Array.from({ length: Math.ceil(places / 2) }, () =>
    puppeteer.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"], defaultViewport: { width: 1200, height: 630 } }),
  ),
);
const waiting = [...files];

async function work(browser) {
  for (let file = waiting.pop(); file; file = waiting.pop()) {
    // A context of its own is a window of its own: a screenshot of a tab behind another one never comes.
    const context = await browser.createBrowserContext();
    const page = await context.newPage();
    await page.goto(pathToFileURL(file).href, { waitUntil: "domcontentloaded" });
    await new Promise((done) => setTimeout(done, 500));
    await page.screenshot({ type: "png" });
    await context.close();
  }
}

const began = performance.now();
await Promise.all(Array.from({ length: places }, (_, place) => work(browsers[Math.floor(place / 2)])));
console.log(JSON.stringify({ seconds: (performance.now() - began) / 1000 }));
await Promise.all(browsers.map((browser) => browser.close()));
