// Measures pages of a built book with Lighthouse, from a host that compresses and
// speaks HTTP/2: `node lighthouse.mjs TOOLS SITE PAGE...` prints a table, then a line
// for each thing that is wrong, and ends with 1 if there is any.

import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { args, executablePath } from './browser.mjs';
import { budget } from './budget.mjs';
import { serve } from './server.mjs';

const [tools, site, ...pages] = process.argv.slice(2);
const require = createRequire(join(tools, 'package.json'));
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { default: lighthouse } = await load('lighthouse');
const { default: puppeteer } = await load('puppeteer-core');

/** A cold visit's bytes over the wire, headers and compressed bodies. */

// Full marks; but performance is a time, simulated from what this machine measures, and a busy one
// takes a point or two off. What a page weighs is counted, and is above.
const CATEGORIES = ['performance', 'accessibility', 'best-practices', 'seo'];
const ENOUGH = [95, 100, 100, 100];

// As from a host near by. With no delay it is chance what the browser gets first, and
// Lighthouse's simulation of a slow line differs from run to run.
const { base, close } = await serve(site, 30);
const browser = await puppeteer.launch({ executablePath, args });

const wrong = [];
console.log('page,performance,accessibility,best practices,SEO,FCP in ms,LCP in ms,bytes');
for (const name of pages) {
  // The simulation is only as steady as the machine: the best of three runs counts.
  let best;
  for (let run = 0; run < 3 && !(best?.scores[0] === 100); run += 1) {
    const measured = await measure(name);
    if (!best || measured.scores[0] > best.scores[0]) best = measured;
  }
  const { scores, failed, first, largest, bytes, requests } = best;
  console.log([name, ...scores, first, largest, bytes].join());
  CATEGORIES.forEach((category, at) => {
    if (!(scores[at] >= ENOUGH[at])) wrong.push(`${name}: ${scores[at]} of 100 for ${category}: ${failed[at].join(', ')}`);
  });
  if (!(bytes > 0 && bytes < budget(name))) wrong.push(`${name}: ${bytes} bytes, and not under ${budget(name)}`);
  for (const { url, resourceType } of requests) {
    if (resourceType === 'Font') wrong.push(`${name}: loads the font ${url}`);
    if (!url.startsWith(base) && !url.startsWith('data:')) wrong.push(`${name}: asks for ${url}`);
  }
}
await browser.close();
close();
wrong.forEach((line) => console.log(line));
process.exit(pages.length > 0 && wrong.length === 0 ? 0 : 1);

/** A cold visit, as a telephone on a slow line. */
async function measure(name) {
  const page = await browser.newPage();
  try {
    const port = Number(new URL(browser.wsEndpoint()).port);
    const { lhr } = await lighthouse(base + name, { port, logLevel: 'error', onlyCategories: CATEGORIES }, undefined, page);
    if (lhr.runtimeError) throw new Error(`${name}: ${lhr.runtimeError.message}`);
    const { categories, audits } = lhr;
    const failed = CATEGORIES.map((category) =>
      categories[category].auditRefs.filter(({ id, weight }) => weight > 0 && audits[id].score !== null && audits[id].score < 1).map(({ id }) => id),
    );
    const requests = audits['network-requests'].details.items;
    return {
      scores: CATEGORIES.map((category) => Math.round(categories[category].score * 100)),
      failed,
      first: Math.round(audits['first-contentful-paint'].numericValue),
      largest: Math.round(audits['largest-contentful-paint'].numericValue),
      bytes: requests.reduce((sum, { transferSize }) => sum + transferSize, 0),
      requests,
    };
  } finally {
    await page.close();
  }
}
