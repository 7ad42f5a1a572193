// `node client.mjs CASE ADDRESS [ARGUMENT…]` makes the calls of one case, and prints
// what comes back.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

// ANCHOR: load
function load(...files) {
  const here = (path) => fileURLToPath(new URL(path, import.meta.url));
  return protoLoader.loadSync(files, {
    includeDirs: [here('../../../proto'), here('.')],
    // A number of JavaScript is exact up to 2^53 only.
    longs: String,
    defaults: true,
    oneofs: true,
    // Unpacks each google.protobuf.Any whose type is in one of the files.
    json: true,
  });
}

function services(file) {
  return grpc.loadPackageDefinition(load(file));
}
// ANCHOR_END: load

const plainText = grpc.credentials.createInsecure();

function within(milliseconds = 10_000) {
  return { deadline: Date.now() + milliseconds };
}

// grpc-js calls back: these are promises of the response.
function unary(client, method, ...args) {
  return promisify(client[method]).apply(client, args);
}

function clientStream(client, method, requests) {
  return promisify((callback) => {
    const call = client[method](within(), callback);
    for (const request of requests) call.write(request);
    call.end();
  })();
}

// Reads one response of a stream after the other.
function reader(call) {
  const responses = call[Symbol.asyncIterator]();
  return async () => (await responses.next()).value;
}

// The status of a call. Call this before reading: the event comes only once.
function statusOf(call) {
  return new Promise((resolve) => call.once('status', resolve));
}

function codeName({ code }) {
  return grpc.status[code];
}

// The error of a call that must fail.
function failure(call) {
  return call.then(
    (response) => Promise.reject(new Error(`it did not fail: ${JSON.stringify(response)}`)),
    (error) => error,
  );
}

function printFailed(error) {
  console.log(`${codeName(error)}: ${error.details}`);
}

// ANCHOR: hello
async function hello(address) {
  const { GreeterService } = services('hello/v1/hello.proto').hello.v1;
  const greeter = new GreeterService(address, plainText);
  const greet = (name) => unary(greeter, 'sayHello', { name }, within());
  for (const name of ['Ferris', '世界']) console.log((await greet(name)).message);
  printFailed(await failure(greet('')));
}
// ANCHOR_END: hello

async function mailbox(address) {
  const { MessageService } = services('message/v1/message.proto').message.v1;
  const mailboxes = new MessageService(address, plainText);
  const send = (to, ...contents) => {
    const requests = contents.map((content) => ({ message: { from: 'jack', to, content } }));
    return clientStream(mailboxes, 'sendMessages', requests);
  };
  const acknowledge = (user, through) =>
    unary(mailboxes, 'acknowledgeMessages', { user, through: `${through}` }, within());

  console.log(`taken ${(await send('mike', '一', '二', '三')).taken}`);
  const call = mailboxes.receiveMessages({ user: 'mike' }, within());
  const ended = statusOf(call);
  const read = reader(call);
  let first, last;
  for (let i = 0; i < 3; i++) {
    const { number, message } = await read();
    last = BigInt(number);
    // The server's numbers begin anywhere: we count from one.
    first ??= last;
    console.log(`${last - first + 1n} ${message.from}: ${message.content}`);
  }
  call.cancel();
  await read().catch(() => {});
  console.log(codeName(await ended));

  await acknowledge('mike', last);
  console.log(`acknowledged ${last - first + 1n}`);
  // 李雷 has not received what is acknowledged here.
  await send('李雷', '四');
  printFailed(await failure(acknowledge('李雷', 2n ** 64n - 1n)));
}

// ANCHOR: chat
class Person {
  constructor(client, from, to) {
    const metadata = new grpc.Metadata();
    metadata.set('from', from);
    metadata.set('to', to);
    this.name = from;
    this.call = client.chat(metadata, within());
    this.ended = statusOf(this.call);
    this.read = reader(this.call);
  }

  say(content) {
    this.call.write({ content });
  }

  async hear() {
    const { message, presence } = await this.read();
    const event = message
      ? `${message.from} says ${message.content}`
      : `${presence.name} is ${presence.here ? 'here' : 'not here'}`;
    console.log(`${this.name}: ${event}`);
  }

  async leave() {
    this.call.end();
    const more = await this.read();
    if (more) throw new Error(`more has come: ${JSON.stringify(more)}`);
    console.log(`${this.name}: ${codeName(await this.ended)}`);
  }
}

async function chat(address) {
  const { ChatService } = services('chat/v1/chat.proto').chat.v1;
  const client = new ChatService(address, plainText);
  const jack = new Person(client, 'jack', 'mike');
  await jack.hear();
  const mike = new Person(client, 'mike', 'jack');
  await mike.hear();
  await jack.hear();
  jack.say('你好');
  await mike.hear();
  mike.say('再见');
  await jack.hear();
  await mike.leave();
  await jack.hear();
  await jack.leave();

  const withoutNames = client.chat(within());
  printFailed(await failure(reader(withoutNames)()));
}
// ANCHOR_END: chat

