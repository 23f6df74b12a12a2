/**
 * An application that keeps connections: for each line of its input it opens one to ADDRESS PORT from its first thread, one from
 * another thread and one from a child process, and tells of each (`main open`, `thread ECONNRESET`). First it tells
 * its process id (`ready 4711`).
 */
import { fork } from 'node:child_process';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';

const [address, port] = process.argv.slice(2) as [string, string];

function open(who: string): void {
  const socket = connect(Number(port), address);
  const tell = (what: string): void => console.log(`${who} ${what}`);
  socket.on('connect', () => tell('open'));
  socket.on('error', (error: NodeJS.ErrnoException) => tell(error.code ?? error.message));
  socket.on('end', () => tell('end'));
  socket.resume();
}

if (!isMainThread) parentPort!.on('message', () => open('thread'));
else if (process.send !== undefined) process.on('message', () => open('child'));
else {
  const thread = new Worker(new URL(import.meta.url), { argv: [address, port] });
  const child = fork(import.meta.filename, [address, port]);
  console.log(`ready ${process.pid}`);
  createInterface({ input: process.stdin }).on('line', () => {
    open('main');
    thread.postMessage('open');
    child.send('open');
  });
}
