import type { Logger } from 'kysely';
import { reportProgress } from '../loops/progress.js';

/** Told of each statement that was run: its text, and how many parameters were bound. */
export type OnStatement = (statement: { readonly text: string; readonly parameters: number }) => void;

/** Every statement that ends shows that its loop still goes on. */
export const statementLog =
  (onStatement?: OnStatement): Logger =>
  ({ query: { sql: text, parameters } }) => {
    reportProgress();
    onStatement?.({ text, parameters: parameters.length });
  };
