// A host on loopback that answers as those of static sites do: HTTP/2 over TLS, gzip, caching.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createSecureServer } from 'node:http2';
import { tmpdir } from 'node:os';
import { extname, join, normalize } from 'node:path';
import { gzipSync } from 'node:zlib';

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
};

/** Serves the folder `dir`, each answer after `delay` ms. Gives the address and a way to close. */
export async function serve(dir, delay = 0) {
  const bodies = new Map();
  const load = (path) => {
    if (!bodies.has(path)) {
      const plain = readFileSync(join(dir, path));
      bodies.set(path, extname(path) === '.png' ? { plain } : { plain, packed: gzipSync(plain) });
    }
    return bodies.get(path);
  };
  const answer = ({ url, headers }, response) => {
    const path = normalize(decodeURIComponent(new URL(url, 'https://host').pathname));
    try {
      const { plain, packed } = load(path);
      const zipped = packed && /\bgzip\b/.test(headers['accept-encoding'] ?? '');
      const body = zipped ? packed : plain;
      response.writeHead(200, {
        'content-type': TYPES[extname(path)] ?? 'application/octet-stream',
        'content-length': body.length,
        'cache-control': 'max-age=600',
        ...(zipped && { 'content-encoding': 'gzip' }),
      });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  };
  const server = createSecureServer({ allowHTTP1: true, ...certificate() }, (request, response) => {
    setTimeout(answer, delay, request, response);
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  return { base: `https://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

/** A certificate for two days, which a browser takes with --ignore-certificate-errors. */
function certificate() {
  const dir = mkdtempSync(join(tmpdir(), 'certificate-'));
  try {
    const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
    const words = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1';
    const made = spawnSync('openssl', [...words.split(' '), '-keyout', key, '-out', cert]);
    if (made.status !== 0) throw new Error(`openssl made no certificate: ${made.error ?? made.stderr}`);
    return { key: readFileSync(key), cert: readFileSync(cert) };
  } finally {
    rmSync(dir, { recursive: true });
  }
}
