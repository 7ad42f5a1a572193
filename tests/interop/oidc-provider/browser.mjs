// Logs a person in, in Chromium: `node browser.mjs TOOLS URL NAME [PASSWORD]`, where TOOLS
// has the packages of tests/browser/package.json and URL is what `authentication-login`
// shows. The pages are those of oidc-provider, or, with a password, of the listing's own
// issuer. Prints what the last page says.
//
// CHROMIUM names the browser, if it is not /usr/bin/chromium.

import { createRequire } from 'node:module';
import { join } from 'node:path';

const [tools, url, name, password] = process.argv.slice(2);
const require = createRequire(join(tools, 'package.json'));
const { chromium } = require('playwright-core');

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const page = await browser.newPage();
page.setDefaultTimeout(60_000);
await page.goto(url);
if (password) {
  await page.fill('input[name="username"]', name);
  await page.fill('input[name="password"]', password);
} else {
  await page.fill('input[name="login"]', name);
  await page.fill('input[name="password"]', 'it looks at none');
  await page.click('button[type="submit"]');
  // The next page asks whether the program may.
  await page.waitForFunction(() => document.querySelector('input[name="prompt"]')?.value === 'consent');
}
await Promise.all([page.waitForURL(/127\.0\.0\.1:\d+\/callback\?/), page.click('button')]);
console.log(await page.innerText('body'));
await browser.close();
