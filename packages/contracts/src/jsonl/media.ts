import type { LineFault } from './types.js';

/** Hosts that engines may be sent to for media: `'any'`, or host names (with `:port` where it is not the scheme's). */
export type MediaHosts = 'any' | readonly string[];

type Fields = Readonly<Record<string, unknown>>;

/** Where a request's messages or parts stand. */
const ROOTS = ['messages', 'input', 'system', 'prompt'] as const;
/**
 * Keys of a part: what is an address or holds one; what is an address only when it begins like one, because it may be
 * the media itself; what holds further parts. A `source` that is a text names a document and is fetched by nobody.
 */
const KEYS: ReadonlyMap<string, 'address' | 'media' | 'holder' | 'parts'> = new Map([
  ['image_url', 'address'],
  ['audio_url', 'address'],
  ['video_url', 'address'],
  ['file_url', 'address'],
  ['image', 'media'],
  ['audio', 'media'],
  ['video', 'media'],
  ['file', 'media'],
  ['input_image', 'media'],
  ['input_audio', 'media'],
  ['input_file', 'media'],
  ['source', 'holder'],
  ['content', 'parts'],
  ['output', 'parts'],
]);

/** What clients and engines read alike: no user, no backslash, no white space, which parsers are tricked with. */
const PLAIN_ADDRESS = /^https?:\/\/[^\s\\/?#@]+(?:[/?#][^\s\\]*)?$/i;
const BEGINS_LIKE_ADDRESS = /^\s*(?:[a-z][a-z0-9+.-]*:|\/\/)/i;
const IS_DATA = /^data:/i;
const SHOWN_HOST_CHARS = 100;

/**
 * Finds the first media address in a request's body that engines may not be sent to: whoever may submit could have them
 * fetch whatever their network reaches. Looks at message and part lists only: a body of plain texts costs nothing.
 */
export function findForbiddenMedia(body: Fields, hosts: MediaHosts, path = 'body'): LineFault | null {
  for (const root of ROOTS) {
    const value = body[root];
    const fault = typeof value === 'object' ? inParts(value, `${path}.${root}`, hosts) : null;
    if (fault !== null) return fault;
  }
  return null;
}

function inParts(value: unknown, path: string, hosts: MediaHosts): LineFault | null {
  if (!Array.isArray(value)) return isFields(value) ? inPart(value, path, hosts) : null;
  for (let at = 0; at < value.length; at += 1) {
    const part: unknown = value[at];
    if (typeof part !== 'object') continue;
    const fault = inParts(part, `${path}.${at}`, hosts);
    if (fault !== null) return fault;
  }
  return null;
}

function inPart(part: Fields, path: string, hosts: MediaHosts): LineFault | null {
  for (const key in part) {
    const kind = KEYS.get(key);
    const value = part[key];
    if (kind === undefined || value === null || (typeof value === 'string' && kind === 'parts')) continue;
    const place = `${path}.${key}`;
    const fault =
      kind === 'parts' ? inParts(value, place, hosts) : inMedia(value, kind === 'address', place, hosts);
    if (fault !== null && !(kind === 'holder' && typeof value === 'string')) return fault;
  }
  return null;
}

/** `isAddress`: a text here is an address, however it begins. */
function inMedia(value: unknown, isAddress: boolean, path: string, hosts: MediaHosts): LineFault | null {
  if (typeof value === 'string') {
    return isAddress || BEGINS_LIKE_ADDRESS.test(value) ? judge(value, path, hosts) : null;
  }
  if (Array.isArray(value)) {
    for (let at = 0; at < value.length; at += 1) {
      const fault = inMedia(value[at], isAddress, `${path}.${at}`, hosts);
      if (fault !== null) return fault;
    }
    return null;
  }
  if (!isFields(value)) return null;
  const { url } = value;
  const fault = typeof url === 'string' ? judge(url, `${path}.url`, hosts) : null;
  return fault ?? inPart(value, path, hosts);
}

function judge(address: string, path: string, hosts: MediaHosts): LineFault | null {
  if (IS_DATA.test(address)) return null;
  const remedy = 'Send the media as a data: URL';
  const refuse = (message: string): LineFault => ({ code: 'media_url_not_allowed', param: path, message });
  if (!PLAIN_ADDRESS.test(address) || !URL.canParse(address)) {
    return refuse(`${path} is neither a data: URL nor a plain http:// or https:// one. ${remedy}`);
  }
  const { host, hostname } = new URL(address);
  if (hosts === 'any' || hosts.includes(host) || hosts.includes(hostname)) return null;
  const shown = host.length > SHOWN_HOST_CHARS ? `${host.slice(0, SHOWN_HOST_CHARS)}…` : host;
  return refuse(
    `${path} names the host ${shown}, from which this server lets no engine fetch media. ${remedy}, or let the server's operator allow the host with --media-hosts (BATCH_INFER_MEDIA_HOSTS)`,
  );
}

const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null;
