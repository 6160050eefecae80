/** The error's Kafka code, such as `UNKNOWN_TOPIC_OR_PARTITION`, or that of one of its causes. */
export function kafkaCodeOf(error: unknown): string | null {
  for (let current: unknown = error; current instanceof Error; current = current.cause) {
    if ('type' in current && typeof current.type === 'string') return current.type;
  }
  return null;
}
