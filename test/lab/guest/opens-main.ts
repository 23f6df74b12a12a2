/**
 * An application with many sockets: `node opens-main.js tcp|udp|udp-connected ADDRESS PORT COUNT AT_ONCE EVERY_MS`. Prints
 * a line of JSON (`Opened`) for each; the server tells the address it was reached from. The first datagram of a UDP
 * socket has to be answered: nothing is sent twice. COUNT 0 goes on until SIGTERM.
 */
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import type { Opened } from './opens.ts';

const LIMIT_MS = 3_000;

const [kind, address, portText, countText, atOnceText, everyText] = process.argv.slice(2) as string[];
const port = Number(portText);
const count = Number(countText) || Number.POSITIVE_INFINITY;
const everyMs = Number(everyText);

type Outcome = Pick<Opened, 'from'> | Pick<Opened, 'error'>;

function tcp(): Promise<Outcome> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: address });
    let told = '';
    socket.setTimeout(LIMIT_MS, () => socket.destroy(Object.assign(new Error(), { code: 'TIMEOUT' })));
    socket.on('data', (chunk) => (told += chunk));
    socket.on('end', () => resolve({ from: told }));
    socket.on('error', (error: NodeJS.ErrnoException) => resolve({ error: error.code ?? 'unknown' }));
  });
}

function udp(isConnected: boolean): Promise<Outcome> {
  return new Promise((resolve) => {
    const socket = createSocket(address!.includes(':') ? 'udp6' : 'udp4');
    const end = (outcome: Outcome): void => {
      clearTimeout(timer);
      socket.close();
      resolve(outcome);
    };
    const timer = setTimeout(() => end({ error: 'TIMEOUT' }), LIMIT_MS);
    socket.on('message', (text) => end({ from: String(text) }));
    socket.on('error', (error: NodeJS.ErrnoException) => end({ error: error.code ?? 'unknown' }));
    if (isConnected) socket.connect(port, address, () => socket.send('?'));
    else
      socket.send('?', port, address, (error) => {
        if (error !== null) end({ error: (error as NodeJS.ErrnoException).code ?? 'unknown' });
      });
  });
}

let isEnding = false;
let started = 0;
process.once('SIGTERM', () => {
  isEnding = true;
});

async function one(): Promise<void> {
  const at = Date.now();
  const outcome = await (kind === 'tcp' ? tcp() : udp(kind === 'udp-connected'));
  console.log(JSON.stringify({ at, ...outcome } satisfies Opened));
}

/** Everything one after the other, as fast as it goes. */
async function lane(): Promise<void> {
  while (!isEnding && started < count) {
    started += 1;
    await one();
  }
}

if (everyMs === 0) await Promise.all(Array.from({ length: Number(atOnceText) }, lane));
else {
  const timer = setInterval(() => {
    started += 1;
    void one();
    if (isEnding || started >= count) clearInterval(timer);
  }, everyMs);
}
