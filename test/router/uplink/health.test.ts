import test from 'ava';
import fc from 'fast-check';
import type { Instant } from '../../../router/lib/clock.ts';
import { Health, type HealthAction, type HealthSettings } from '../../../router/uplink/health.ts';

const SETTINGS: HealthSettings = { everyMs: 1000, timeoutMs: 300, fall: 3, rise: 2, targets: 2 };

/** An uplink in virtual time that answers probes after `delayMs`, or not while it is undefined. */
class Path {
  readonly health: Health;
  readonly probes: { readonly at: number; readonly target: number }[] = [];
  readonly givenUp: number[] = [];
  readonly states: string[] = [];
  delayMs: number | undefined = 40;
  now = 0;
  #answers: { readonly at: number; readonly probe: number }[] = [];

  constructor(settings: Partial<HealthSettings> = {}, isLinkUp = true) {
    this.health = new Health({ ...SETTINGS, ...settings }, isLinkUp, 0 as Instant);
  }

  get #instant(): Instant {
    return this.now as Instant;
  }

  run(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      this.health.tick(this.#instant);
      this.#drain();
      const deadline = this.health.deadline() ?? Number.POSITIVE_INFINITY;
      const next = Math.min(deadline, ...this.#answers.map((a) => a.at));
      if (next > end) break;
      this.now = Math.max(this.now, next);
      const due = this.#answers.filter((a) => a.at <= this.now);
      this.#answers = this.#answers.filter((a) => a.at > this.now);
      for (const { probe } of due) this.health.handle({ kind: 'answer', probe }, this.#instant);
    }
    this.now = end;
  }

  link(isUp: boolean): void {
    this.health.handle({ kind: 'link', isUp }, this.#instant);
    this.#drain();
  }

  #drain(): void {
    for (let a: HealthAction | undefined; (a = this.health.poll()) !== undefined; ) {
      if (a.kind === 'state') this.states.push(`${this.now} ${a.state}: ${a.reason}`);
      else if (a.kind === 'give-up') this.givenUp.push(a.probe);
      else {
        this.probes.push({ at: this.now, target: a.target });
        if (this.delayMs !== undefined) this.#answers.push({ at: this.now + this.delayMs, probe: a.probe });
      }
    }
  }
}

test('probes go to the targets in turn at their interval, and the first answer makes the uplink up', (t) => {
  const p = new Path();
  t.true(p.health.isUsable);
  p.run(2500);
  t.deepEqual(p.probes, [
    { at: 0, target: 1 },
    { at: 1000, target: 0 },
    { at: 2000, target: 1 },
  ]);
  t.deepEqual(p.states, ['40 up: probes are answered']);
  t.is(p.health.rttMs, 40);
  t.is(p.health.loss, 0);
});

test('it is down after `fall` lost probes, and up again after `rise` answers', (t) => {
  const p = new Path();
  p.run(1500);
  p.delayMs = undefined;
  p.run(3000);
  t.false(p.health.isUsable);
  p.delayMs = 40;
  p.run(2000);
  t.deepEqual(p.states, [
    '40 up: probes are answered',
    '2900 down: no answer within 300 ms',
    '5640 up: probes are answered',
  ]);
  t.is(p.health.loss, 4 / 8);
});

test('answers that come late count as lost; a single lost probe changes nothing', (t) => {
  const p = new Path({ fall: 2 });
  p.run(500);
  p.delayMs = 301;
  p.run(1000);
  t.true(p.health.isUsable);
  p.delayMs = 40;
  p.run(1000);
  p.delayMs = 301;
  p.run(2000);
  t.false(p.health.isUsable);
});

test('a link that goes down is down at once and sends no probes; when it is back it has to answer', (t) => {
  const p = new Path();
  p.run(500);
  p.link(false);
  t.false(p.health.isUsable);
  p.run(5000);
  t.is(p.probes.length, 1);
  p.link(true);
  t.false(p.health.isUsable);
  p.run(1500);
  t.true(p.health.isUsable);
  t.deepEqual(p.states.slice(1), ['500 down: the link is down', '6540 up: probes are answered']);
});

test('a link that comes up for the first time is usable before the first answer', (t) => {
  const p = new Path({}, false);
  p.run(3000);
  t.false(p.health.isUsable);
  t.is(p.probes.length, 0);
  p.link(true);
  t.true(p.health.isUsable);
  p.run(10);
  t.is(p.probes.length, 1);
});

test('without targets the link alone decides', (t) => {
  const p = new Path({ targets: 0 });
  p.run(5000);
  t.is(p.health.deadline(), undefined);
  p.link(false);
  t.false(p.health.isUsable);
  p.link(true);
  t.true(p.health.isUsable);
});

test('an uplink that stops answering is down within an interval and `fall` timeouts, whenever that is', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 0, max: 5000 }), (fall, at) => {
      const p = new Path({ fall });
      p.run(at);
      p.delayMs = undefined;
      p.run(1000 + fall * 300);
      return !p.health.isUsable;
    }),
    { seed: 6 },
  );
  t.pass();
});

test('who waits for an answer is told when it is not waited for any more', (t) => {
  const p = new Path({ fall: 2 });
  p.delayMs = undefined;
  p.run(700);
  t.deepEqual(p.givenUp, [1, 2]);
  p.run(200);
  p.link(false);
  t.deepEqual(p.givenUp, [1, 2], 'nothing was on its way');
});

test('probes that may not be sent say nothing about the path', (t) => {
  const health = new Health({ ...SETTINGS, fall: 1 }, true, 0 as Instant);
  for (let now = 0; now < 5000; now += 1000) {
    health.tick(now as Instant);
    const sent = health.poll();
    if (sent?.kind !== 'probe') throw new Error('no probe');
    health.handle({ kind: 'unable', probe: sent.probe, reason: 'not for us' }, now as Instant);
  }
  t.true(health.isUsable);
  t.is(health.loss, 0);
  t.is(health.impediment, 'not for us');
  health.tick(5000 as Instant);
  health.handle({ kind: 'answer', probe: 6, rttMs: 7.5 }, 5040 as Instant);
  t.is(health.impediment, undefined);
  t.is(health.rttMs, 7.5, 'as measured by who has sent it');
});
