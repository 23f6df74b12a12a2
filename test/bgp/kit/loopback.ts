/** BGP over the kernel's loopback sockets, for interoperability tests. */
import { createServer } from 'node:net';
import { drive, type Speaker } from '../../../bgp/speaker.ts';
import { KernelTransport } from '../../../router/app/kernel-transport.ts';
import { Addr } from '../../../router/lib/addr.ts';
import { systemClock } from '../../../router/lib/clock.ts';

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

/** Let a speaker live by the machine's clock. @returns ends that */
export function driveByClock(speaker: Speaker): () => void {
  return drive(speaker, systemClock, (ms, fire) => {
    const timer = setTimeout(fire, ms);
    return () => clearTimeout(timer);
  });
}
