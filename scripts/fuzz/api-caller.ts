import { readFileSync } from 'node:fs';

interface Operation {
  readonly method: string;
  readonly path: string;
}

export interface Call {
  /** In the place of `{id}`. */
  readonly id?: string;
  readonly query?: Readonly<Record<string, string>>;
  /** An object goes as JSON, a text or bytes as NDJSON. */
  readonly body?: object | string | Uint8Array<ArrayBuffer>;
  readonly key?: string;
  readonly signal?: AbortSignal;
}

/** Calls operations of the OpenAPI document by their names, and knows which of them have answered well. */
export class ApiCaller {
  readonly #origin: string;
  readonly #key: string;
  readonly #operations = new Map<string, Operation>();
  readonly #answered = new Map<string, number>();

  /** @param options.document file of the OpenAPI document */
  constructor(options: { origin: string; key: string; document: string }) {
    this.#origin = options.origin;
    this.#key = options.key;
    const { paths } = JSON.parse(readFileSync(options.document, 'utf8')) as {
      paths: Record<string, Record<string, { operationId: string }>>;
    };
    for (const [path, methods] of Object.entries(paths)) {
      for (const [method, { operationId }] of Object.entries(methods)) {
        this.#operations.set(operationId, { method: method.toUpperCase(), path });
      }
    }
  }

  /** @throws when the answer is not the good one */
  async call(name: string, call: Call = {}): Promise<Response> {
    const operation = this.#operations.get(name);
    if (operation === undefined) throw new Error(`the OpenAPI document has no operation ${name}`);
    const path = operation.path.replace('{id}', encodeURIComponent(call.id ?? ''));
    const query = call.query === undefined ? '' : `?${new URLSearchParams(call.query)}`;
    const answer = await fetch(`${this.#origin}${path}${query}`, {
      method: operation.method,
      headers: {
        authorization: `Bearer ${call.key ?? this.#key}`,
        'x-batch-infer-protocol': '1',
        ...typeOf(call.body),
      },
      ...(call.body === undefined ? {} : { body: encoded(call.body) }),
      ...(call.signal === undefined ? {} : { signal: call.signal }),
    });
    if (!answer.ok) throw new Error(`${name} answered ${answer.status}: ${await answer.text()}`);
    this.#answered.set(name, (this.#answered.get(name) ?? 0) + 1);
    return answer;
  }

  async json<Answer>(name: string, call: Call = {}): Promise<Answer> {
    return (await (await this.call(name, call)).json()) as Answer;
  }

  async text(name: string, call: Call = {}): Promise<string> {
    return await (await this.call(name, call)).text();
  }

  get operations(): number {
    return this.#operations.size;
  }

  /** Good answers so far. */
  get answers(): number {
    return [...this.#answered.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Operations that have not answered well yet. */
  missing(): string[] {
    return [...this.#operations.keys()].filter((name) => !this.#answered.has(name));
  }
}

function typeOf(body: Call['body']): Record<string, string> {
  if (body === undefined || body instanceof FormData) return {};
  const isLines = typeof body === 'string' || body instanceof Uint8Array;
  return { 'content-type': isLines ? 'application/x-ndjson' : 'application/json' };
}

const encoded = (body: NonNullable<Call['body']>): BodyInit =>
  typeof body === 'string' || body instanceof Uint8Array || body instanceof FormData
    ? body
    : JSON.stringify(body);
