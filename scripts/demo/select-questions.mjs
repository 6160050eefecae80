/**
 * @typedef {{custom_id: string, kind: string}} Question
 */

/**
 * At most `limit` questions with the kinds as even as possible, the earliest of each kind first, in their original
 * order. Pure.
 *
 * @template {Question} T
 * @param {T[]} questions
 * @param {number} limit
 * @returns {T[]}
 */
export function selectBalanced(questions, limit) {
  /** @type {Map<string, number>} */
  const seenOfKind = new Map();
  const ranked = questions.map((question, position) => {
    const rank = seenOfKind.get(question.kind) ?? 0;
    seenOfKind.set(question.kind, rank + 1);
    return { question, position, rank };
  });
  return ranked
    .toSorted((left, right) => left.rank - right.rank || left.position - right.position)
    .slice(0, limit)
    .toSorted((left, right) => left.position - right.position)
    .map(({ question }) => question);
}
