/** BGP over the kernel's loopback sockets, for interoperability tests. */
import { createServer } from 'node:net';
import { KernelTransport } from '../../../router/app/kernel-transport.ts';
import { Addr } from '../../../router/lib/addr.ts';

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '::', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** Listens at these addresses; the uplink's name is the interface's. Await `listening` after the speaker has started. */
export function hostTransport(local: string | readonly string[], port: number, link = 'lo'): KernelTransport {
  return new KernelTransport({
    listen: [local].flat().map((address) => ({ address: Addr.parse(address)!, port, zone: link })),
    links: { linkOf: () => link, zoneOf: () => link },
  });
}
