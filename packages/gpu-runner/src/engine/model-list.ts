const SHOWN_MODELS = 5;

/** What changed between two lists of models, for people; `null` when nothing did. */
export function changesOfModels(before: readonly string[], now: readonly string[]): string | null {
  const lost = before.filter((model) => !now.includes(model));
  const found = now.filter((model) => !before.includes(model));
  const changes = [
    ...(lost.length === 0 ? [] : [`does not serve ${shown(lost)} any more`]),
    ...(found.length === 0 ? [] : [`serves ${shown(found)} now`]),
  ];
  return changes.length === 0 ? null : changes.join(', and ');
}

const shown = (models: readonly string[]): string =>
  models.length > SHOWN_MODELS
    ? `${models.slice(0, SHOWN_MODELS).join(', ')} and ${models.length - SHOWN_MODELS} more models`
    : models.join(', ');
