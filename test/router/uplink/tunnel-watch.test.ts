import test from 'ava';
import type { Instant } from '../../../router/lib/clock.ts';
import { REJECT_AFTER_MS, TunnelWatch } from '../../../router/uplink/tunnel-watch.ts';

/** A tunnel with one peer; counters and the time of the latest handshake are set by the tests. */
class Tunnel {
  readonly #watch = new TunnelWatch();
  now = 0;
  rx = 0;
  tx = 0;
  handshakeAt: number | undefined;

  /** Send or not for some seconds. @returns the verdict at the end */
  run(seconds: number, traffic: { readonly sends: boolean; readonly hears: boolean }): boolean {
    let isAlive = true;
    for (let i = 0; i < seconds; i++) {
      this.now += 1000;
      if (traffic.sends) this.tx += 148;
      if (traffic.hears) this.rx += 92;
      const handshakeAgeMs = this.handshakeAt === undefined ? undefined : this.now - this.handshakeAt;
      isAlive = this.#watch.sample([{ handshakeAgeMs, rxBytes: this.rx, txBytes: this.tx }], this.now as Instant);
    }
    return isAlive;
  }
}

test('an idle tunnel is not down, however old its handshake is', (t) => {
  const tunnel = new Tunnel();
  t.true(tunnel.run(600, { sends: false, hears: false }), 'no handshake was ever asked for');
  tunnel.handshakeAt = 0;
  t.true(tunnel.run(600, { sends: false, hears: false }));
});

test('a tunnel whose first handshake is not answered is down within 13 seconds', (t) => {
  const tunnel = new Tunnel();
  tunnel.run(1, { sends: false, hears: false });
  t.true(tunnel.run(11, { sends: true, hears: false }));
  t.false(tunnel.run(2, { sends: true, hears: false }));
});

test('one that falls silent is down once its session is given up, not before', (t) => {
  const tunnel = new Tunnel();
  tunnel.run(1, { sends: true, hears: true });
  tunnel.handshakeAt = tunnel.now;
  const left = REJECT_AFTER_MS / 1000;
  t.true(tunnel.run(left - 1, { sends: true, hears: false }));
  t.false(tunnel.run(1, { sends: true, hears: false }));
});

test('after an idle hour the first packet gets the time a handshake takes', (t) => {
  const tunnel = new Tunnel();
  tunnel.handshakeAt = 0;
  tunnel.run(3600, { sends: false, hears: false });
  t.true(tunnel.run(5, { sends: true, hears: false }));
  tunnel.handshakeAt = tunnel.now;
  t.true(tunnel.run(30, { sends: true, hears: true }));
});

test('a tunnel that is down is up again with the next handshake', (t) => {
  const tunnel = new Tunnel();
  t.false(tunnel.run(20, { sends: true, hears: false }));
  t.false(tunnel.run(20, { sends: false, hears: false }), 'silence proves nothing');
  tunnel.handshakeAt = tunnel.now;
  t.true(tunnel.run(1, { sends: true, hears: true }));
});

test('of several peers one that answers is enough', (t) => {
  const watch = new TunnelWatch();
  const dead = (s: number) => ({ handshakeAgeMs: undefined, rxBytes: 0, txBytes: 148 * s });
  const idle = { handshakeAgeMs: undefined, rxBytes: 0, txBytes: 0 };
  const fresh = { handshakeAgeMs: 20_000, rxBytes: 92, txBytes: 148 };
  let verdict = true;
  for (let s = 0; s < 20; s++) verdict = watch.sample([dead(s), fresh], (s * 1000) as Instant);
  t.true(verdict);
  for (let s = 20; s < 40; s++) verdict = watch.sample([dead(s), idle], (s * 1000) as Instant);
  t.false(verdict);
});
