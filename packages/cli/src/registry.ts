import type { CommandDefinition } from './command.js';

interface Entry {
  readonly summary: string;
  /** Loads the command's own file: the others stay on the disk. */
  readonly load: () => Promise<{ readonly command: CommandDefinition }>;
}

/** Every command in the order of the help. */
export const COMMANDS: Readonly<Record<string, Entry>> = {
  run: { summary: 'submit a file, wait, write the results', load: () => import('./commands/run.js') },
  submit: { summary: 'submit a file and print the job id', load: () => import('./commands/submit.js') },
  status: { summary: 'show a job', load: () => import('./commands/status.js') },
  watch: { summary: 'wait for a job, with progress', load: () => import('./commands/watch.js') },
  events: { summary: 'print what happens to a job', load: () => import('./commands/events.js') },
  results: { summary: 'print or save the results of a job', load: () => import('./commands/results.js') },
  errors: { summary: 'show why items of a job failed', load: () => import('./commands/errors.js') },
  list: { summary: 'list jobs, newest first', load: () => import('./commands/list.js') },
  cancel: { summary: 'stop a job; what is finished stays', load: () => import('./commands/cancel.js') },
  pause: { summary: 'hold a job back', load: () => import('./commands/pause.js') },
  resume: { summary: 'let a paused job go on', load: () => import('./commands/resume.js') },
  retry: { summary: 'run the failed items of a job again', load: () => import('./commands/retry.js') },
  validate: { summary: 'check a file, offline', load: () => import('./commands/validate.js') },
  estimate: {
    summary: 'what a file would need, without running it',
    load: () => import('./commands/estimate.js'),
  },
  up: { summary: 'start server and runner on this machine', load: () => import('./commands/up.js') },
  serve: { summary: 'start the server (control plane)', load: () => import('./commands/serve.js') },
  runner: { summary: 'start a runner beside your engines', load: () => import('./commands/runner.js') },
  runners: { summary: 'list live runners', load: () => import('./commands/runners.js') },
  webhooks: { summary: 'who is told of the ends of jobs', load: () => import('./commands/webhooks.js') },
  keys: { summary: 'make, list, revoke and rotate API keys', load: () => import('./commands/keys.js') },
  projects: { summary: 'make, list and change projects', load: () => import('./commands/projects.js') },
  whoami: { summary: 'show the project and scopes of the key', load: () => import('./commands/whoami.js') },
  config: {
    summary: 'show the settings and where they come from',
    load: () => import('./commands/config.js'),
  },
  trust: {
    summary: "let this folder's configuration file decide everything",
    load: () => import('./commands/trust.js'),
  },
  completion: {
    summary: 'print a completion script for a shell',
    load: () => import('./commands/completion.js'),
  },
};
