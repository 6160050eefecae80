import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { expect, it } from 'vitest';
import { boundedClose } from './close-server.js';

it('a connection that never asked for anything does not keep a server from closing', async () => {
  const server = createServer((_request, response) => void response.end('ok'));
  const closeServer = boundedClose(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  const socket = connect(port, '127.0.0.1');
  const connected = once(server, 'connection');
  await once(socket, 'connect');
  await connected;
  const ended = once(socket, 'close');
  await closeServer(() => new Promise((resolve) => server.close(() => resolve())));
  await ended;
  expect(server.listening).toBe(false);
});

it('a running request is answered first', async () => {
  let answer: () => void = () => {};
  const server = createServer((_request, response) => {
    answer = () => void response.end('late');
  });
  const closeServer = boundedClose(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  const arrived = once(server, 'request');
  const asked = fetch(`http://127.0.0.1:${port}`);
  await arrived;
  const closed = closeServer(() => new Promise((resolve) => server.close(() => resolve())));
  answer();
  expect(await (await asked).text()).toBe('late');
  await closed;
});
