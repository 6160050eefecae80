import { scanObject } from './json-scan.js';

/** Prompts that share less than this (about 256 tokens) gain nothing from being at one engine. */
const PREFIX_BYTES = 1_024;
/** Members that a prompt begins with, in the order in which chat templates write them. */
const PROMPT_MEMBERS = ['system', 'instructions', 'messages', 'prompt', 'input'];

/** A hash of the first KiB of a body's prompt: equal for prompts that begin alike. Cheap, and no more than a hint. */
export function prefixKeyOf(body: Uint8Array): number {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const members = scanObject(bytes)?.members ?? [];
  let hash = 0x811c9dc5;
  let left = PREFIX_BYTES;
  for (const name of PROMPT_MEMBERS) {
    const member = members.find(
      ({ keyStart, keyEnd }) => bytes.toString('latin1', keyStart, keyEnd) === name,
    );
    if (member === undefined) continue;
    const end = Math.min(member.valueEnd, member.valueStart + left);
    hash = hashBytes(bytes, member.valueStart, end, hash);
    left -= end - member.valueStart;
    if (left === 0) break;
  }
  return hash;
}

/**
 * Rendezvous hashing: the engine that a prefix is at home at. When one comes or goes, only its own prefixes move.
 * `null` when there is none.
 */
export function homeOf(prefixKey: number, engines: readonly string[]): string | null {
  let home: string | null = null;
  let best = -1;
  for (const engine of engines) {
    const weight = hashBytes(Buffer.from(engine), 0, engine.length, mixed(prefixKey)) >>> 0;
    if (weight <= best) continue;
    best = weight;
    home = engine;
  }
  return home;
}

/** FNV-1a with a last mixing: names that differ in their last character only must not weigh alike. */
function hashBytes(bytes: Buffer, start: number, end: number, seed: number): number {
  let hash = seed;
  for (let at = start; at < end; at += 1) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x01000193);
  return mixed(hash);
}

function mixed(value: number): number {
  let hash = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
