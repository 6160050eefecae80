import { mkdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LastAlive } from '../dispatch/outage-watch.js';

/**
 * When a server last lived in a data folder, so that the time in which none did is forgiven (I13): an embedded ledger is
 * away whenever its server is.
 */
export class Heartbeat implements LastAlive {
  readonly #file: string;

  constructor(dataDir: string) {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    this.#file = join(dataDir, 'alive');
  }

  /** `null` in a new folder. */
  async read(): Promise<number | null> {
    return statSync(this.#file, { throwIfNoEntry: false })?.mtimeMs ?? null;
  }

  async write(nowMs: number): Promise<void> {
    const time = nowMs / 1_000;
    try {
      utimesSync(this.#file, time, time);
    } catch {
      writeFileSync(this.#file, '', { mode: 0o600 });
    }
  }
}
