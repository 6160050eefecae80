import { createReadStream, createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { MODEL } from './harness/engine.ts';
import { seededRandom } from './stats.ts';

export interface InputOptions {
  readonly file: string;
  readonly items: number;
  /** Makes bodies unlike those of other inputs. */
  readonly salt: string;
  /** Default 2,300. */
  readonly lineBytes?: number;
  /** Every n-th item says `poison`, for faults that strike by content. */
  readonly poisonEvery?: number;
}

export interface Input {
  readonly file: string;
  readonly items: number;
  readonly bytes: number;
}

const DEFAULT_LINE_BYTES = 2_300;
const WORDS = [
  'the',
  'engine',
  'waits',
  'for',
  'work',
  'that',
  'never',
  'ends',
  'and',
  '"so"',
  'on\n',
  'naïve',
];
const LINES_PER_WRITE = 500;

/** Writes a JSONL file in OpenAI's batch format: chat completions with distinct bodies of one size. */
export function writeInput(options: InputOptions): Promise<Input> {
  return writeLines(options.file, options.items, (index) => lineOf(index, options));
}

/** Writes a file of so many lines. Each comes with its line feed. */
export async function writeLines(
  file: string,
  items: number,
  lineAt: (index: number) => string,
): Promise<Input> {
  let bytes = 0;
  function* chunks(): Generator<Buffer> {
    for (let first = 0; first < items; first += LINES_PER_WRITE) {
      const count = Math.min(LINES_PER_WRITE, items - first);
      const chunk = Buffer.from(
        Array.from({ length: count }, (_, offset) => lineAt(first + offset)).join(''),
      );
      bytes += chunk.length;
      yield chunk;
    }
  }
  await pipeline(Readable.from(chunks(), { objectMode: false }), createWriteStream(file));
  return { file, items, bytes };
}

function lineOf(index: number, { salt, poisonEvery, lineBytes = DEFAULT_LINE_BYTES }: InputOptions): string {
  const poison = poisonEvery !== undefined && index % poisonEvery === 0 ? ' poison' : '';
  const marker = `${salt} ${index}${poison} `;
  const frame = line(index, marker);
  return line(index, marker + filler(index, lineBytes - Buffer.byteLength(frame)));
}

const line = (index: number, content: string): string => batchLine(index, chatBody(content));

/** A line of OpenAI's batch format, with its line feed. */
export function batchLine(index: number, body: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify({ custom_id: `item-${index}`, method: 'POST', url: '/v1/chat/completions', body })}\n`;
}

/** The body of one request. */
export function chatBody(content: string) {
  return {
    model: MODEL,
    messages: [
      { role: 'system', content: 'You are a careful reader. Answer in one short sentence.' },
      { role: 'user', content },
    ],
    max_tokens: 64,
    temperature: 0,
  };
}

/** Text of about that many bytes once it is JSON. */
function filler(seed: number, bytes: number): string {
  const random = seededRandom(seed);
  const parts: string[] = [];
  for (let written = 0; written < bytes; ) {
    const word = WORDS[Math.floor(random() * WORDS.length)] ?? '';
    parts.push(word);
    written += Buffer.byteLength(JSON.stringify(word)) - 1;
  }
  return parts.join(' ');
}

/** The bodies of an input, ready to send. */
export async function readBodies(input: Input): Promise<Buffer[]> {
  const bodies: Buffer[] = [];
  for await (const text of createInterface({
    input: createReadStream(input.file),
    crlfDelay: Number.POSITIVE_INFINITY,
  })) {
    const { body } = JSON.parse(text) as { body: unknown };
    bodies.push(Buffer.from(JSON.stringify(body)));
  }
  return bodies;
}
