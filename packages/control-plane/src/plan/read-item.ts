import type { ItemTable } from './item-table.js';
import {
  eachElement,
  eachMember,
  isArrayAt,
  isObjectAt,
  isStringAt,
  type Range,
  skipSeparators,
} from './json-members.js';
import type { PrefixKeys } from './prefix-keys.js';

/** Tokens of an answer without a limit. A running estimate by prefix may take its place. */
const OUTPUT_PRIOR = 256;

export interface ItemDefaults {
  /** Model of bodies without one. */
  readonly model: string;
  /** `max_tokens` of bodies without a limit; `null`: none. */
  readonly maxTokens: number | null;
  /** Bring identical bodies together, however short they are. */
  readonly reuse: boolean;
}

type BodyMember = 'model' | 'limit' | 'tools' | 'system' | 'messages' | 'text';

/** Body members that matter here, of every endpoint. Tools and system prompts stand before messages in every template. */
const MEMBERS: Readonly<Record<string, BodyMember>> = {
  model: 'model',
  max_tokens: 'limit',
  max_completion_tokens: 'limit',
  max_output_tokens: 'limit',
  tools: 'tools',
  system: 'system',
  instructions: 'system',
  messages: 'messages',
  input: 'text',
  prompt: 'text',
};

/** Writes what one input line says into the table. No value is built but the model's name. */
export function readItem(params: {
  line: Buffer;
  index: number;
  items: ItemTable;
  keys: PrefixKeys;
  defaults: ItemDefaults;
}): void {
  const { line, index, items, keys, defaults } = params;
  items.bytes[index] = line.length;
  const { body, members } = bodyOf(line);
  const model = members.get('model');
  items.models.set(index, model === undefined ? defaults.model : textAt(line, model));
  items.outputs[index] = expectedOutput(line, members, defaults);
  keys.begin(items.keysOf(index));
  for (const member of ['tools', 'system'] as const) {
    const range = members.get(member);
    if (range !== undefined) keys.addPiece(line, range.from, range.to);
  }
  const prompt = members.get('messages') ?? members.get('text');
  if (prompt !== undefined) addPrompt(line, prompt, keys);
  items.depths[index] = keys.firstDepth;
  if (defaults.reuse && body !== null) keys.seal(line, body.from, body.to);
}

function bodyOf(line: Buffer): { body: Range | null; members: Map<BodyMember, Range> } {
  const members = new Map<BodyMember, Range>();
  let body: Range | null = null;
  const start = skipSeparators(line, 0);
  if (!isObjectAt(line, start)) return { body, members };
  eachMember(line, start, (key, range) => {
    if (!isKey(line, key, 'body') || !isObjectAt(line, range.from)) return;
    body = range;
    eachMember(line, range.from, (name, value) => {
      // Longer keys are none of ours.
      if (name.to - name.from > 24) return;
      const member = MEMBERS[line.toString('latin1', name.from, name.to)];
      if (member !== undefined) members.set(member, value);
    });
  });
  return { body, members };
}

const isKey = (line: Buffer, { from, to }: Range, name: string): boolean =>
  to - from === name.length && line.toString('latin1', from, to) === name;

function textAt(line: Buffer, { from, to }: Range): string {
  if (!isStringAt(line, from)) return '';
  const text = line.toString('utf8', from + 1, to - 1);
  return text.includes('\\') ? String(JSON.parse(`"${text}"`)) : text;
}

/** A limit is what is known of an answer's length. Embeddings generate nothing. */
function expectedOutput(line: Buffer, members: Map<BodyMember, Range>, defaults: ItemDefaults): number {
  const limit = members.get('limit');
  const own = limit === undefined ? Number.NaN : Number(line.toString('latin1', limit.from, limit.to));
  const tokens = own > 0 ? own : (defaults.maxTokens ?? OUTPUT_PRIOR);
  return Math.min(Math.round(tokens), 0xffffff);
}

function addPrompt(line: Buffer, prompt: Range, keys: PrefixKeys): void {
  if (!isArrayAt(line, prompt.from)) {
    keys.addText(line, prompt.from, prompt.to);
    return;
  }
  let userSeen = false;
  eachElement(line, prompt.from, (element) => {
    if (!userSeen && !isFromOther(line, element)) {
      userSeen = true;
      keys.addText(line, element.from, element.to);
    } else keys.addPiece(line, element.from, element.to);
    return !keys.isFull;
  });
}

/** True for messages of the system, the developer or the assistant. */
function isFromOther(line: Buffer, element: Range): boolean {
  if (!isObjectAt(line, element.from)) return false;
  let other = false;
  eachMember(line, element.from, (key, value) => {
    if (isKey(line, key, 'role')) other = line.toString('latin1', value.from + 1, value.to - 1) !== 'user';
  });
  return other;
}
