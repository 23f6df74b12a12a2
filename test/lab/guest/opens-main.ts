/**
 * An application with many sockets: `node opens-main.js tcp|udp|udp-connected[,...] ADDRESS[,...] PORT COUNT AT_ONCE EVERY_MS`,
 * each kind to each address in turn. Prints a line of JSON (`Opened`) for each; the server tells the address it was reached
 * from. The first datagram of a UDP socket has to be answered: nothing is sent twice. COUNT 0 goes on until SIGTERM.
 */
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import type { Opened } from './opens.ts';

const LIMIT_MS = 3_000;

const [kindText, addressText, portText, countText, atOnceText, everyText] = process.argv.slice(2) as string[];
const kinds = kindText!.split(',');
const addresses = addressText!.split(',');
const port = Number(portText);
const count = Number(countText) || Number.POSITIVE_INFINITY;
const everyMs = Number(everyText);

type Outcome = Pick<Opened, 'from'> | Pick<Opened, 'error'>;

function tcp(address: string): Promise<Outcome> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: address });
    let told = '';
    socket.setTimeout(LIMIT_MS, () => socket.destroy(Object.assign(new Error(), { code: 'TIMEOUT' })));
    socket.on('data', (chunk) => (told += chunk));
    socket.on('end', () => resolve({ from: told }));
    socket.on('error', (error: NodeJS.ErrnoException) => resolve({ error: error.code ?? 'unknown' }));
  });
}

function udp(address: string, isConnected: boolean): Promise<Outcome> {
  return new Promise((resolve) => {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
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

/** @param turn from 0 */
async function one(turn: number): Promise<void> {
  const kind = kinds[turn % kinds.length];
  const address = addresses[Math.floor(turn / kinds.length) % addresses.length]!;
  const at = Date.now();
  const outcome = await (kind === 'tcp' ? tcp(address) : udp(address, kind === 'udp-connected'));
  console.log(JSON.stringify({ at, ...outcome } satisfies Opened));
}

/** Everything one after the other, as fast as it goes. */
async function lane(): Promise<void> {
  while (!isEnding && started < count) {
    await one(started++);
  }
}

if (everyMs === 0) await Promise.all(Array.from({ length: Number(atOnceText) }, lane));
else {
  const timer = setInterval(() => {
    void one(started++);
    if (isEnding || started >= count) clearInterval(timer);
  }, everyMs);
}
