/** An engine's address without a trailing slash and without `/v1`: requests name their whole path. */
export function normalizeEngineUrl(text: string): string {
  const url = new URL(text);
  const path = url.pathname.replace(/\/+$/, '').replace(/\/v1$/, '').replace(/\/+$/, '');
  return `${url.origin}${path}`;
}