async function metadata(address) {
  const { TillService } = services('till/v1/till.proto').till.v1;
  const till = new TillService(address, plainText);
  const aboutUs = new grpc.Metadata();
  aboutUs.set('name-bin', Buffer.from('李雷'));
  aboutUs.add('voucher', 'SPRING');
  aboutUs.add('voucher', 'NEW');

  let call;
  const response = promisify((callback) => {
    call = till.getPrice({ article: 'bread' }, aboutUs, within(), callback);
  })();
  const ended = statusOf(call);
  call.on('metadata', (headers) => {
    console.log(`vouchers ${headers.get('vouchers')}`);
    console.log(`greeting-bin ${headers.get('greeting-bin')}`);
  });
  console.log(`${(await response).cents} cents`);
  const trailers = (await ended).metadata;
  console.log(`articles ${trailers.get('articles')}`);
  console.log(`cents ${trailers.get('cents')}`);

  call = till.listPrices({}, aboutUs, within());
  const listed = statusOf(call);
  for await (const { article, cents } of call) console.log(`${article} ${cents}`);
  console.log(`articles ${(await listed).metadata.get('articles')}`);
}

async function person(address) {
  const { PersonService } = services('person/v1/person.proto').person.v1;
  const registry = new PersonService(address, plainText);
  const create = (...people) => {
    const requests = people.map((person) => ({ person }));
    return clientStream(registry, 'createPeople', requests);
  };
  const get = (name) => unary(registry, 'getPerson', { name }, within());

  const { created } = await create({ name: 'jenny', age: 21 }, { name: 'jack', age: 18 });
  console.log(`created ${created}`);
  const jenny = (await get('jenny')).person;
  console.log(`${jenny.name} ${jenny.age}`);
  printWithDetails(await failure(get('jeny')));
  printWithDetails(await failure(create({ name: '', age: 200 })));
}

// ANCHOR: details
function printWithDetails(error) {
  printFailed(error);
  const { 'google.rpc.Status': Status } = load('status.proto', 'person/v1/error_details.proto');
  const show = {
    'google.rpc.ErrorInfo': ({ reason, domain }) => `reason ${reason} of ${domain}`,
    'google.rpc.ResourceInfo': ({ resourceType, resourceName }) =>
      `no ${resourceType} ${resourceName}`,
    'google.rpc.LocalizedMessage': ({ locale, message }) => `${locale}: ${message}`,
    'google.rpc.BadRequest': ({ fieldViolations }) =>
      fieldViolations.map(({ field, description }) => `${field}: ${description}`).join('\n'),
    'person.v1.SimilarNames': ({ names }) => `similar: ${names.join(', ')}`,
  };
  const [status] = error.metadata.get('grpc-status-details-bin');
  for (const detail of Status.deserialize(status).details) {
    const type = detail['@type']?.split('/').pop();
    if (!show[type]) throw new Error(`a detail that we do not know: ${JSON.stringify(detail)}`);
    console.log(show[type](detail));
  }
}
// ANCHOR_END: details

async function deadline(address) {
  const { OrderService } = services('order/v1/order.proto').order.v1;
  const orders = new OrderService(address, plainText);
  const place = (milliseconds) =>
    unary(orders, 'placeOrder', { article: 'bread', count: 1 }, within(milliseconds));
  console.log(codeName(await failure(place(50))));
  console.log((await place(10_000)).hands.join(', '));
}

async function tls(address, ca, certificate, key, otherCa) {
  const { GreeterService } = services('hello/v1/hello.proto').hello.v1;
  const greet = async (authority, ...identity) => {
    const files = [authority, ...identity].map((file) => readFileSync(file));
    const greeter = new GreeterService(address, grpc.credentials.createSsl(...files));
    return unary(greeter, 'sayHello', { name: 'Ferris' }, within());
  };
  console.log((await greet(ca, key, certificate)).message);
  console.log(codeName(await failure(greet(otherCa, key, certificate))));
  console.log(codeName(await failure(greet(ca))));
}

// ANCHOR: token
async function token(address, ca, accessToken) {
  const { AccountService } = services('account/v1/account.proto').account.v1;
  const secure = grpc.credentials.createSsl(readFileSync(ca));
  const bearer = grpc.credentials.createFromMetadataGenerator((_parameters, callback) => {
    const metadata = new grpc.Metadata();
    metadata.set('authorization', `Bearer ${accessToken}`);
    callback(null, metadata);
  });
  // This refuses plain text. The option `credentials` of a single call does not.
  const withToken = grpc.credentials.combineChannelCredentials(secure, bearer);
  const authenticated = new AccountService(address, withToken);
  const anonymous = new AccountService(address, secure);

  console.log(`${(await unary(authenticated, 'getBalance', {}, within())).cents} cents`);
  printFailed(await failure(unary(anonymous, 'getBalance', {}, within())));
  printFailed(await failure(unary(authenticated, 'closeAccount', {}, within())));
}
// ANCHOR_END: token

const cases = { hello, mailbox, chat, metadata, person, deadline, tls, token };
const [name, ...args] = process.argv.slice(2);
await cases[name](...args);
