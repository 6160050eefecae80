import { toSingleLine } from '@batch-infer/contracts';

/**
 * A value as one line of JSON, line feed included. It is one line for every reader: what some take for a line break
 * (U+2028, U+2029, U+0085) is escaped.
 */
export const jsonLine = (value: unknown): string => `${toSingleLine(JSON.stringify(value))}\n`;
