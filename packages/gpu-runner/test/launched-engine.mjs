// An engine for launcher tests: `node launched-engine.mjs --port N [--fail]`. It has a child, as real ones do.
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';

const port = Number(process.argv[process.argv.indexOf('--port') + 1]);
console.log('starting up');
if (process.argv.includes('--fail')) {
  console.error('no such model: nothing to serve');
  process.exit(3);
}
const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' });
createServer((request, response) => {
  const body = { object: 'list', data: [{ id: 'launched' }], pids: [process.pid, child.pid] };
  response.writeHead(request.url === '/metrics' ? 404 : 200).end(JSON.stringify(body));
}).listen(port, '127.0.0.1');
