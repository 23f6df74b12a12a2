import test from 'ava';
import { TunnelHealth } from '../../../router/app/tunnel-health.ts';
import type { Instant } from '../../../router/lib/clock.ts';
import type { WgDeviceStats } from '../../../wg/model.ts';

/** Devices with one peer each, looked at every two seconds of a virtual clock. */
class Devices {
  readonly told: string[] = [];
  readonly woken: number[] = [];
  now = 0;
  readonly health = new TunnelHealth(
    {
      changed: (device, isAlive) => this.told.push(`${this.now / 1000} s: ${device} ${isAlive ? 'alive' : 'dead'}`),
      wake: (device) => this.woken.push(device),
    },
    { now: () => this.now as Instant },
  );

  /** @param txBytes of each device, by its number */
  look(txBytes: readonly number[], rxBytes = 0, latestHandshakeMs = 0): void {
    this.now += 2000;
    const devices = txBytes.map((tx, index) => {
      const peers = [{ latestHandshakeMs, rxBytes, txBytes: tx }];
      return { index, peers, failed: 0 } as unknown as WgDeviceStats;
    });
    this.health.observe(devices, this.now);
  }
}

test('a tunnel without answers is told and has handshakes tried until one is answered; an idle one is left alone', (t) => {
  const devices = new Devices();
  for (let i = 0; i < 8; i++) devices.look([148 * i, 0]);
  t.deepEqual(devices.told, ['16 s: 0 dead']);
  t.deepEqual(devices.woken, [0]);
  for (let i = 0; i < 10; i++) devices.look([148 * 8, 0]);
  t.deepEqual(devices.woken, [0, 0, 0], 'every ten seconds');
  t.true(devices.health.hasDead);
  t.is(devices.told.length, 11, 'whoever has come to it since has to know, too');
  devices.look([148 * 9, 0], 92, devices.now);
  t.is(devices.told.at(-1), '38 s: 0 alive');
  t.false(devices.health.hasDead);
  devices.look([148 * 9, 0], 92, devices.now);
  t.is(devices.told.length, 12);
});

test('a device that is taken away is forgotten', (t) => {
  const devices = new Devices();
  for (let i = 0; i < 8; i++) devices.look([148 * i]);
  devices.look([]);
  devices.look([148 * 8]);
  t.deepEqual(devices.told, ['16 s: 0 dead']);
});
