import { parseDurationMs } from '@batch-infer/contracts';
import { usageError } from '../cli-error.js';
import { environmentName, type OptionSpec } from './options.js';
import { type RefusedSetting, UNTRUSTED_FLAGS } from './project-file.js';

export type RawValue = string | boolean | readonly string[];

/** Where a value comes from, as `config show --sources` says it. */
export interface Sourced {
  readonly value: RawValue;
  /** `flag`, `BATCH_INFER_…`, a file's path, or `default`. */
  readonly source: string;
}

/** The settings of one command, merged: flags, environment, configuration files, defaults. Getters check as they read. */
export class Settings {
  readonly #values: ReadonlyMap<string, Sourced>;
  /** What an untrusted file would have decided; not among the values. */
  readonly refused: readonly RefusedSetting[];

  constructor(values: ReadonlyMap<string, Sourced>, refused: readonly RefusedSetting[] = []) {
    this.#values = values;
    this.refused = refused;
  }

  entries(): IterableIterator<[string, Sourced]> {
    return this.#values.entries();
  }

  isSet(flag: string): boolean {
    return this.#values.has(flag);
  }

  /** True when somebody said so, not just a default. */
  isGiven(flag: string): boolean {
    const source = this.#values.get(flag)?.source;
    return source !== undefined && source !== 'default';
  }

  /** Where the value comes from; undefined without one. */
  sourceOf(flag: string): string | undefined {
    return this.#values.get(flag)?.source;
  }

  switch(flag: string): boolean {
    const value = this.#values.get(flag)?.value ?? false;
    if (typeof value === 'boolean') return value;
    if (['1', 'true', 'yes'].includes(String(value))) return true;
    if (['0', 'false', 'no', ''].includes(String(value))) return false;
    throw this.#wrong(flag, 'must be true or false');
  }

  text(flag: string): string | undefined {
    const value = this.#values.get(flag)?.value;
    if (value === undefined || typeof value === 'string') return value;
    if (typeof value === 'boolean') throw this.#wrong(flag, 'needs a value');
    return value.at(-1);
  }

  list(flag: string): readonly string[] {
    const value = this.#values.get(flag)?.value;
    if (value === undefined || typeof value === 'boolean') return [];
    const parts = typeof value === 'string' ? value.split(',') : value;
    return parts.map((part) => part.trim()).filter((part) => part !== '');
  }

  number(flag: string, limits: { min: number; max?: number; whole?: boolean }): number | undefined {
    const text = this.text(flag);
    if (text === undefined) return undefined;
    const { min, max = Number.POSITIVE_INFINITY, whole = true } = limits;
    const value = text.trim() === '' ? Number.NaN : Number(text);
    if (!(value >= min && value <= max) || (whole && !Number.isInteger(value))) {
      const range = max === Number.POSITIVE_INFINITY ? `from ${min} up` : `from ${min} to ${max}`;
      throw this.#wrong(flag, `must be a ${whole ? 'whole ' : ''}number ${range}`);
    }
    return value;
  }

  /** `"90s"`, `"30m"`, `"24h"`, or a plain number of seconds, in milliseconds. */
  durationMs(flag: string): number | undefined {
    const text = this.text(flag);
    if (text === undefined) return undefined;
    const durationMs = /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : parseDurationMs(text);
    if (durationMs === null) throw this.#wrong(flag, 'must be a time such as 90s, 30m or 24h');
    return durationMs;
  }

  choice<Choice extends string>(flag: string, choices: readonly Choice[]): Choice | undefined {
    const text = this.text(flag);
    if (text === undefined) return undefined;
    const choice = choices.find((candidate) => candidate === text);
    if (choice === undefined) throw this.#wrong(flag, `must be one of ${choices.join(', ')}`);
    return choice;
  }

  #wrong(flag: string, rule: string): Error {
    const source = this.#values.get(flag)?.source;
    const place = source === undefined || source === 'flag' ? '' : ` (set by ${source})`;
    return usageError(`--${flag} ${rule}${place}`);
  }
}

/** A layer of values below the flags. */
export interface Layer {
  readonly name: string;
  readonly values: Readonly<Record<string, unknown>>;
  /** True for a file that somebody else may have written: it sets nothing but `UNTRUSTED_FLAGS`. */
  readonly untrusted?: boolean;
}

/** Merges flags over environment over the layers (first wins) over defaults. */
export function mergeSettings(
  specs: readonly OptionSpec[],
  sources: {
    flags: Readonly<Record<string, unknown>>;
    environment: Readonly<Record<string, string | undefined>>;
    layers: readonly Layer[];
  },
): Settings {
  const values = new Map<string, Sourced>();
  const refused: RefusedSetting[] = [];
  for (const spec of specs) {
    const found = findValue(spec, sources, (source) => refused.push({ flag: spec.flag, source }));
    if (found !== undefined) values.set(spec.flag, found);
  }
  return new Settings(values, refused);
}

function findValue(
  spec: OptionSpec,
  sources: Parameters<typeof mergeSettings>[1],
  refuse: (source: string) => void,
): Sourced | undefined {
  const flag = toRaw(sources.flags[spec.flag]);
  if (flag !== undefined) return { value: flag, source: 'flag' };
  const variable = environmentName(spec.flag);
  const text = sources.environment[variable];
  if (text !== undefined && text !== '') return { value: text, source: variable };
  for (const layer of sources.layers) {
    const value = Object.hasOwn(layer.values, spec.flag) ? toRaw(layer.values[spec.flag]) : undefined;
    if (value !== undefined && layer.untrusted && !UNTRUSTED_FLAGS.has(spec.flag)) refuse(layer.name);
    else if (value !== undefined) return { value, source: layer.name };
  }
  return spec.default === undefined ? undefined : { value: spec.default, source: 'default' };
}

function toRaw(value: unknown): RawValue | undefined {
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return String(value);
  if (Array.isArray(value)) return value.map(String);
  return undefined;
}
