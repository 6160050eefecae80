import { configKey, environmentName, type OptionSpec } from './options.js';
import type { Settings } from './settings.js';

/** The given settings as variables, for a child process or for a part that reads variables. Defaults are left out. */
export function toVariables(settings: Settings, specs: readonly OptionSpec[]): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const { flag, repeatable } of specs) {
    if (!settings.isGiven(flag)) continue;
    const text = repeatable ? settings.list(flag).join(',') : settings.text(flag);
    if (text !== undefined) variables[environmentName(flag)] = text;
  }
  return variables;
}

/** The given settings by camel-case name: lists for repeatable flags, booleans for switches, texts else. */
export function toOptions(settings: Settings, specs: readonly OptionSpec[]): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  for (const { flag, repeatable, value } of specs) {
    if (!settings.isGiven(flag)) continue;
    const key = configKey(flag);
    options[key] =
      value === undefined ? settings.switch(flag) : repeatable ? settings.list(flag) : settings.text(flag);
  }
  return options;
}

/**
 * A complaint of a part that reads variables, in the words in which its user gave them: `--port` for a flag, with the
 * file for what stands in one.
 */
export function namedAsGiven(message: string, settings: Settings, specs: readonly OptionSpec[]): string {
  let named = message;
  for (const { flag } of specs) {
    const source = settings.sourceOf(flag);
    const variable = environmentName(flag);
    if (!settings.isGiven(flag) || source === variable) continue;
    const place = source === 'flag' ? `--${flag}` : `--${flag} (set by ${source})`;
    named = named.replaceAll(new RegExp(`\\b${variable}\\b`, 'g'), () => place);
  }
  return named;
}
