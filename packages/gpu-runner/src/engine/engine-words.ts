import { isJsonObject, type Json } from './answer.js';

const MESSAGE_CHARACTERS = 2_000;
const SHOWN_ENTRIES = 5;
const TEXT_CHARACTERS = 300;

/**
 * What an engine says of a refusal, in whatever form: OpenAI's `error.message`, a bare `error`, FastAPI's `detail` (text,
 * object or list), `message`, `errors`, a page of HTML (its title), plain text. `undefined` where it says nothing.
 */
export function engineWords(text: string, json: unknown): string | undefined {
  const words = json === undefined ? wordsOfText(text) : wordsOfJson(json, 0);
  const line = words === undefined ? '' : safeText(words, MESSAGE_CHARACTERS);
  return line === '' ? undefined : line;
}

/** One line that a terminal and a log can show: control characters and line breaks become spaces. */
export function safeText(text: string, characters: number): string {
  const line = text
    .slice(0, 4 * characters)
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s\uFFFD]+/gu, ' ')
    .trim();
  return line.length > characters ? `${line.slice(0, characters - 1)}…` : line;
}

const KEYS = ['error', 'detail', 'message', 'errors', 'msg', 'error_description', 'title', 'reason'] as const;
const MAX_DEPTH = 4;

function wordsOfJson(value: unknown, depth: number): string | undefined {
  if (typeof value === 'string') return value.trim() === '' ? undefined : value;
  if (depth > MAX_DEPTH) return undefined;
  if (Array.isArray(value)) {
    const entries = value.slice(0, SHOWN_ENTRIES).flatMap((entry) => wordsOfJson(entry, depth + 1) ?? []);
    if (value.length > SHOWN_ENTRIES) entries.push(`and ${value.length - SHOWN_ENTRIES} more`);
    return entries.length === 0 ? undefined : entries.join('; ');
  }
  if (!isJsonObject(value)) return undefined;
  const own = ['message', ...KEYS].find((key) => wordsIn(value, key, depth) !== undefined);
  if (own === undefined) return undefined;
  const words = wordsIn(value, own, depth);
  const place = placeOf(value);
  return place === null ? words : `${place}: ${words}`;
}

const wordsIn = (object: Json, key: string, depth: number): string | undefined =>
  Object.hasOwn(object, key) ? wordsOfJson(object[key], depth + 1) : undefined;

/** FastAPI's `loc`: where in the request the mistake is. */
function placeOf({ loc }: Json): string | null {
  if (!Array.isArray(loc)) return null;
  const parts = loc.filter((part) => typeof part === 'string' || typeof part === 'number');
  return parts.length === 0 ? null : parts.join('.');
}

function wordsOfText(text: string): string | undefined {
  const start = text.slice(0, 8_192);
  if (!looksLikeHtml(start)) return start.slice(0, TEXT_CHARACTERS);
  const title = /<title[^>]*>([^<]{1,200})/i.exec(start)?.[1] ?? /<h1[^>]*>([^<]{1,200})/i.exec(start)?.[1];
  return title === undefined ? undefined : title;
}

export const looksLikeHtml = (text: string): boolean =>
  /^\s*(?:<!doctype html|<html|<head|<body)/i.test(text);
