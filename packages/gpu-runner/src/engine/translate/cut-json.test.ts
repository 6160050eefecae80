import { describe, expect, it } from 'vitest';
import { readCutObject } from './cut-json.js';

const whole =
  '{ "city": "Par\\"is \\u00e9", "n": [1, {"deep": [true, null]}, "x"], "id": 1234567890123456789, "z": {} }';

describe('an object whose text is cut', () => {
  it.each([
    ['{"city":"Paris","days":3}', { city: 'Paris', days: 3 }],
    ['{"city":"Paris","days":3', { city: 'Paris' }],
    ['{"city":"Paris","days":3 ', { city: 'Paris', days: 3 }],
    ['{"city":"Paris","da', { city: 'Paris' }],
    ['{"city":"Par', {}],
    ['{"city":"Paris\\', {}],
    ['{"city":"Paris","ok":tru', { city: 'Paris' }],
    ['{"list":[1,2,{"a":"b","c":"d', { list: [1, 2, { a: 'b' }] }],
    ['{"list":[1,[2,[3', { list: [1, [2, []]] }],
    ['{"a":{"b":{', { a: { b: {} } }],
    ['{"a":1,,"b":2}', { a: 1 }],
    ['{"a":1]', { a: 1 }],
    ['{"a":"1"} and more', { a: '1' }],
    ['', {}],
    ['null', {}],
    ['12', {}],
    ['1.0', {}],
    ['[1,2]', {}],
    ['[{"a":1}', {}],
    ['"{}"', {}],
    ['find it', {}],
  ])('%s is read as far as it goes', (text, value) => {
    expect(readCutObject(text)).toEqual(value);
  });

  it('is an object wherever it is cut, and grows with the text', () => {
    let longest = 0;
    for (let end = 0; end <= whole.length; end += 1) {
      const read = readCutObject(whole.slice(0, end));
      const { length } = JSON.stringify(read);
      expect(length).toBeGreaterThanOrEqual(end === 0 ? 0 : longest - 2);
      longest = Math.max(longest, length);
    }
    expect(JSON.stringify(readCutObject(whole))).toContain('"id":1234567890123456789');
  });

  it('nests as deep as it likes', () => {
    expect(readCutObject('{"a":'.repeat(500))).toMatchObject({ a: { a: { a: {} } } });
    expect(readCutObject('{"a":'.repeat(200_000))).toEqual({});
  });
});
