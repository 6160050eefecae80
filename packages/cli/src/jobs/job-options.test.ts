import { describe, expect, it } from 'vitest';
import { JOB_OPTIONS } from '../settings/options.js';
import { mergeSettings } from '../settings/settings.js';
import { readJobOptions } from './job-options.js';

const read = (flags: Record<string, unknown>) =>
  readJobOptions(mergeSettings(JOB_OPTIONS, { flags, environment: {}, layers: [] }));

describe('the options of a job', () => {
  it('are those that were given, in the words of the SDK', () => {
    expect(read({ reuse: 'project', 'reuse-max-age': '12h', 'plan-order': 'input' })).toEqual({
      endpoint: '/v1/chat/completions',
      planOrder: 'input',
      reuse: 'project',
      reuseMaxAgeSeconds: 43_200,
      fresh: false,
    });
  });

  it('keep the numbers of defaults as they were written', () => {
    const defaults = '{"seed":1234567890123456789,"temperature":1.0}';
    expect(JSON.stringify(read({ defaults }).defaults)).toBe(defaults);
    for (const wrong of ['1.0', '[1]', 'null', '{']) {
      expect(() => read({ defaults: wrong })).toThrow('--defaults must be a JSON object');
    }
  });

  it('name the flag that cannot be read', () => {
    expect(() => read({ reuse: 'everything' })).toThrow('--reuse must be one of none, job, project');
    expect(() => read({ 'reuse-max-age': 'a while' })).toThrow('--reuse-max-age must be a time');
  });
});
