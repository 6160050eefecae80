import { ItemTable } from './item-table.js';
import { PrefixKeys } from './prefix-keys.js';
import { type ItemDefaults, readItem } from './read-item.js';

/** Input lines as text, and what planner tests do with them. */
export const chatLine = (params: {
  id?: string;
  model?: string;
  system?: string;
  user: string;
  maxTokens?: number;
}): string =>
  JSON.stringify({
    ...(params.id === undefined ? {} : { custom_id: params.id }),
    body: {
      ...(params.model === undefined ? {} : { model: params.model }),
      ...(params.maxTokens === undefined ? {} : { max_tokens: params.maxTokens }),
      messages: [
        ...(params.system === undefined ? [] : [{ role: 'system', content: params.system }]),
        { role: 'user', content: params.user },
      ],
    },
  });

/** Text of about so many bytes that is its own from the first word on. */
export const textOf = (name: string, bytes: number): string =>
  `${name} `.repeat(bytes / (name.length + 1) + 1);

export function readLines(lines: readonly string[], defaults: Partial<ItemDefaults> = {}): ItemTable {
  const items = new ItemTable(lines.length);
  const keys = new PrefixKeys('project');
  lines.forEach((line, index) => {
    const all = { model: 'm', maxTokens: null, reuse: false, ...defaults };
    readItem({ line: Buffer.from(line), index, items, keys, defaults: all });
  });
  return items;
}
