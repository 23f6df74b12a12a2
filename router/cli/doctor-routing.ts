/** Checks of `mlshim doctor` about BGP sessions and ROAs: as they are where a router runs, else as they are configured. */
import { statSync } from 'node:fs';
import type { Config, ProbeConfig } from '../config/model.ts';
import type { BgpPeerStatus, RpkiStatus } from '../control/messages.ts';
import { wallClockMs } from '../lib/clock.ts';
import { systemReason } from '../lib/reason.ts';
import type { Say } from './doctor.ts';
import { duration, plural } from './render.ts';

/** A third of it is the time between keepalives, and two may be lost: less does not outlive a busy moment of either side. */
const SHORT_HOLD_S = 9;
/** Files of ROAs are written at least this often where somebody looks after them (R104). */
const STALE_FILE_S = 86_400;
/** Readings that may be missed. */
const MISSED_REFRESHES = 2;

interface Session {
  readonly name: string;
  readonly uplink: string;
  readonly holdS: number;
  readonly hasBfd: boolean;
  readonly isNegotiated: boolean;
}

/** @param running peers of the router that runs; undefined = none does */
export function checkHoldTimers(say: Say, config: Config, running: readonly BgpPeerStatus[] | undefined): void {
  const sessions = running === undefined ? configured(config) : negotiated(running);
  for (const s of sessions) sayHoldTime(say, s, config.uplinks.find((u) => u.name === s.uplink)?.probe);
}

function configured({ bgp }: Config): Session[] {
  const all = [...(bgp?.peers ?? []), ...(bgp?.ranges ?? [])].filter((p) => p.mrt === undefined);
  return all.map((p) => ({
    ...{ name: p.name, uplink: p.via ?? '', holdS: p.holdTimeS },
    ...{ hasBfd: p.bfd !== undefined, isNegotiated: false },
  }));
}

function negotiated(peers: readonly BgpPeerStatus[]): Session[] {
  return peers
    .filter((p) => p.state === 'Established')
    .map((p) => ({
      ...{ name: p.name, uplink: p.uplink, holdS: p.hold_time_s },
      ...{ hasBfd: p.bfd !== '', isNegotiated: true },
    }));
}

function sayHoldTime(say: Say, s: Session, probe: ProbeConfig | undefined): void {
  const time = s.isNegotiated ? 'hold time' : 'configured hold time';
  const noticedS = probe && (probe.everyMs + probe.fall * probe.timeoutMs) / 1000;
  const peer = `bgp peer ${s.name}`;
  if (s.holdS === 0 && !s.hasBfd)
    say(
      'hold-timer',
      'warn',
      `${peer}: its ${time} is 0, so silence never ends the session`,
      'ask for one on both sides (hold_time: 90s), or use bfd: true',
    );
  else if (s.holdS > 0 && s.holdS < SHORT_HOLD_S)
    say(
      'hold-timer',
      'warn',
      `${peer}: its ${time} is ${s.holdS} s, which a busy moment of either side may exceed`,
      'hold_time: 90s with bfd: true notices failures sooner, and more surely',
    );
  else if (noticedS !== undefined && !s.hasBfd && s.holdS > noticedS)
    say(
      'hold-timer',
      'warn',
      `${peer}: its ${time} is ${s.holdS} s, probes take uplink ${s.uplink} out within ${noticedS} s: its routes stay meanwhile`,
      'bfd: true ends the session as soon, or a shorter hold_time sooner than now',
    );
  else say('hold-timer', 'ok', `${peer}: its ${time} is ${s.holdS} s${s.hasBfd ? ', and BFD watches it' : ''}`);
}

/** @param running what the router that runs has; undefined = none does */
export function checkRoaAge(say: Say, config: Config, running: RpkiStatus | undefined): void {
  const rpki = config.bgp?.rpki;
  if (rpki === undefined) return;
  if (running === undefined) {
    for (const f of rpki.files.filter((f) => !f.isUrl)) sayFile(say, f.name, fileAge(f.location), undefined, 0);
    return;
  }
  for (const f of running.files) {
    const age = f.last_error === '' ? f.age_s : f.last_error;
    sayFile(say, f.name, age ?? 'it has not been read yet', f.read_s, rpki.refreshS);
  }
  for (const s of running.servers) {
    const own = rpki.servers.find((c) => c.name === s.name);
    sayServer(say, s, own?.refreshS ?? rpki.refreshS);
  }
}

/** In seconds, or why that is not known. */
function fileAge(path: string): number | string {
  try {
    return Math.max(0, (wallClockMs() - statSync(path).mtimeMs) / 1000);
  } catch (e) {
    return systemReason(e);
  }
}

/** @param readS how long ago a router has read it */
function sayFile(say: Say, name: string, age: number | string, readS: number | undefined, refreshS: number): void {
  const remedy = 'mlshim bgp rpki refresh reads it again; without ROAs no origin is known';
  if (typeof age === 'string') say('roa-age', 'fail', `ROA file ${name}: ${age}`, remedy);
  else if (age > STALE_FILE_S)
    say(
      'roa-age',
      'warn',
      `ROA file ${name} was written ${duration(age)} ago`,
      'see who is to write it: cron, a systemd timer, or give its URL',
    );
  else if (readS !== undefined && readS > MISSED_REFRESHES * refreshS)
    say(
      'roa-age',
      'warn',
      `ROA file ${name} was read ${duration(readS)} ago, and is to be every ${duration(refreshS)}`,
      remedy,
    );
  else say('roa-age', 'ok', `ROA file ${name} was written ${duration(age)} ago`);
}

function sayServer(say: Say, s: RpkiStatus['servers'][number], refreshS: number): void {
  const cache = `RPKI cache ${s.name}`;
  const hint = 'mlshim bgp rpki shows its state; a second cache, or a file, stands in for it';
  const why = s.last_error === '' ? s.state : s.last_error;
  const left = s.expires_s === undefined ? '' : `, its ${plural(s.vrps, 'ROA')} expire in ${duration(s.expires_s)}`;
  if (s.state === 'stopped') say('roa-age', 'ok', `${cache} is not asked while a better one answers`);
  else if (s.updated_s === undefined) say('roa-age', 'fail', `${cache} has not told its ROAs (${why})`, hint);
  else if (s.updated_s > MISSED_REFRESHES * refreshS)
    say('roa-age', 'warn', `${cache} spoke ${duration(s.updated_s)} ago (${why})${left}`, hint);
  else say('roa-age', 'ok', `${cache} spoke ${duration(s.updated_s)} ago${left}`);
}
