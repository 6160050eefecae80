import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { PRESETS, type PresetFlag } from './presets.js';

const PAGE = '../../../../docs/runner.md';
const BEGIN = '<!-- Made from the presets by packages/gpu-runner/src/engine/presets-page.test.ts -->\n';
const END = '<!-- End of what is made from the presets -->\n';

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

/** Every flag once, with the presets that have it. */
function flagRows(): string[][] {
  const rows = new Map<PresetFlag, string[]>();
  for (const [name, { address, flags }] of Object.entries(PRESETS)) {
    for (const flag of [...flags, ...address]) rows.set(flag, [...(rows.get(flag) ?? []), `\`${name}\``]);
  }
  // The same flag with other values stands together.
  const byName = [...rows].toSorted(([first], [second]) => first.name.localeCompare(second.name));
  return byName.map(([flag, names]) => [
    `\`${flag.name}${flag.value === null ? '' : ` ${flag.value}`}\``,
    names.join(', '),
    flag.why,
  ]);
}

/** After a change of a preset: `npx vitest run --project unit packages/gpu-runner/src/engine/presets-page -u`. */
test('docs/runner.md says what the presets are', async () => {
  const page = readFileSync(new URL(PAGE, import.meta.url), 'utf8');
  const [before, rest = ''] = page.split(BEGIN);
  const after = rest.slice(rest.indexOf(END));
  const presets = Object.entries(PRESETS).map(([name, { family, use, reserveShare, launchGraceMs }]) => {
    const reserve = reserveShare === 0 ? '0' : `${100 * reserveShare} % of the places`;
    return [`\`${name}\``, family, use, reserve, `${launchGraceMs / 1_000} s`];
  });
  const made = [
    table(['preset', 'engine', 'for', '`--reserve`', '`--launch-grace`'], presets),
    table(['flag', 'in', 'why'], flagRows()),
  ].join('\n\n');
  await expect([before, BEGIN, '\n', made, '\n\n', after].join('')).toMatchFileSnapshot(PAGE);
});
