/**
 * On every answer: no browser takes it for something else than its content type says, runs anything in it, shows it inside
 * another page, lets a page of another origin embed it, or tells its address (which may hold ids) to others.
 */
export const SECURITY_HEADERS = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
} as const;
