import test from 'ava';
import { KernelTunnels } from '../../../router/app/kernel-tunnels.ts';
import type { UplinkConfig } from '../../../router/config/model.ts';
import { makeLogger } from '../../../router/lib/log.ts';

const UPLINKS = [
  { name: 'home', wireguard: { listenPort: 51820, peers: [] } },
  { name: 'office', wireguard: { listenPort: 0, peers: [] } },
  { name: 'fiber', host: {} },
] as unknown as readonly UplinkConfig[];

const tunnels = new KernelTunnels(
  { get: () => Promise.resolve([]), wake: () => Promise.resolve() },
  () => undefined,
  makeLogger(() => undefined, 'test'),
);

test('one tunnel is shown, or all', (t) => {
  const show = (name: string): string[] => tunnels.show(name, UPLINKS).devices.map((d) => d.name);
  t.deepEqual(show(''), ['home', 'office']);
  t.deepEqual(show('office'), ['office']);
  t.like(tunnels.show('home', UPLINKS).devices[0], { public_key: '', listen_port: 51820, peers: [] });
});

test('a tunnel that is not there is named together with those that are', (t) => {
  t.throws(() => tunnels.show('offce', UPLINKS), {
    code: 'UNKNOWN',
    message: 'no uplink "offce" (known: home, office, fiber)',
  });
  t.throws(() => tunnels.show('fiber', UPLINKS), { message: /is a path of the host's network/ });
});
