// Opens every page of a built book in Chromium, as a reader would, and prints a
// line for each thing that is wrong: `node site.mjs TOOLS SITE`, where TOOLS has
// the packages of package.json and SITE is the book. Ends with 1 if there is any.

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { args, executablePath } from './browser.mjs';
import { budget } from './budget.mjs';
import { serve } from './server.mjs';

const [tools, site] = process.argv.slice(2);
const require = createRequire(join(tools, 'package.json'));
const { chromium } = require('playwright-core');
const axe = require.resolve('axe-core/axe.min.js');

const THEMES = ['light', 'rust', 'coal', 'navy', 'ayu'];
const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 390, height: 900 };
// Those of axe-core's rules that look at colours, and all others.
const COLOURS = { runOnly: ['color-contrast', 'link-in-text-block'] };
const OTHERS = { rules: Object.fromEntries(COLOURS.runOnly.map((rule) => [rule, { enabled: false }])) };
const SIDEBAR = 'button[aria-controls="mdbook-sidebar"]';

// What readers search for, and the page that is about it. A rule compares it with the index.
const searches = JSON.parse(await readFile(join(import.meta.dirname, '../searches.json'), 'utf8'));

const { base, close } = await serve(site);
const browser = await chromium.launch({ executablePath, args });

let faults = 0;
// The kinds of text that were judged in each theme.
const judged = Object.fromEntries(THEMES.map((theme) => [theme, new Set()]));
let heaviest = { bytes: 0 };
const wrong = (place, what) => {
  faults += 1;
  console.log(`${place}: ${what}`);
};

