import { EXIT } from './exit-codes.js';

/** An end with a message for people: what happened, why, and the next command. */
export class CliError extends Error {
  override name = 'CliError';
  readonly exitCode: number;
  /** The next step, if there is one. */
  readonly next: string | null;

  constructor(exitCode: number, message: string, next: string | null = null, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
    this.next = next;
  }
}

export const usageError = (message: string, next: string | null = null): CliError =>
  new CliError(EXIT.usage, message, next);
