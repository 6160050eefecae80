import { expect, test } from 'vitest';
import { quoteShellWord, splitShellWords } from './shell-words.js';

test.each([
  ['vllm serve model --port 8000', ['vllm', 'serve', 'model', '--port', '8000']],
  ['a \'b c\' "d e"', ['a', 'b c', 'd e']],
  ["x='1 2' \"it's\"", ['x=1 2', "it's"]],
  ['a\\ b "c\\"d" "e\\nf" \'g\\h\'', ['a b', 'c"d', 'e\\nf', 'g\\h']],
  ["'' \"\" x''y", ['', '', 'xy']],
  ['  \t a \n b ', ['a', 'b']],
  ['$HOME `x` | y > z', ['$HOME', '`x`', '|', 'y', '>', 'z']],
  ['', []],
])('%s', (command, words) => {
  expect(splitShellWords(command)).toEqual(words);
});

test('a quote that is not closed is refused', () => {
  expect(() => splitShellWords("a 'b")).toThrow(SyntaxError);
});

test.each(['plain/word-1.gguf', '', "it's", 'a b', '$HOME', '"x"', '\\'])(
  '%j is quoted so that it stays one word',
  (word) => {
    expect(splitShellWords(quoteShellWord(word))).toEqual([word]);
  },
);
