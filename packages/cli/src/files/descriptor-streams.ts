import { createReadStream, createWriteStream, fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { isatty, ReadStream as TerminalInput } from 'node:tty';

/**
 * Streams over open descriptors. Pipes go through the event loop: a thread that waits in `read` or `write` for the other
 * end could not be interrupted, and would keep the process from ending.
 */

/** Reads from where the descriptor stands. Closes it at the end. */
export function readDescriptor(descriptor: number): Readable {
  if (isPipe(descriptor)) return new Socket({ fd: descriptor, readable: true, writable: false });
  if (isatty(descriptor)) return new TerminalInput(descriptor);
  return createReadStream('', { fd: descriptor });
}

/** Writes where the descriptor stands. Closes it at the end. */
export function writeDescriptor(descriptor: number): Writable {
  if (isPipe(descriptor)) return new Socket({ fd: descriptor, readable: false, writable: true });
  return createWriteStream('', { fd: descriptor });
}

function isPipe(descriptor: number): boolean {
  const stats = fstatSync(descriptor);
  return stats.isFIFO() || stats.isSocket();
}
