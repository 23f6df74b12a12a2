/** The other thread of concurrent.test.ts: looks up without pause and reports any answer that was never right. */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { FibReader } from '../../../router/fib/reader.ts';
import type { FibShared } from '../../../router/fib/shared.ts';

const { fib, addresses, cover } = workerData as { fib: FibShared; addresses: number; cover: number };
const port = parentPort!;
const reader = new FibReader(fib);
const wrong: string[] = [];
const last = new Int32Array(addresses * 2);
let lookups = 0;
let moved = 0;

function check(family: number, i: number, group: number): void {
  const link = group === 0 ? 0 : reader.memberLink(group, lookups);
  if (link !== cover && link !== 2 * i + 1 && link !== 2 * i + 2 && wrong.length < 10)
    wrong.push(`IPv${family} ${i}: ${link}`);
  const at = family === 4 ? i : addresses + i;
  if (last[at] !== link) moved++;
  last[at] = link;
  lookups++;
}

port.postMessage('reading');
for (;;) {
  for (let round = 0; round < 50; round++)
    for (let i = 0; i < addresses; i++) {
      check(4, i, reader.lookup4(0, (10 << 24) | (i << 16) | 0x0101));
      check(6, i, reader.lookup6(0, 0xfd000000 | 0, i << 8, 0, 1));
    }
  const received = receiveMessageOnPort(port)?.message as FibShared | 'stop' | undefined;
  if (received === 'stop') break;
  if (received !== undefined) reader.refresh(received);
}
port.postMessage({ lookups, wrong, moved });
