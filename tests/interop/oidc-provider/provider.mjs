// oidc-provider, set up as the issuer of the listing `authentication` is: `node
// provider.mjs [PORT [SECRETS [LIFE]]]` listens on this machine, until Ctrl-C, and gives
// access tokens that live LIFE seconds. The secret of its one service is in the folder
// SECRETS; it makes it if it is not there.
//
// People log in with any name and any password: oidc-provider's own page for
// development asks for both, and looks at neither.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import Provider, { errors } from 'oidc-provider';

const [port = '50080', secrets = 'secrets', life = '300'] = process.argv.slice(2);
const AUDIENCE = 'https://accounts.example.com';

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const key = { ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig', kid: 'the-first' };

const configuration = {
  jwks: { keys: [key] },
  cookies: { keys: [randomBytes(32).toString('hex')] },
  clients: [
    {
      client_id: 'teller',
      client_secret: secret(join(secrets, 'teller.secret')),
      token_endpoint_auth_method: 'client_secret_basic',
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
      id_token_signed_response_alg: 'ES256',
    },
    {
      client_id: 'accounts-login',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      // Of a native program on the loopback address any port will do.
      redirect_uris: ['http://127.0.0.1/callback'],
      id_token_signed_response_alg: 'ES256',
    },
  ],
  pkce: { required: () => true },
  issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
  features: {
    clientCredentials: { enabled: true },
    // Its pages for logging in and agreeing, for development alone.
    devInteractions: { enabled: true },
    // Who asks for a token names the service that it is for, and gets a JWT for that.
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo(_ctx, resource) {
        if (resource !== AUDIENCE) throw new errors.InvalidTarget();
        return {
          scope: 'accounts.read accounts.write',
          audience: AUDIENCE,
          accessTokenFormat: 'jwt',
          accessTokenTTL: Number(life),
          jwt: { sign: { alg: 'ES256' } },
        };
      },
    },
  },
};

const server = createServer();
server.listen(Number(port), '127.0.0.1', () => {
  const address = `127.0.0.1:${server.address().port}`;
  const provider = new Provider(`http://${address}`, configuration);
  provider.on('server_error', (_ctx, error) => console.error(`server error: ${error.message}`));
  server.on('request', provider.callback());
  console.log(`listening on ${address}`);
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0));

// What is in the file; a new secret, for its owner's eyes only, if there is none.
function secret(file) {
  mkdirSync(secrets, { recursive: true, mode: 0o700 });
  try {
    writeFileSync(file, `${randomBytes(32).toString('base64url')}\n`, { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
  }
  return readFileSync(file, 'utf8').trim();
}
