// The browser: /usr/bin/chromium, unless CHROMIUM names another. It asks no host for anything of
// its own, and takes the certificate of server.mjs.

export const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';

export const args = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
  '--ignore-certificate-errors',
];
