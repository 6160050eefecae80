import { expect, it } from 'vitest';
import { API_ROUTES } from './openapi-routes.js';

/** After a change of the route table: `npx vitest run --project unit packages/control-plane/src/http/routes-page -u`. */
it('docs/routes.md says what the route table says', async () => {
  const tags = [...new Set(API_ROUTES.map(({ tag }) => tag))];
  const sections = tags.map((tag) => {
    const rows = API_ROUTES.filter((route) => route.tag === tag).map(
      ({ method, path, scope, status, summary }) =>
        `| \`${method.toUpperCase()} ${path}\` | ${scope} | ${status} | ${summary.replaceAll('|', '\\|')} |`,
    );
    const title = `## ${tag.charAt(0).toUpperCase()}${tag.slice(1)}`;
    return [
      title,
      ['| route | scope | status | what it does |', '| --- | --- | --- | --- |', ...rows].join('\n'),
    ].join('\n\n');
  });
  const note =
    '<!-- Made from the route table by packages/control-plane/src/http/routes-page.test.ts; do not edit by hand. -->';
  const intro =
    'Scope: what the caller’s key must be allowed to do (`any` means that every key will do, `public` that none is asked for). Status: that of success. Requests and answers: `GET /openapi.json`.';
  const page = `${['# Routes', note, intro, ...sections].join('\n\n')}\n`;
  await expect(page).toMatchFileSnapshot('../../../../docs/routes.md');
});
