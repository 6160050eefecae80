import { Injectable } from '@nestjs/common';
import type { Loop } from './loop.js';

/** Which of this process's loops hang. */
@Injectable()
export class LoopHealth {
  readonly #loops: Loop[] = [];

  watch(loop: Loop): void {
    this.#loops.push(loop);
  }

  /** Loops of which nothing was heard for too long: only a restart is sure to help. */
  hung(): { readonly loop: string; readonly silentSeconds: number }[] {
    return this.#loops
      .map((loop) => ({ loop: loop.name, silentSeconds: Math.round(loop.hungForMs() / 1_000) }))
      .filter(({ silentSeconds }) => silentSeconds > 0);
  }
}
