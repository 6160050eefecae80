import { type Member, memberKey, scanObject } from './json-scan.js';

/** What a job adds to each of its bodies. */
export interface BodyDefaults {
  /** Model of bodies without one. */
  readonly model: string | null;
  /** Top-level members of bodies that lack them. */
  readonly members: Readonly<Record<string, unknown>> | null;
}

/** A line of a job's input, ready to be sent. */
export interface RequestLine {
  /** `null`: the item's index stands for it. */
  readonly customId: string | null;
  /** Endpoint path; `null`: the job's. */
  readonly url: string | null;
  readonly body: Buffer;
}

/** Prepares a job's defaults once; the answer turns each line into a request. */
export function requestLineReader(defaults: BodyDefaults): (line: Buffer) => RequestLine | null {
  const merged: Record<string, unknown> = { ...defaults.members };
  if (defaults.model !== null && merged.model === undefined) merged.model = defaults.model;
  const additions = Object.entries(merged).map(([key, value]) => ({
    key,
    text: `${JSON.stringify(key)}:${JSON.stringify(value)}`,
  }));
  return (line) => readFast(line, additions) ?? readSlowly(line, merged);
}

interface Addition {
  readonly key: string;
  readonly text: string;
}

/** Bytes pass through untouched; missing defaults are written after the opening brace. `null`: take the slow way. */
function readFast(line: Buffer, additions: readonly Addition[]): RequestLine | null {
  const members = scanObject(line);
  if (members === null) return null;
  let customId: string | null = null;
  let url: string | null = null;
  let body: Member | null = null;
  for (const member of members) {
    const key = memberKey(line, member);
    if (key === null) return null;
    if (key === 'custom_id') customId = textOf(line, member);
    else if (key === 'url') url = textOf(line, member);
    else if (key === 'body') body = member;
  }
  if (body === null) return null;
  const bytes = line.subarray(body.valueStart, body.valueEnd);
  const completed = completeBody(bytes, additions);
  return completed === null ? null : { customId, url, body: completed };
}

function completeBody(body: Buffer, additions: readonly Addition[]): Buffer | null {
  const members = scanObject(body);
  if (members === null) return null;
  const present = new Set<string>();
  for (const member of members) {
    const key = memberKey(body, member);
    if (
      key === null ||
      (key === 'stream' && body.toString('utf8', member.valueStart, member.valueEnd) === 'true')
    ) {
      return null;
    }
    present.add(key);
  }
  const missing = additions.filter((addition) => !present.has(addition.key));
  if (missing.length === 0) return body;
  const prefix = `{${missing.map((addition) => addition.text).join(',')}${members.length > 0 ? ',' : ''}`;
  return Buffer.concat([Buffer.from(prefix), body.subarray(body.indexOf('{') + 1)]);
}

function textOf(line: Buffer, member: Member): string | null {
  const value: unknown = JSON.parse(line.toString('utf8', member.valueStart, member.valueEnd));
  return value === null || value === undefined ? null : String(value);
}

/** For escaped keys and other oddities. An answer is one body, so `stream` is left out. */
function readSlowly(line: Buffer, additions: Readonly<Record<string, unknown>>): RequestLine | null {
  const parsed = parseObject(line.toString('utf8'));
  if (parsed === null) return null;
  const { custom_id: customId, url, body } = parsed;
  return {
    customId: customId === undefined || customId === null ? null : String(customId),
    url: typeof url === 'string' ? url : null,
    body: Buffer.from(
      JSON.stringify(isObject(body) ? withoutStream({ ...additions, ...body }) : (body ?? null)),
    ),
  };
}

function withoutStream(body: Record<string, unknown>): Record<string, unknown> {
  if (body.stream !== true) return body;
  const { stream: _stream, stream_options: _options, ...rest } = body;
  return rest;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}
