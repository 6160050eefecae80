import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setting } from './settings.js';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Chromium on this machine, or what `PROOF_CHROMIUM` names; `null` where there is none. */
export const chromiumFile: string | null =
  setting('PROOF_CHROMIUM') ?? PLACES.find((place) => existsSync(place)) ?? null;

const START_MS = 60_000;
const ANSWER_MS = 60_000;

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { readonly requestId?: string };
  readonly sessionId?: string;
  readonly result?: Answer;
  readonly error?: { readonly message: string };
}

interface Answer {
  readonly targetId?: string;
  readonly sessionId?: string;
  readonly result?: { readonly value?: unknown };
  readonly exceptionDetails?: { readonly exception?: { readonly description?: string } };
}

/** A browser without a window, told what to do over its DevTools protocol. */
export class Chromium implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, PromiseWithResolvers<Answer>>();
  readonly #listeners = new Set<(message: Message) => void>();
  #lastId = 0;

  private constructor(child: ChildProcess, folder: string, socket: WebSocket) {
    this.#child = child;
    this.#folder = folder;
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => this.#receive(JSON.parse(String(data))));
  }

  /** @param options.hosts names that are 127.0.0.1 for this browser, such as `*.example` */
  static async start(options: { file: string; hosts: string }): Promise<Chromium> {
    const folder = mkdtempSync(join(tmpdir(), 'batch-infer-chromium-'));
    const flags = [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      // What newer browsers keep from this machine's addresses by themselves, older ones send: a server must hold alone.
      '--disable-features=LocalNetworkAccessChecks',
      '--remote-debugging-port=0',
      `--user-data-dir=${folder}`,
      `--host-resolver-rules=MAP ${options.hosts} 127.0.0.1`,
    ];
    const child = spawn(options.file, [...flags, 'about:blank'], { stdio: ['ignore', 'ignore', 'pipe'] });
    try {
      const socket = new WebSocket(await endpointOf(child));
      await once(socket, 'open', { signal: AbortSignal.timeout(START_MS) });
      return new Chromium(child, folder, socket);
    } catch (error) {
      await end(child, folder);
      throw error;
    }
  }

  /**
   * Opens an address in a new page and runs a script in it.
   * @param script an expression; the value of its promise is the answer
   * @param html stands for what the address would answer: a page that was loaded before its name was rebound
   * @throws when the script does
   */
  async run(url: string, script: string, html?: string): Promise<unknown> {
    const { targetId } = await this.#send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.#send('Target.attachToTarget', { targetId, flatten: true });
    if (sessionId === undefined) throw new Error('Chromium opened no page');
    await this.#send('Page.enable', {}, sessionId);
    if (html !== undefined) await this.#answerWith(url, html, sessionId);
    const loaded = Promise.withResolvers<void>();
    const listener = (message: Message) => {
      if (message.sessionId === sessionId && message.method === 'Page.loadEventFired') loaded.resolve();
    };
    this.#listeners.add(listener);
    await this.#send('Page.navigate', { url }, sessionId);
    await loaded.promise;
    this.#listeners.delete(listener);
    const expression = { expression: script, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await this.#send('Runtime.evaluate', expression, sessionId);
    if (exceptionDetails !== undefined) throw new Error(exceptionDetails.exception?.description);
    await this.#send('Target.closeTarget', { targetId });
    return result?.value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    await end(this.#child, this.#folder);
  }

  async #answerWith(url: string, html: string, sessionId: string): Promise<void> {
    const body = Buffer.from(html).toString('base64');
    const responseHeaders = [{ name: 'content-type', value: 'text/html' }];
    this.#listeners.add((message) => {
      const requestId = message.params?.requestId;
      if (message.method !== 'Fetch.requestPaused' || requestId === undefined) return;
      const answer = { requestId, responseCode: 200, responseHeaders, body };
      void this.#send('Fetch.fulfillRequest', answer, sessionId);
    });
    await this.#send('Fetch.enable', { patterns: [{ urlPattern: url }] }, sessionId);
  }

  #send(method: string, params: object, sessionId?: string): Promise<Answer> {
    this.#lastId += 1;
    const id = this.#lastId;
    const answer = Promise.withResolvers<Answer>();
    this.#waiting.set(id, answer);
    this.#socket.send(JSON.stringify({ id, method, params, ...(sessionId && { sessionId }) }));
    const timer = setTimeout(() => answer.reject(new Error(`Chromium did not answer ${method}`)), ANSWER_MS);
    return answer.promise.finally(() => clearTimeout(timer));
  }

  #receive(message: Message): void {
    for (const listener of this.#listeners) listener(message);
    const waiting = this.#waiting.get(message.id ?? 0);
    if (waiting === undefined) return;
    this.#waiting.delete(message.id ?? 0);
    if (message.error === undefined) waiting.resolve(message.result ?? {});
    else waiting.reject(new Error(message.error.message));
  }
}

function endpointOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let talk = '';
    const timer = setTimeout(() => reject(new Error(`Chromium did not start: ${talk}`)), START_MS);
    child.stderr?.on('data', (chunk: Buffer) => {
      talk = (talk + chunk.toString()).slice(-10_000);
      const url = /DevTools listening on (ws:\S+)/.exec(talk)?.[1];
      if (url === undefined) return;
      clearTimeout(timer);
      resolve(url);
    });
    child.once('exit', () => reject(new Error(`Chromium ended: ${talk}`)));
    child.once('error', reject);
  });
}

async function end(child: ChildProcess, folder: string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
  // Its children write a last moment longer.
  rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}
