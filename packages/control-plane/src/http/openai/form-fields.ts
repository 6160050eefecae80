import { LIMITS } from '@batch-infer/contracts';
import { FILE_PURPOSES } from '@batch-infer/contracts/openai';
import { DomainError } from '../../errors.js';
import type { FileOptions } from '../../files/files.js';
import { FORM_FIELD_BYTES } from '../content-parsers.js';

const SHOWN_CHARS = 80;

/** The fields of a form beside its file, in whatever form a client sends them. What is wrong is told at its end. */
export class FormFields {
  readonly #values = new Map<string, unknown>();
  readonly #twice = new Set<string>();
  readonly #cut = new Set<string>();

  /** `value`: a text, or what a part of JSON holds. */
  add(name: string, value: unknown, isCut: boolean): void {
    if (this.#values.has(name)) this.#twice.add(name);
    if (isCut) this.#cut.add(name);
    this.#values.set(name, value);
  }

  addTwice(name: string): void {
    this.#twice.add(name);
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  get(name: string): unknown {
    return this.#values.get(name);
  }

  /** @throws DomainError `invalid_parameter` for a field that comes twice or is too long */
  assertReadable(): void {
    for (const name of this.#twice) throw invalid(name, 'came twice: send it once');
    for (const name of this.#cut) throw invalid(name, `is longer than ${FORM_FIELD_BYTES} bytes`);
  }

  /** @throws DomainError `invalid_parameter` for a field that is not among these */
  assertKnown(names: readonly string[]): void {
    for (const name of this.#values.keys()) {
      if (names.includes(name)) continue;
      const known = names.length === 0 ? 'There is none beside the file.' : `Known: ${names.join(', ')}.`;
      throw invalid(name, `is not a known field. ${known}`, 'unknown_parameter');
    }
  }
}

function invalid(param: string, problem: string, code = 'invalid_parameter'): DomainError {
  const shown = param.slice(0, SHOWN_CHARS);
  const message = `${shown} ${problem.replace(/\.$/, '')}`;
  return new DomainError('invalid_parameter', `${message}.`, {
    param: shown,
    errors: [{ line: null, param: shown, code, message }],
  });
}

/** `expires_after` as SDKs write it: in brackets, in dots, or as one field of JSON. */
const EXPIRY_FORMS = {
  anchor: ['expires_after[anchor]', 'expires_after.anchor'],
  seconds: ['expires_after[seconds]', 'expires_after.seconds'],
} as const;

const KNOWN = ['purpose', 'expires_after', ...EXPIRY_FORMS.anchor, ...EXPIRY_FORMS.seconds];

/** @throws DomainError `missing_parameter`, `invalid_parameter` */
export function fileOptionsOf(fields: FormFields): FileOptions {
  fields.assertKnown(KNOWN);
  const purpose = fields.get('purpose');
  if (purpose === undefined || purpose === null || purpose === '') {
    throw new DomainError(
      'missing_parameter',
      'purpose is missing. For the input of a batch it is "batch".',
      { param: 'purpose' },
    );
  }
  const known = FILE_PURPOSES.find((one) => one === purpose);
  if (known === undefined) throw invalid('purpose', `must be one of ${FILE_PURPOSES.join(', ')}`);
  return { purpose: known, expiresAfterSeconds: expiryOf(fields) };
}

function expiryOf(fields: FormFields): number | null {
  const whole = wholeExpiryOf(fields.get('expires_after'));
  const anchor = partOf(fields, 'anchor', whole);
  const given = partOf(fields, 'seconds', whole);
  if (anchor === undefined && given === undefined) return null;
  const seconds = typeof given === 'string' && given.trim() !== '' ? Number(given) : given;
  const { fileExpiryMinSeconds: least, fileExpiryMaxSeconds: most } = LIMITS;
  if (anchor !== 'created_at') throw invalid('expires_after.anchor', 'must be "created_at"');
  if (typeof seconds !== 'number' || !Number.isInteger(seconds) || seconds < least || seconds > most) {
    throw invalid('expires_after.seconds', `must be a whole number from ${least} to ${most}`);
  }
  return seconds;
}

/** One part of the expiry, however it was written; `null` counts as left out. */
function partOf(fields: FormFields, part: keyof typeof EXPIRY_FORMS, whole: Expiry): unknown {
  const values = [whole[part], ...EXPIRY_FORMS[part].map((name) => fields.get(name))];
  const given = values.filter((value) => value !== undefined && value !== null);
  if (given.length > 1) throw invalid(`expires_after.${part}`, 'came twice: send it once');
  return given[0];
}

interface Expiry {
  readonly anchor?: unknown;
  readonly seconds?: unknown;
}

function wholeExpiryOf(field: unknown): Expiry {
  const value = typeof field === 'string' ? parsed(field) : field;
  if (value === undefined || value === null || value === '') return {};
  const example = '{"anchor":"created_at","seconds":86400}';
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw invalid('expires_after', `must be a JSON object such as ${example}`);
  }
  const unknown = Object.keys(value).find((key) => key !== 'anchor' && key !== 'seconds');
  if (unknown !== undefined) {
    throw invalid(`expires_after.${unknown}`, `is not a known field. Send ${example}`, 'unknown_parameter');
  }
  if (Object.keys(value).length === 0) throw invalid('expires_after', `is empty. Send ${example}`);
  return value;
}

function parsed(text: string): unknown {
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
