import type { Io } from '../io.js';
import type { Settings } from '../settings/settings.js';
import { jsonLine } from './json-line.js';

/** How a command speaks: to people on stderr, to programs as NDJSON events on stdout, or hardly at all. */
export class Talk {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly io: Io;

  constructor(io: Io, settings: Settings) {
    this.io = io;
    this.json = settings.switch('json');
    this.quiet = settings.switch('quiet');
  }

  /** A sentence for people. */
  say(text: string): void {
    if (!this.quiet && !this.json) this.io.writeError(`${text}\n`);
  }

  /** A sentence that even `--quiet` must not swallow. */
  warn(text: string): void {
    if (!this.json) this.io.writeError(`${text}\n`);
  }

  /** An event for programs: `{"event": …, "at": …}`. */
  async event(event: string, fields: Readonly<Record<string, unknown>>): Promise<void> {
    if (!this.json) return;
    await this.io.writeOut(jsonLine({ event, at: new Date().toISOString(), ...fields }));
  }
}
