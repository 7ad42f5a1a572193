// Opens every page of a built book in Chromium, as a reader would, and prints a
// line for each thing that is wrong: `node site.mjs TOOLS SITE`, where TOOLS has
// the packages of package.json and SITE is the book. Ends with 1 if there is any.
//
// CHROMIUM names the browser, if it is not /usr/bin/chromium.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { extname, join, normalize } from 'node:path';

const [tools, site] = process.argv.slice(2);
const require = createRequire(join(tools, 'package.json'));
const { chromium } = require('playwright-core');
const axe = require.resolve('axe-core/axe.min.js');

const THEMES = ['light', 'rust', 'coal', 'navy', 'ayu'];
const WIDTHS = [390, 1280];
const TYPES = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript', '.svg': 'image/svg+xml', '.png': 'image/png' };

const server = createServer(async (request, response) => {
  const path = normalize(decodeURIComponent(new URL(request.url, 'http://localhost').pathname));
  try {
    const body = await readFile(join(site, path));
    response.writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'application/octet-stream' }).end(body);
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const base = `http://127.0.0.1:${server.address().port}/`;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

let faults = 0;
const wrong = (place, what) => {
  faults += 1;
  console.log(`${place}: ${what}`);
};

const toc = await readFile(join(site, 'toc.html'), 'utf8');
const pages = [...new Set([...toc.matchAll(/href="([^"#]+\.html)"/g)].map(([, page]) => page))];
if (pages.length < 3) wrong('toc.html', `names ${pages.length} pages`);

// Two pages at a time, as a browser mostly waits for itself.
const visits = THEMES.flatMap((theme) => WIDTHS.flatMap((width) => pages.map((name) => ({ theme, width, name }))));
const contexts = new Map();
for (const theme of THEMES) {
  for (const width of WIDTHS) {
    const context = await browser.newContext({ viewport: { width, height: 900 } });
    await context.addInitScript((theme) => localStorage.setItem('mdbook-theme', theme), theme);
    contexts.set(`${theme} ${width}`, context);
  }
}
const visitor = async () => {
  for (let visit = visits.shift(); visit; visit = visits.shift()) await look(visit);
};
await Promise.all([visitor(), visitor()]);

// One at a time: there is one clipboard.
for (const name of pages) {
  const place = `${name} (its buttons)`;
  const page = await open({ theme: THEMES[0], width: WIDTHS[1], name }, place);
  await copies(page, place);
  await unfolds(page, place);
  await page.close();
}

await browser.close();
server.close();
console.log(`${pages.length} pages, ${THEMES.length} themes, ${WIDTHS.length} widths: ${faults} faults`);
process.exit(faults === 0 ? 0 : 1);

async function open({ theme, width, name }, place) {
  const page = await contexts.get(`${theme} ${width}`).newPage();
  page.on('console', (message) => message.type() === 'error' && wrong(place, `console: ${message.text()}`));
  page.on('pageerror', (error) => wrong(place, `script: ${error.message}`));
  page.on('request', (request) => {
    if (!request.url().startsWith(base) && !request.url().startsWith('data:')) wrong(place, `asks for ${request.url()}`);
  });
  await page.goto(base + name, { waitUntil: 'load' });
  return page;
}

// The theme is on, nothing sticks out, and axe-core has nothing to say. Its rules
// do not depend on both at once: each theme is judged wide, each width in light.
async function look({ theme, width, name }) {
  const place = `${name} (${theme}, ${width} px)`;
  const page = await open({ theme, width, name }, place);
  const shown = await page.evaluate(() => document.documentElement.className);
  if (!shown.split(' ').includes(theme)) wrong(place, `shows the classes ${shown}`);
  const over = await page.evaluate(() => {
    const text = document.querySelector('main');
    return Math.max(text.scrollWidth - text.clientWidth, document.documentElement.scrollWidth - innerWidth);
  });
  if (over > 0) wrong(place, `the text sticks out by ${over} px`);
  if (theme !== THEMES[0] && width !== WIDTHS[1]) return page.close();
  // axe judges what can be seen: folded files are unfolded for it.
  await page.evaluate(() => document.querySelectorAll('details').forEach((file) => (file.open = true)));
  // The theme makes what scrolls focusable, when it has been laid out: in a page
  // behind another that takes a while, and if it never does, axe says so.
  await page
    .waitForFunction(() => [...document.querySelectorAll('pre code')].every((code) => code.scrollWidth <= code.clientWidth || code.tabIndex === 0), null, { polling: 100, timeout: 30_000 })
    .catch(() => {});
  await page.addScriptTag({ path: axe });
  const { violations } = await page.evaluate(() => axe.run({ resultTypes: ['violations'] }));
  for (const { id, nodes } of violations) {
    wrong(place, `axe: ${id}, ${nodes.length} times, first in ${nodes[0].target}: ${nodes[0].failureSummary.split('\n')[1]}`);
  }
  await page.close();
}

// The copy button of a terminal gives its commands, and nothing else.
async function copies(page, place) {
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  for (const block of await page.locator('pre:has(code.language-console)').all()) {
    const text = await block.locator('code').innerText();
    const commands = text.split('\n').filter((line) => line.startsWith('$ ')).map((line) => line.slice(2));
    if (commands.length === 0) wrong(place, `a terminal without a command: ${text.split('\n')[0]}`);
    await page.evaluate(() => navigator.clipboard.writeText('nothing was copied'));
    await block.locator('.clip-button').click({ force: true });
    await page.waitForFunction(async () => (await navigator.clipboard.readText()) !== 'nothing was copied');
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    if (copied.trim() !== commands.join('\n')) wrong(place, `copies ${JSON.stringify(copied)} of ${JSON.stringify(commands)}`);
  }
}

// A caption's link opens the file in the chapter's whole listing.
async function unfolds(page, place) {
  const link = page.locator('figure.listing figcaption a[href*="-file-"]').first();
  if ((await link.count()) === 0) return;
  const target = await link.getAttribute('href');
  await link.click();
  const file = page.locator(`#${target.split('#')[1]}`);
  await file.waitFor({ state: 'visible', timeout: 5000 }).catch(() => wrong(place, `the link to ${target} opens nothing`));
}
