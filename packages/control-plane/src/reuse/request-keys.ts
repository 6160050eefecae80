import { hash } from 'node:crypto';
import { isDetermined } from '@batch-infer/contracts';
import type { JobOptions } from '@batch-infer/contracts/native';
import { modelOf } from '../jobs/judge.js';
import { eachMember, isObjectAt, type Range, skipSeparators } from '../plan/json-members.js';

/** Bytes of a key: half of a SHA-256, far from ever meeting by chance. */
export const KEY_BYTES = 16;
/** Longer numbers are no choice of sampling. */
const NUMBER_BYTES = 32;

/**
 * What requests whose answer is determined are known by: a hash over project, endpoint and body as it is run, the job's
 * defaults in it. Members of the body count in whatever order they stand; each value counts byte by byte. Of a project's
 * own: keys of two projects have nothing to do with each other.
 */
export class RequestKeys {
  readonly #projectId: string;
  readonly #endpoint: string | null;
  /** What the job adds to bodies that lack it, as JSON text. */
  readonly #defaults: readonly (readonly [string, Buffer])[];

  constructor(projectId: string, options: JobOptions) {
    this.#projectId = projectId;
    this.#endpoint = options.endpoint ?? null;
    const model = modelOf(options);
    const defaults = { ...options.defaults, ...(model === null ? {} : { model }) };
    this.#defaults = Object.entries(defaults).map(([name, value]) => [
      // Names are compared as the bytes that stand between quotes.
      Buffer.from(JSON.stringify(name)).toString('latin1').slice(1, -1),
      Buffer.from(JSON.stringify(value)),
    ]);
  }

  /** The key of an input line; `null` where the request does not determine its answer, or is not plain enough to say. */
  of(line: Buffer): Buffer | null {
    const envelope = membersOf(line, skipSeparators(line, 0));
    const body = envelope?.get('body');
    const url = envelope?.get('url');
    const endpoint = url === undefined ? this.#endpoint : stringOf(url);
    if (body === undefined || endpoint === null) return null;
    const members = membersOf(body, 0);
    // What of a stream is run is the runner's to say.
    if (members === null || members.get('stream')?.toString('latin1') === 'true') return null;
    for (const [name, value] of this.#defaults) if (!members.has(name)) members.set(name, value);
    const choices = {
      n: choiceOf(members.get('n')),
      temperature: choiceOf(members.get('temperature')),
      seed: choiceOf(members.get('seed')),
    };
    if (!isDetermined(endpoint, choices)) return null;
    const pieces: Uint8Array[] = [Buffer.from(`${JSON.stringify([this.#projectId, endpoint])}\n`)];
    for (const [name, value] of [...members].sort(byName)) {
      pieces.push(Buffer.from(`"${name}":`, 'latin1'), value, LINE_FEED);
    }
    return hash('sha256', Buffer.concat(pieces), 'buffer').subarray(0, KEY_BYTES);
  }
}

const LINE_FEED = Buffer.from('\n');

const byName = ([left]: readonly [string, unknown], [right]: readonly [string, unknown]): number =>
  left < right ? -1 : 1;

/** Members of an object by name; `null` when it is none, or when a name stands twice or is written with escapes. */
function membersOf(bytes: Buffer, from: number): Map<string, Buffer> | null {
  if (!isObjectAt(bytes, from)) return null;
  const members = new Map<string, Buffer>();
  let plain = true;
  eachMember(bytes, from, (key: Range, value: Range) => {
    const name = bytes.toString('latin1', key.from, key.to);
    if (members.has(name) || name.includes('\\')) plain = false;
    members.set(name, bytes.subarray(value.from, value.to));
  });
  return plain ? members : null;
}

/** A number is told from its text; anything else is no choice that determines. */
function choiceOf(value: Buffer | undefined): unknown {
  if (value === undefined) return undefined;
  if (value.length > NUMBER_BYTES) return null;
  return JSON.parse(value.toString('utf8'));
}

function stringOf(value: Buffer): string | null {
  const parsed: unknown = JSON.parse(value.toString('utf8'));
  return typeof parsed === 'string' ? parsed : null;
}
