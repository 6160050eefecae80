import { isExactNumber } from '@batch-infer/contracts';
import { isJsonObject, type Json, parseExactObject } from '../engine/answer.js';
import { hasEscapedKey, hasKey, type Member, scanObject } from './json-scan.js';

/** What a job adds to each of its bodies. */
export interface BodyDefaults {
  /** Model of bodies without one. */
  readonly model: string | null;
  /** Top-level members of bodies that lack them; numbers may be kept as their text, see `parseExactJson`. */
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
    key: Buffer.from(JSON.stringify(key).slice(1, -1)),
    text: `${JSON.stringify(key)}:${JSON.stringify(value)}`,
  }));
  return (line) => readFast(line, additions) ?? readSlowly(line, merged);
}

interface Addition {
  readonly key: Buffer;
  readonly text: string;
}

const CUSTOM_ID = Buffer.from('custom_id');
const URL_KEY = Buffer.from('url');
const BODY = Buffer.from('body');
const STREAM = Buffer.from('stream');
const MODEL = Buffer.from('model');

/** Bytes pass through untouched; missing defaults are written after the opening brace. `null`: take the slow way. */
function readFast(line: Buffer, additions: readonly Addition[]): RequestLine | null {
  const scanned = scanObject(line, 0, BODY);
  if (scanned === null || hasEscapedKey(line, scanned.members)) return null;
  let customId: string | null = null;
  let url: string | null = null;
  let body: Member | null = null;
  for (const member of scanned.members) {
    if (hasKey(line, member, CUSTOM_ID)) customId = textOf(line, member);
    else if (hasKey(line, member, URL_KEY)) url = textOf(line, member);
    else if (hasKey(line, member, BODY)) body = member;
  }
  if (body === null) return null;
  const completed = completeBody(line, body, additions);
  return completed === null ? null : { customId, url, body: completed };
}

function completeBody(line: Buffer, body: Member, additions: readonly Addition[]): Buffer | null {
  const { members, valueStart, valueEnd } = body;
  if (members === null || hasEscapedKey(line, members) || asksForStream(line, members)) return null;
  const missing = additions.filter(({ key }) => !members.some((member) => hasKey(line, member, key)));
  const noModel = members.find((member) => hasKey(line, member, MODEL) && isNull(line, member));
  const model = noModel === undefined ? undefined : additions.find(({ key }) => key.equals(MODEL));
  if (noModel !== undefined && model !== undefined)
    return withModel(line, body, { at: noModel, model, missing });
  if (missing.length === 0) return line.subarray(valueStart, valueEnd);
  return Buffer.concat([prefixOf(missing, members), line.subarray(valueStart + 1, valueEnd)]);
}

/** The opening brace and what a body lacks. */
const prefixOf = (missing: readonly Addition[], members: readonly Member[]): Buffer =>
  Buffer.from(
    `{${missing.map(({ text }) => text).join(',')}${missing.length > 0 && members.length > 0 ? ',' : ''}`,
  );

/** A model that is null is none: the job's takes its place. */
function withModel(
  line: Buffer,
  { members, valueStart, valueEnd }: Member,
  { at, model, missing }: { at: Member; model: Addition; missing: readonly Addition[] },
): Buffer {
  return Buffer.concat([
    prefixOf(missing, members ?? []),
    line.subarray(valueStart + 1, at.valueStart),
    Buffer.from(model.text.slice(model.text.indexOf(':') + 1)),
    line.subarray(at.valueEnd, valueEnd),
  ]);
}

const isNull = (line: Buffer, { valueStart, valueEnd }: Member): boolean =>
  line.toString('latin1', valueStart, valueEnd) === 'null';

const asksForStream = (line: Buffer, members: readonly Member[]): boolean =>
  members.some(
    (member) =>
      hasKey(line, member, STREAM) && line.toString('latin1', member.valueStart, member.valueEnd) === 'true',
  );

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

function textOf(line: Buffer, member: Member): string | null {
  const { valueStart, valueEnd } = member;
  const isPlain = line[valueStart] === QUOTE && !line.subarray(valueStart, valueEnd).includes(BACKSLASH);
  if (isPlain) return line.toString('utf8', valueStart + 1, valueEnd - 1);
  const text = line.toString('utf8', valueStart, valueEnd);
  const value: unknown = JSON.parse(text);
  if (value === null) return null;
  return typeof value === 'string' ? value : text;
}

/** For escaped keys and other oddities; numbers stay as they were written. An answer is one body, so `stream` is left out. */
function readSlowly(line: Buffer, additions: Readonly<Record<string, unknown>>): RequestLine | null {
  const parsed = parseExactObject(line.toString('utf8'));
  if (parsed === null) return null;
  const { custom_id: customId, url, body } = parsed;
  return {
    customId: customId === undefined || customId === null ? null : textOfId(customId),
    url: typeof url === 'string' ? url : null,
    body: Buffer.from(
      JSON.stringify(
        isJsonObject(body) && !isExactNumber(body) ? withoutStream(merge(additions, body)) : (body ?? null),
      ),
    ),
  };
}

const textOfId = (customId: unknown): string =>
  typeof customId === 'string' ? customId : JSON.stringify(customId);

/** A body's own members win; only a model that is null is none. */
function merge(additions: Json, body: Json): Json {
  const merged = { ...additions, ...body };
  return body.model === null && additions.model !== undefined
    ? { ...merged, model: additions.model }
    : merged;
}

function withoutStream(body: Json): Json {
  if (body.stream !== true) return body;
  const { stream: _stream, stream_options: _options, ...rest } = body;
  return rest;
}
