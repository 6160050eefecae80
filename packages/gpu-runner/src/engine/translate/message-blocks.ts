import { isJsonObject, type Json } from '../answer.js';

/** Something that chat completions cannot say. The message never quotes a prompt. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly param: string;

  constructor(param: string, message: string) {
    super(`${param}: ${message}.`);
    this.param = param;
  }
}

/** Content blocks of a message, a tool result or a system prompt. */
export function blocksOf(content: unknown, path: string): Json[] {
  if (!Array.isArray(content)) throw new Refusal(path, 'must be a string or an array of blocks');
  return content.map((block: unknown, index) => {
    if (isJsonObject(block)) return block;
    throw new Refusal(`${path}.${index}`, 'must be an object');
  });
}

/** Text of blocks where chat completions take text only. */
export function textOfBlocks(blocks: readonly Json[], path: string): string {
  return blocks
    .map((block, index) => {
      const [part, ...more] = toUserParts(block, `${path}.${index}`);
      if (part?.type === 'text' && more.length === 0) return String(part.text);
      throw new Refusal(`${path}.${index}`, `only text can stand here, not ${JSON.stringify(block.type)}`);
    })
    .join('\n');
}

/** A user's block as parts of a chat message. */
export function toUserParts(block: Json, path: string): Json[] {
  switch (block.type) {
    case 'text':
      return [{ type: 'text', text: String(block.text) }];
    case 'image':
      return [{ type: 'image_url', image_url: { url: imageUrl(block.source, `${path}.source`) } }];
    case 'document':
      return documentParts(block, path);
    default:
      throw new Refusal(path, `content of the type ${JSON.stringify(block.type)} cannot be run`);
  }
}

/** Media come inside the request: nobody fetches an address that a prompt names. */
function imageUrl(source: unknown, path: string): string {
  if (isJsonObject(source)) {
    const { type, media_type: mediaType, data, url } = source;
    if (type === 'base64' && typeof mediaType === 'string' && typeof data === 'string')
      return `data:${mediaType};base64,${data}`;
    if (type === 'url' && typeof url === 'string' && url.startsWith('data:')) return url;
  }
  throw new Refusal(path, 'images must come as base64 data or as a data: URL');
}

function documentParts(block: Json, path: string): Json[] {
  const { source, title } = block;
  const heading = typeof title === 'string' ? [{ type: 'text', text: title }] : [];
  if (isJsonObject(source)) {
    if (source.type === 'text' && typeof source.data === 'string')
      return [...heading, { type: 'text', text: source.data }];
    if (source.type === 'content') {
      const { content } = source;
      if (typeof content === 'string') return [...heading, { type: 'text', text: content }];
      const at = `${path}.source.content`;
      return [
        ...heading,
        ...blocksOf(content, at).flatMap((inner, index) => toUserParts(inner, `${at}.${index}`)),
      ];
    }
  }
  throw new Refusal(`${path}.source`, 'documents must come as text');
}
