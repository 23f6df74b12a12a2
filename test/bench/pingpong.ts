/**
 * Request and response over TCP, for round-trip and connect times; the same program runs natively and under the shim.
 * `pingpong.js serve PORT`, or `pingpong.js HOST PORT ROUNDS CONNECTS`, which prints medians in microseconds as JSON.
 */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { medianOf } from './table.ts';

const [host = '', port = '', rounds = '200', connects = '50'] = process.argv.slice(2);

async function open(): Promise<Socket> {
  const socket = connect({ host, port: Number(port), noDelay: true });
  await once(socket, 'connect');
  return socket;
}

async function measure(): Promise<void> {
  const socket = await open();
  const rtts: number[] = [];
  for (let i = 0; i < Number(rounds); i++) {
    const begin = performance.now();
    socket.write('x');
    await once(socket, 'data');
    rtts.push((performance.now() - begin) * 1000);
  }
  socket.destroy();
  const connectTimes: number[] = [];
  for (let i = 0; i < Number(connects); i++) {
    const begin = performance.now();
    const each = await open();
    connectTimes.push((performance.now() - begin) * 1000);
    each.destroy();
  }
  console.log(JSON.stringify({ rttUs: medianOf(rtts), connectUs: medianOf(connectTimes) }));
}

if (host === 'serve') {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  server.listen(Number(port), () => console.log('listening'));
} else {
  await measure();
}
