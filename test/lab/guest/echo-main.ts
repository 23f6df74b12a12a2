/** A server that tells each client its address, over TCP and UDP: `node echo-main.js PORT ADDRESS...`. Prints `ready`. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';

const [port, ...addresses] = process.argv.slice(2) as [string, ...string[]];

for (const address of addresses) {
  const tcp = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end(socket.remoteAddress ?? '');
  }).listen({ port: Number(port), host: address, backlog: 4096 });
  const udp = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  udp.on('message', (_, from) => udp.send(from.address, from.port, from.address)).bind(Number(port), address);
  await Promise.all([once(tcp, 'listening'), once(udp, 'listening')]);
}
console.log('ready');
