import test from 'ava';
import fc from 'fast-check';
import type { Instant } from '../../../router/lib/clock.ts';
import { CapacityMeter } from '../../../router/uplink/capacity.ts';

/** A line that carries `rate` octets per second, and is looked at every `everyMs`. */
class Line {
  readonly meter = new CapacityMeter();
  #octets = 0;
  #now = 0;

  run(rate: number, ms: number, everyMs = 1000): void {
    for (const end = this.#now + ms; this.#now < end; ) {
      this.#now += everyMs;
      this.#octets += (rate * everyMs) / 1000;
      this.meter.sample(this.#octets, this.#now as Instant);
    }
  }
}

test('the rate follows within seconds, however often it is looked at', (t) => {
  for (const every of [100, 1000, 5000]) {
    const line = new Line();
    line.run(0, every, every);
    line.run(1_000_000, 10_000, every);
    t.true(Math.abs(line.meter.rate - 1_000_000) < 2000, `${line.meter.rate} every ${every} ms`);
    line.run(0, 30_000, every);
    t.is(line.meter.rate, 0);
    t.false(line.meter.isActive);
  }
});

test('the peak stays while the line is idle, and half of it is gone after ten minutes', (t) => {
  const line = new Line();
  line.run(0, 1000);
  line.run(2_000_000, 20_000);
  const { peak } = line.meter;
  t.true(peak > 1_999_000 && peak <= 2_000_000, String(peak));
  line.run(0, 600_000);
  t.true(Math.abs(line.meter.peak / 1_000_000 - 1) < 0.01, String(line.meter.peak));
});

test('a peak is what the line has carried, never more', (t) => {
  const times = fc.array(fc.tuple(fc.integer({ min: 0, max: 1e7 }), fc.integer({ min: 1, max: 60 })), { minLength: 1 });
  fc.assert(
    fc.property(times, (phases) => {
      const line = new Line();
      line.run(0, 1000);
      for (const [rate, seconds] of phases) line.run(rate, seconds * 1000);
      return line.meter.peak <= Math.max(...phases.map(([rate]) => rate)) * (1 + 1e-9);
    }),
    { seed: 4 },
  );
  t.pass();
});

test('a counter that begins anew is no traffic', (t) => {
  const meter = new CapacityMeter();
  meter.sample(5_000_000, 0 as Instant);
  meter.sample(5_000_000, 1000 as Instant);
  meter.sample(100, 2000 as Instant);
  t.is(meter.rate, 0);
  t.is(meter.peak, 0);
});
