import { EXIT } from './exit-codes.js';
import { isForegroundOfNpm } from './npm-parent.js';

/** How soon the end of npm's shell is noticed. */
const PARENT_CHECK_MS = 500;
/** Time for what must still happen when a second signal ends the process. */
const LAST_MOMENT_MS = 1_500;

export type StopSignal = 'SIGINT' | 'SIGTERM' | 'disconnect';

/** The user's wish to stop, as the reason of an abort. */
export class Interrupt extends Error {
  override name = 'Interrupt';
  readonly exitCode: number;
  readonly signal: StopSignal;

  constructor(signal: StopSignal) {
    super(signal === 'disconnect' ? 'the parent process is gone' : `stopped by ${signal}`);
    this.signal = signal;
    this.exitCode = signal === 'SIGINT' ? EXIT.interrupted : EXIT.terminated;
  }
}

/**
 * Turns signals into one abort signal: the first SIGINT, SIGTERM, or loss of the parent process that started us (with a
 * channel, or npm's shell) asks for an orderly end, a second signal ends at once.
 */
export class Interrupts implements Disposable {
  /** What must still be done when a second signal comes, such as ending children. Cut off after 1.5 seconds. */
  lastMoment: () => Promise<unknown> = async () => undefined;
  readonly #controller = new AbortController();
  #parentCheck: ReturnType<typeof setInterval> | undefined;
  readonly #listeners = {
    SIGINT: () => this.#stop('SIGINT'),
    SIGTERM: () => this.#stop('SIGTERM'),
    disconnect: () => this.#stop('disconnect'),
  };

  constructor() {
    process.on('SIGINT', this.#listeners.SIGINT).on('SIGTERM', this.#listeners.SIGTERM);
    if (process.connected) process.on('disconnect', this.#listeners.disconnect);
    else if (isForegroundOfNpm(process.env)) this.#watchParent(process.ppid);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Resolves to the first wish to stop. */
  async wait(): Promise<Interrupt> {
    if (!this.signal.aborted) {
      await new Promise((resolve) => this.signal.addEventListener('abort', resolve, { once: true }));
    }
    return this.signal.reason;
  }

  [Symbol.dispose](): void {
    process.off('SIGINT', this.#listeners.SIGINT).off('SIGTERM', this.#listeners.SIGTERM);
    process.off('disconnect', this.#listeners.disconnect);
    clearInterval(this.#parentCheck);
  }

  #watchParent(parent: number): void {
    this.#parentCheck = setInterval(() => {
      if (process.ppid === parent) return;
      clearInterval(this.#parentCheck);
      this.#stop('disconnect');
    }, PARENT_CHECK_MS).unref();
  }

  #stop(signal: StopSignal): void {
    const interrupt = new Interrupt(signal);
    if (!this.signal.aborted) {
      this.#controller.abort(interrupt);
      return;
    }
    if (signal === 'disconnect') return;
    const exit = () => process.exit(interrupt.exitCode);
    setTimeout(exit, LAST_MOMENT_MS);
    this.lastMoment().then(exit, exit);
  }
}
