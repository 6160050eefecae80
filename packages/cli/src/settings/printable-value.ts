import type { OptionSpec } from './options.js';

/** A setting for people to read: without keys, passwords and what may be a token in an address. */
export async function printableValue(spec: OptionSpec, text: string): Promise<string> {
  if (spec.secret) return '(secret)';
  if (spec.flag === 'launch') {
    const { printableCommandLine } = await import('@batch-infer/gpu-runner');
    return withoutTokens(printableCommandLine(text));
  }
  // Receivers of chat systems carry their token in the path.
  if (spec.flag === 'webhook') return URL.canParse(text) ? `${new URL(text).origin}/…` : '(not a URL)';
  return withoutTokens(text);
}

/** Addresses anywhere in the text lose user, password and query. */
const withoutTokens = (text: string): string =>
  text.replaceAll(/(:\/\/)[^/\s]*@/g, '$1***@').replaceAll(/(:\/\/[^\s?,'"]*)\?[^\s,'"]*/g, '$1?***');
