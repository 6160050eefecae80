/**
 * True when the shell that npm (`npx batch-infer …`, `npm run …`) has started is our parent and runs nothing but us, in
 * the foreground. npm passes SIGTERM on to that shell only: its end is then the wish that we end. In all other cases the
 * end of a parent means nothing: whoever is started in the background outlives it.
 */
export function isForegroundOfNpm(environment: Readonly<Record<string, string | undefined>>): boolean {
  const script = environment.npm_lifecycle_script?.trim();
  return (
    script !== undefined && /^(?:exec\s+)?(['"]?)(?:[\w./-]*\/)?batch-infer\1(?:\s[^&;|()]*)?$/.test(script)
  );
}
