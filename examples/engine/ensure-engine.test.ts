import { describe, expect, it } from 'vitest';
import { findMissingPrerequisites } from './ensure-engine.mjs';

const capableMachine = {
  platform: 'linux',
  architecture: 'x64',
  cpuFlags: 'flags : fma avx avx2 bmi2',
  pythonVersion: '3.11.2',
  hasPip: true,
  hasLibgomp: true,
};

describe('findMissingPrerequisites', () => {
  it('finds nothing missing on a capable machine', () => {
    expect(findMissingPrerequisites(capableMachine)).toEqual([]);
  });

  it.each([
    ['another operating system', { platform: 'darwin', architecture: 'arm64' }, 'darwin on arm64'],
    ['a CPU without AVX2', { cpuFlags: 'flags : fma avx' }, 'AVX2'],
    ['no python3', { pythonVersion: null }, 'apt-get install python3'],
    ['an old python3', { pythonVersion: '3.9.18' }, 'python3 is 3.9.18'],
    ['no pip', { hasPip: false }, 'python3-pip'],
    ['no libgomp', { hasLibgomp: false }, 'apt-get install libgomp1'],
  ])('names %s in one sentence with the next step', (_name, difference, text) => {
    const problems = findMissingPrerequisites({ ...capableMachine, ...difference });
    expect(problems).toEqual([expect.stringContaining(text)]);
  });

  it('accepts Python versions with two digits and newer major versions', () => {
    for (const pythonVersion of ['3.10.0', '3.14.1', '4.0.0']) {
      expect(findMissingPrerequisites({ ...capableMachine, pythonVersion })).toEqual([]);
    }
  });
});
