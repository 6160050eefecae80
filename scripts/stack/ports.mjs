import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';

const LOOPBACK = '127.0.0.1';
const LOWEST_PORT = 15_000;
const DEFAULT_EPHEMERAL_START = 32_768;
const ATTEMPTS = 200;

/**
 * A free loopback port below the range that the kernel hands to outgoing connections. A killed server
 * must be able to come back on its port: inside that range, a client that keeps dialling the dead port
 * can be given it as its own local port and hold it.
 * @param {ReadonlySet<number>} [taken] Ports promised to others that do not listen yet.
 */
export async function chooseFreePort(taken = new Set()) {
  const highest = Math.max(ephemeralStart(), LOWEST_PORT + 1_000);
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const port = randomInt(LOWEST_PORT, highest);
    if (!taken.has(port) && (await isPortFree(port))) return port;
  }
  throw new Error(`no free loopback port found between ${LOWEST_PORT} and ${highest}`);
}

function ephemeralStart() {
  try {
    const [start] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').trim().split(/\s+/);
    return Number(start) || DEFAULT_EPHEMERAL_START;
  } catch {
    return DEFAULT_EPHEMERAL_START;
  }
}

/**
 * Whether a server could listen on the loopback port now.
 * @param {number} port
 * @returns {Promise<boolean>}
 */
export function isPortFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: LOOPBACK, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/**
 * Sends bytes to a server and collects its answer until `enough` says so, the server hangs up, or the
 * time is over. Never throws.
 * @param {object} options
 * @param {string} options.host
 * @param {number} options.port
 * @param {Uint8Array} options.message Empty: only the connection is tried.
 * @param {(answer: Buffer) => boolean} options.enough
 * @param {number} [options.timeoutMs]
 * @returns {Promise<Buffer | null>} `null` when nothing listens.
 */
export function exchange({ host, port, message, enough, timeoutMs = 1_000 }) {
  return new Promise((resolve) => {
    let answer = Buffer.alloc(0);
    let connected = false;
    const socket = connect({ host, port });
    const finish = () => {
      clearTimeout(timer);
      socket.destroy();
      resolve(connected ? answer : null);
    };
    const timer = setTimeout(finish, timeoutMs);
    socket.once('connect', () => {
      connected = true;
      if (message.length === 0) finish();
      else socket.write(message);
    });
    socket.on('data', (chunk) => {
      answer = Buffer.concat([answer, typeof chunk === 'string' ? Buffer.from(chunk) : chunk]);
      if (enough(answer)) finish();
    });
    socket.once('error', finish);
    socket.once('close', finish);
  });
}

/**
 * Whether anything accepts connections there.
 * @param {string} host
 * @param {number} port
 */
export async function isListening(host, port) {
  const answer = await exchange({ host, port, message: new Uint8Array(), enough: () => true });
  return answer !== null;
}
