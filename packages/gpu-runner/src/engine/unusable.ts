import { isJsonObject } from './answer.js';
import { engineWords, looksLikeHtml, safeText } from './engine-words.js';
import type { EngineAnswer } from './reply.js';

export interface Unusable {
  /** What came instead of an answer, with its content type and its first characters. */
  readonly message: string;
  /** The engine would say the same again. */
  readonly saidAgain: boolean;
}

const START_CHARACTERS = 60;
const JUDGED_CHARACTERS = 1_000_000;
const TYPE_CHARACTERS = 60;
const SHOWN_KEYS = 6;

/** Names what came with status 200 to 399 instead of an answer that can be used. */
export function describeUnusable(reply: EngineAnswer, text: string): Unusable {
  const type = safeText(reply.contentType ?? '', TYPE_CHARACTERS);
  const [kind, saidAgain = true] = kindOf(reply, text);
  const shown = startOf(reply, text);
  const facts = [
    `status ${reply.status}`,
    type === '' ? 'no content type' : type,
    ...(shown === '' ? [] : [`it begins "${shown}"`]),
  ];
  return { message: `The engine answered with ${kind} (${facts.join(', ')}).`, saidAgain };
}

type Kind = readonly [kind: string, saidAgain?: boolean];

function kindOf({ status, body, encoding, location }: EngineAnswer, text: string): Kind {
  const start = text.slice(0, 512).trimStart();
  if (status >= 300 && status < 400) {
    const target = safeText(location ?? '', 200);
    return [
      `a redirect${target === '' ? '' : ` to ${withoutSecrets(target)}`}: give --engine-url the address it leads to`,
    ];
  }
  if (body.length === 0) return ['an empty body', false];
  if (body[0] === 0x1f && body[1] === 0x8b) return ['gzip, though none was asked for'];
  if (encoding !== undefined && encoding !== 'identity') {
    return [`an encoding that nobody asked for, ${safeText(encoding, 20)},`];
  }
  if ((body[0] === 0xff && body[1] === 0xfe) || (body[0] === 0xfe && body[1] === 0xff)) return ['UTF-16'];
  if (start === '') return ['white space only', false];
  if (/^(?:data|event|id|retry)?:/.test(start)) return ['a stream of events, though none was asked for'];
  // A page or some text may come from something between us and the engine, and be gone the next time.
  if (looksLikeHtml(start)) return ['a page of HTML', false];
  if (start.startsWith('<')) return ['XML', false];
  return kindOfJson(text, start);
}

function kindOfJson(text: string, start: string): Kind {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return kindOfBroken(text, start);
  }
  if (Array.isArray(value)) return [`a list of ${value.length} instead of an object`];
  if (!isJsonObject(value))
    return [`${value === null ? 'null' : `a bare ${typeof value}`} instead of an object`];
  const keys = Object.keys(value)
    .slice(0, SHOWN_KEYS)
    .map((key) => safeText(key, 30));
  return [keys.length === 0 ? 'an empty object' : `an object that is no answer, with ${keys.join(', ')},`];
}

function kindOfBroken(text: string, start: string): Kind {
  if (text.startsWith('\uFEFF')) return ['JSON behind a byte order mark'];
  if (!/^[{["]/.test(start)) return ['text that is no JSON', false];
  const outside = text.slice(0, JUDGED_CHARACTERS).replace(/"(?:[^"\\]|\\.)*"/g, '""');
  const bare = /(?<![\w-])(?:-?NaN|-?Infinity|undefined|None|True|False)\b/.exec(outside)?.[0];
  if (bare !== undefined) return [`${bare}, which is no JSON`];
  if (/\}\s*\n\s*\{/.test(outside)) return ['several objects instead of one'];
  if (/,\s*[}\]]/.test(outside)) return ['JSON with a comma too many'];
  if (/^\{\s*'/.test(start)) return ['JSON in single quotes'];
  return /[}\]]\s*$/.test(text) ? ['JSON that cannot be read'] : ['JSON that is cut off', false];
}

/** Of a page its title, of text its start; of JSON nothing, which may be a completion. */
function startOf({ body, encoding }: EngineAnswer, text: string): string {
  if (body.length === 0 || encoding !== undefined || body[0] === 0x1f) return '';
  const start = text.slice(0, 8_192).trimStart();
  if (/^[{[]/.test(start)) return '';
  const words = looksLikeHtml(start) ? (engineWords(start, undefined) ?? '') : start;
  return safeText(words, START_CHARACTERS).replaceAll('"', "'");
}

/** An address without user, password and query. */
function withoutSecrets(address: string): string {
  return address.replace(/\/\/[^/@]*@/, '//').replace(/[?#].*$/, '');
}
