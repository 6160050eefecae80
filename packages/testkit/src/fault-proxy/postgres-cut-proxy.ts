import { connect, createServer, type Socket } from 'node:net';
import { LoopbackListener } from './loopback-listener.js';

/** `sent`: COMMIT never reaches the server, which rolls back. `answered`: it does, and its answer is lost. */
export type CommitCut = 'sent' | 'answered';

/** Stands between a client and PostgreSQL and cuts connections at their COMMIT. Without TLS. */
export interface PostgresCutProxy {
  readonly port: number;
  /** COMMITs seen so far, the cut ones among them. */
  commits(): number;
  /** Cuts the connection of the `nth` COMMIT from now on, once; 1 is the next. Replaces an earlier cut. */
  cutCommit(nth: number, at: CommitCut): void;
  /** Whether the cut that was asked for is still to come; it is forgotten. */
  forgetCut(): boolean;
  close(): Promise<void>;
}

export async function startPostgresCutProxy(options: {
  targetHost?: string;
  targetPort: number;
}): Promise<PostgresCutProxy> {
  let commits = 0;
  let cut: { left: number; at: CommitCut } | null = null;

  /** How the connection that has just sent a COMMIT is to be cut. */
  function countCommit(): CommitCut | null {
    commits += 1;
    if (cut === null) return null;
    cut.left -= 1;
    if (cut.left > 0) return null;
    const { at } = cut;
    cut = null;
    return at;
  }

  function serve(client: Socket): void {
    const upstream = connect({ port: options.targetPort, host: options.targetHost ?? '127.0.0.1' });
    const messages = new ClientMessages();
    client.on('data', (chunk: Buffer) => {
      let at: CommitCut | null = null;
      for (const message of messages.push(chunk)) if (isCommit(message)) at = countCommit() ?? at;
      if (at === 'sent') {
        upstream.destroy();
        client.resetAndDestroy();
        return;
      }
      if (at === 'answered') {
        upstream.unpipe(client);
        upstream.once('data', () => {
          upstream.destroy();
          client.resetAndDestroy();
        });
        upstream.resume();
      }
      upstream.write(chunk);
    });
    upstream.pipe(client);
    client.on('error', () => upstream.destroy());
    client.on('close', () => upstream.destroy());
    upstream.on('error', () => client.resetAndDestroy());
  }

  const listener = new LoopbackListener(() => createServer({ noDelay: true }, serve), 0);
  await listener.open();
  return {
    get port() {
      return listener.port;
    },
    commits: () => commits,
    cutCommit(nth, at) {
      cut = { left: nth, at };
    },
    forgetCut() {
      const isLeft = cut !== null;
      cut = null;
      return isLeft;
    },
    close: () => listener.close(),
  };
}

/** Length of the number that says how long a message is; it counts itself. */
const LENGTH_BYTES = 4;

interface ClientMessage {
  /** `null` for the first, which has none. */
  readonly type: string | null;
  readonly body: Buffer;
}

/** Cuts what a client sends into the messages of PostgreSQL's protocol. */
class ClientMessages {
  #rest: Buffer = Buffer.alloc(0);
  #isStarted = false;

  push(chunk: Buffer): ClientMessage[] {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const messages: ClientMessage[] = [];
    for (;;) {
      const typeBytes = this.#isStarted ? 1 : 0;
      if (bytes.length < typeBytes + LENGTH_BYTES) break;
      const end = typeBytes + bytes.readUInt32BE(typeBytes);
      if (bytes.length < end) break;
      const type = typeBytes === 0 ? null : String.fromCharCode(bytes[0] ?? 0);
      messages.push({ type, body: bytes.subarray(typeBytes + LENGTH_BYTES, end) });
      bytes = bytes.subarray(end);
      this.#isStarted = true;
    }
    this.#rest = bytes;
    return messages;
  }
}

/** A simple query, or a prepared one. */
const isCommit = ({ type, body }: ClientMessage): boolean =>
  (type === 'Q' || type === 'P') && /^(?:[^\0]*\0)?commit\0/i.test(body.toString('latin1'));