const toc = await readFile(join(site, 'toc.html'), 'utf8');
const pages = [...new Set([...toc.matchAll(/href="([^"#]+\.html)"/g)].map(([, page]) => page))];
if (pages.length < 3) wrong('toc.html', `names ${pages.length} pages`);

// Two visitors, as a browser mostly waits for itself.
const unvisited = [...pages];
const visitor = async () => {
  const reader = await newReader(THEMES[0]);
  for (let name = unvisited.shift(); name; name = unvisited.shift()) await look(reader, name);
  await reader.leave();
};
await Promise.all([visitor(), visitor()]);

// A page shows the theme that was chosen before. One page will do: it is one script.
for (const theme of THEMES) {
  const reader = await newReader(theme);
  const page = await reader.open(pages[0], `opened in ${theme}`);
  await isShown(page, reader.place, theme);
  await reader.leave();
}

// One at a time: there is one clipboard, and one focus.
const reader = await newReader(THEMES[0]);
for (const name of pages) {
  const page = await reader.open(name, 'its buttons');
  await copies(page, reader.place);
  await unfolds(page, reader.place);
}
// The first page of each chapter, and a whole listing.
for (const name of pages.filter((page) => /^[^/]+$|index\.html$|^hello-world.listing/.test(page))) {
  const page = await reader.open(name, 'by keyboard');
  await tabs(page, reader.place);
}
await menus(await reader.open(pages[0], 'its menus'), reader.place);
// A word of the prose, a method's name and a word that no blanks surround.
for (const word of ['backpressure', 'connect_lazy', '你好']) {
  await finds(await reader.open(pages[0], `the search for ${word}`), reader.place, word);
}
for (const [words, about] of Object.entries(searches)) {
  const page = await reader.open(pages[0], `the search for ${words}`);
  await types(page, words);
  const links = await page.locator('#mdbook-searchresults > li > a').evaluateAll((all) => all.map(({ pathname }) => pathname));
  if (!links.some((link) => link.endsWith(`/${about}`))) wrong(reader.place, `does not find ${about}, only ${links}`);
}
await prints(reader);
await reader.leave();

await browser.close();
close();
console.log(`the heaviest: ${heaviest.place}, ${heaviest.bytes} bytes`);
console.log(`${pages.length} pages, ${THEMES.length} themes, 2 widths: ${faults} faults`);
process.exit(faults === 0 ? 0 : 1);

/** Somebody with a theme, who opens one page after another. */
async function newReader(theme) {
  const context = await browser.newContext({ viewport: WIDE, reducedMotion: 'reduce', ignoreHTTPSErrors: true });
  await context.addInitScript((theme) => {
    localStorage.setItem('mdbook-theme', theme);
    localStorage.removeItem('mdbook-sidebar');
    window.print = () => {};
  }, theme);
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const page = await context.newPage();
  const self = { theme, place: '', page, leave: () => context.close() };
  page.on('console', (message) => message.type() === 'error' && wrong(self.place, `console: ${message.text()}`));
  page.on('pageerror', (error) => wrong(self.place, `script: ${error.message}`));
  page.on('request', (request) => {
    if (!request.url().startsWith(base) && !request.url().startsWith('data:')) wrong(self.place, `asks for ${request.url()}`);
  });
  self.open = async (name, why, viewport = WIDE) => {
    self.place = `${name} (${why})`;
    await page.setViewportSize(viewport);
    await page.goto(base + name, { waitUntil: 'load' });
    return page;
  };
  return self;
}

// Of axe-core's rules, those on colours depend on the theme, and some of the others on the width. So
// the others judge the page narrow and wide, and those on colours each theme.
async function look(reader, name) {
  const script = '**/reader-*.js';
  await reader.page.route(script, (route) => setTimeout(() => route.continue(), 100));
  const page = await reader.open(name, `${THEMES[0]}, ${NARROW.width} px`, NARROW);
  await page.unroute(script);
  await isSteady(page, reader.place);
  await fits(page, reader.place);
  await isLight(page, reader.place);
  await judge(reader, name, THEMES[0], NARROW, OTHERS);

  await reader.open(name, `${WIDE.width} px`);
  for (const theme of THEMES) {
    await choose(page, theme);
    reader.place = `${name} (${theme}, ${WIDE.width} px)`;
    await isShown(page, reader.place, theme);
    await fits(page, reader.place);
    if (theme === THEMES[0]) await judge(reader, name, theme, WIDE, OTHERS);
    await judgeColours(reader, name, theme);
  }
  // A window that is made narrow keeps its sidebar; one that was opened so has none. It is taken
  // away without mdBook's transition, which a page behind another never ends.
  await page.evaluate(() => {
    document.querySelector('#mdbook-page-wrapper').style.transition = 'none';
    document.querySelector('#mdbook-sidebar-toggle-anchor').checked = false;
    document.documentElement.classList.remove('sidebar-visible');
  });
  await page.setViewportSize(NARROW);
  for (const theme of THEMES.slice(1)) {
    await choose(page, theme);
    await fits(page, `${name} (${theme}, ${NARROW.width} px)`);
  }
}

// Chooses a theme in the menu.
async function choose(page, theme) {
  await page.evaluate((theme) => document.querySelector(`#mdbook-theme-${theme}`).click(), theme);
}

async function isShown(page, place, theme) {
  const shown = await page.evaluate(() => document.documentElement.className);
  if (!shown.split(' ').includes(theme)) wrong(place, `shows the classes ${shown}`);
}

// Nothing sticks out, and every picture is there.
async function fits(page, place) {
  const { over, missing } = await page.evaluate(async () => {
    const main = document.querySelector('main');
    const missing = [];
    for (const image of main.querySelectorAll('img')) {
      image.loading = 'eager';
      await image.decode().catch(() => missing.push(image.getAttribute('src')));
    }
    for (const picture of main.querySelectorAll('.picture > svg')) {
      const { width, height } = picture.getBoundingClientRect();
      if (width < 100 || height < 20) missing.push(picture.querySelector('title').textContent);
    }
    return { over: Math.max(main.scrollWidth - main.clientWidth, document.documentElement.scrollWidth - innerWidth), missing };
  });
  if (over > 0) wrong(place, `the text sticks out by ${over} px`);
  for (const picture of missing) wrong(place, `the picture ${picture} is not to be seen`);
}

// The page is read before the theme's script has come over a slow line. What the script adds may
// move the text by a line, where a command goes on in the next one. Up to 0.1 is good by Web Vitals.
async function isSteady(page, place) {
  const shifts = await page.evaluate(() => new Promise((resolve) => {
    new PerformanceObserver((list) => resolve(list.getEntries().map(({ value, sources }) => ({
      value,
      moved: (sources[0]?.node?.parentElement ?? document.body).outerHTML.slice(0, 120),
    })))).observe({ type: 'layout-shift', buffered: true });
    setTimeout(resolve, 100, []);
  }));
  const sum = shifts.reduce((sum, { value }) => sum + value, 0);
  if (sum > 0.1) wrong(place, `its text moves by ${sum.toFixed(3)} as it is loaded, first ${shifts[0].moved}`);
}

// A cold visit: compressed bodies, and a hundred bytes of headers for each.
async function isLight(page, place) {
  const sizes = await page.evaluate(() => ['navigation', 'resource'].flatMap((type) => performance.getEntriesByType(type)).map((it) => it.encodedBodySize + 100));
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  heaviest = bytes > heaviest.bytes ? { bytes, place } : heaviest;
  if (sizes.length < 10 || bytes >= budget(place)) wrong(place, `${bytes} bytes in ${sizes.length} answers`);
}

// The colours of a text follow from the tags, classes and styles of the elements around it. Texts with
// the same ones look alike on every page, so the first of each kind is judged in each theme.
async function judgeColours(reader, name, theme) {
  const kinds = (await kindsOfText(reader.page)).filter((kind) => !judged[theme].has(kind));
  if (kinds.length === 0) return;
  for (const kind of kinds) judged[theme].add(kind);
  await judge(reader, name, theme, WIDE, COLOURS, kinds);
}

// The kinds of text on the page. `window.texts` has the first element of each.
async function kindsOfText(page) {
  await unfoldAll(page);
  return page.evaluate(() => {
    const kinds = new Map();
    const kindOf = (element) => {
      if (element === null) return '';
      if (!kinds.has(element)) {
        const { tagName, classList, parentElement } = element;
        const own = [tagName, ...[...classList].sort(), element.getAttribute('style') ?? ''].join('.');
        kinds.set(element, `${kindOf(parentElement)} ${own}`);
      }
      return kinds.get(element);
    };
    const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim() !== '');
    window.texts = {};
    for (const element of document.body.querySelectorAll('*')) {
      if (hasText(element)) window.texts[kindOf(element)] ??= element;
    }
    return Object.keys(window.texts);
  });
}

// Chromium now and then computes the style of a few elements before the theme is on, and keeps it:
// what axe-core finds counts if it is there on a second visit, too.
async function judge(reader, name, theme, viewport, rules, kinds) {
  const { place } = reader;
  let violations = await violationsOf(reader.page, rules, kinds);
  if (violations.length > 0) {
    const page = await reader.open(name, 'once more', viewport);
    await choose(page, theme);
    if (kinds) await kindsOfText(page);
    violations = await violationsOf(page, rules, kinds);
  }
  for (const { id, nodes } of violations) {
    wrong(place, `axe: ${id}, ${nodes.length} times, first in ${nodes[0].target}: ${nodes[0].failureSummary.split('\n')[1]}`);
  }
}

// axe judges what can be seen: folded files are unfolded for it.
async function unfoldAll(page) {
  await page.evaluate(() => document.querySelectorAll('details').forEach((file) => (file.open = true)));
}

// What axe-core finds: in the texts of these kinds, or on the whole page.
async function violationsOf(page, rules, kinds) {
  await unfoldAll(page);
  // The theme makes what scrolls focusable, when it has been laid out: in a page
  // behind another that takes a while, and if it never does, axe says so.
  await page
    .waitForFunction(() => [...document.querySelectorAll('pre code')].every((code) => code.scrollWidth <= code.clientWidth || code.tabIndex === 0), null, { polling: 100, timeout: 30_000 })
    .catch(() => {});
  if (!(await page.evaluate(() => 'axe' in window))) await page.addScriptTag({ path: axe });
  return page.evaluate(
    async ({ rules, kinds }) => {
      const context = kinds ? { include: kinds.map((kind) => window.texts[kind]).filter(Boolean) } : document;
      const { violations } = await axe.run(context, { resultTypes: ['violations'], ...rules });
      return violations;
    },
    { rules, kinds },
  );
}

// The copy button of a terminal gives its commands, and nothing else.
async function copies(page, place) {
  for (const block of await page.locator('pre:has(code.language-console)').all()) {
    const text = await block.locator('code').innerText();
    const commands = [...text.matchAll(/^\$ ((?:.*\\\n)*.*)/gm)].map(([, command]) => command);
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

// Tab goes to the skip link first, then through all that can be used, in the page's order, each
// showing that it has the focus, and out at the end.
async function tabs(page, place) {
  const expected = await page.evaluate(() => {
    const usable = 'a[href], button, input, select, textarea, summary, [tabindex]';
    window.controls = [...document.querySelectorAll(usable)].filter(
      (element) => element.tabIndex >= 0 && !element.disabled && element.checkVisibility({ visibilityProperty: true }),
    );
    return window.controls.length;
  });
  const reached = [];
  for (let presses = 0; presses < 2 * expected; presses += 1) {
    await page.keyboard.press('Tab');
    const { left, at, named, shown } = await page.evaluate((begun) => {
      const element = document.activeElement;
      const { outlineStyle, outlineWidth } = getComputedStyle(element);
      return {
        // In a window without a frame, what comes after the last is the first.
        left: element === document.body || (begun && element === window.controls[0]),
        at: window.controls.indexOf(element),
        named: `<${element.localName} class="${element.className}"> ${element.textContent.trim().slice(0, 40)}`,
        shown: outlineStyle !== 'none' && parseFloat(outlineWidth) > 0,
      };
    }, reached.length > 0);
    if (left) break;
    if (presses === 0 && !named.includes('skip-link')) wrong(place, `Tab goes first to ${named}`);
    if (!shown) wrong(place, `nothing shows that the focus is on ${named}`);
    // A browser may stop at what scrolls, too.
    if (at >= 0) reached.push(at);
    if (presses === 2 * expected - 1) wrong(place, `Tab never leaves the page; it is at ${named}`);
  }
  const inOrder = reached.every((at, index) => at === index);
  if (!inOrder || reached.length !== expected) {
    const lost = [...Array(expected).keys()].find((at, index) => reached[index] !== at);
    const name = await page.evaluate((at) => window.controls[at]?.outerHTML.slice(0, 120), lost);
    wrong(place, `Tab reaches ${reached.length} of ${expected} controls, and not in its turn ${name}`);
  }
  // The skip link leads past the sidebar.
  await page.evaluate(() => document.querySelector('.skip-link').focus());
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  const inText = await page.evaluate(() => document.querySelector('#mdbook-content').contains(document.activeElement));
  if (!inText) wrong(place, 'the skip link does not lead into the text');
}

// What opens by a key closes by a key, and gives the focus back.
async function menus(page, place) {
  const focus = () => page.evaluate(() => document.activeElement.id || document.activeElement.className);
  const check = async (what, expected) => {
    const holds = await page.waitForFunction(expected, null, { timeout: 5000 }).catch(() => null);
    if (!holds) wrong(place, `${what}; the focus is on ${await focus()}`);
  };
  await page.locator(SIDEBAR).press('Enter');
  await check('Enter does not close the sidebar', () => !document.querySelector('#mdbook-sidebar').checkVisibility());
  await page.locator(SIDEBAR).press('Enter');
  await check('Enter does not open the sidebar', () => document.querySelector('#mdbook-sidebar').checkVisibility());

  await page.locator('#mdbook-theme-toggle').press('Enter');
  await check('the menu of themes does not take the focus', () => document.querySelector('#mdbook-theme-list').contains(document.activeElement));
  await page.keyboard.press('Escape');
  await check('the menu of themes does not give the focus back', () => document.activeElement.id === 'mdbook-theme-toggle');

  await page.locator('#mdbook-search-toggle').press('Enter');
  await check('the search does not take the focus', () => document.activeElement.id === 'mdbook-searchbar');
  await page.keyboard.press('Escape');
  await check('the search does not close', () => !document.querySelector('#mdbook-searchbar').checkVisibility());
}

// Typed by hand. Gives the first result, and whether there is one.
async function types(page, words) {
  await page.keyboard.press('/');
  await page.locator('#mdbook-searchbar').waitFor({ state: 'visible' });
  await page.keyboard.type(words);
  await page.keyboard.press('End'); // as an input method ends with a key
  const first = page.locator('#mdbook-searchresults > li').first();
  return { first, found: await first.waitFor({ timeout: 10_000 }).then(() => true, () => false) };
}

// The first result is opened by Enter.
async function finds(page, place, word) {
  const { first, found } = await types(page, word);
  if (!found) return wrong(place, 'finds nothing');
  const teaser = await first.locator('.teaser').innerText();
  if (!teaser.toLowerCase().includes(word)) wrong(place, `shows beside the first result: ${teaser}`);
  await page.keyboard.press('Enter');
  await page.waitForURL(/highlight=/);
  const held = await page.locator('main').innerText();
  if (!held.toLowerCase().includes(word)) wrong(place, `${page.url()} does not have it`);
  const marked = await page.locator('main mark').count();
  if (marked === 0) wrong(place, `${page.url()} does not mark it`);
}

// The whole book on one page: each chapter once, and every link to a place in it.
async function prints(reader) {
  const page = await reader.open('print.html', 'the printed book');
  await fits(page, reader.place);
  const { titles, doubled, broken } = await page.evaluate(() => {
    const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id);
    const links = [...document.querySelectorAll('main a[href^="#"]')].map((link) => link.getAttribute('href').slice(1));
    return {
      titles: document.querySelectorAll('main h1').length,
      doubled: ids.filter((id, at) => ids.indexOf(id) !== at),
      broken: links.filter((id) => !document.getElementById(decodeURIComponent(id))),
    };
  });
  if (titles !== pages.length) wrong(reader.place, `${titles} titles of ${pages.length} pages`);
  for (const id of doubled) wrong(reader.place, `the id ${id} is there twice`);
  for (const id of broken) wrong(reader.place, `a link leads to #${id}, which is not there`);
}
